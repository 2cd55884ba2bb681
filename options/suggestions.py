# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Suggests the option that was probably meant in place of an unknown one."""
from utils.device_names import DEVICES
from utils.errors import nearest

# {name in other programs: this project's options, separated by spaces}. The first one that the program has is
# suggested.
SYNONYMS = {
    "arch": "model", "network": "model", "recipe": "model", "config": "preset", "cfg": "preset", "opt": "preset",
    "yaml": "preset", "experiment": "name", "exp_name": "name", "run_name": "name",
    "gpu": "device device_id", "gpus": "device device_id", "gpu_id": "device_id", "gpu_ids": "device_id",
    **dict.fromkeys(DEVICES, "device"), "local_rank": "device_id",
    "amp": "opt_level", "fp16": "opt_level", "half": "opt_level", "precision": "opt_level",
    "precision_mode": "opt_level", "bf16": "amp_dtype", "dtype": "amp_dtype",
    "epoch": "total_epochs", "epochs": "total_epochs", "num_epochs": "total_epochs", "train_epochs": "total_epochs",
    "max_epochs": "total_epochs", "niter": "total_epochs", "step": "train_steps", "steps": "train_steps",
    "max_steps": "train_steps", "iter": "train_steps", "iters": "train_steps", "iterations": "train_steps",
    "total_iter": "train_steps", "max_iter": "train_steps", "minutes": "max_minutes", "time_limit": "max_minutes",
    "bs": "batch_size", "batch": "batch_size", "batchsize": "batch_size", "train_batch_size": "batch_size",
    "grad_accum": "accumulate", "gradient_accumulation_steps": "accumulate",
    "learning_rate": "lr", "base_lr": "lr", "g_lr": "lr", "scheduler": "lr_policy", "lr_schedule": "lr_policy",
    "lr_scheduler": "lr_policy", "warmup": "warmup_steps", "wd": "weight_decay", "clip_grad": "max_grad_norm",
    "grad_clip": "max_grad_norm", "ema": "ema_decay", "random_seed": "seed", "syncbn": "sync_bn",
    "data": "dataroot", "data_dir": "dataroot", "data_root": "dataroot", "dataset": "dataset_name dataroot",
    "train_dir": "dataroot", "input": "dataroot", "inputs": "dataroot", "faces": "dataroot", "source": "dataroot",
    "gt": "gtroot", "gt_dir": "gtroot", "reference": "gtroot valroot", "references": "gtroot valroot",
    "gtroot": "valroot", "valroot": "gtroot", "val": "valroot gtroot", "val_dir": "valroot gtroot",
    "val_data": "valroot gtroot", "test_dir": "gtroot valroot",
    "image_size": "load_size", "img_size": "load_size", "input_size": "load_size", "resolution": "load_size",
    "size": "load_size", "crop_size": "load_size", "scale": "scale_factor", "upscale": "scale_factor",
    "sf": "scale_factor", "augment": "augmentation", "aug": "augmentation", "task": "degradation dataset_name",
    "degrade": "degradation",
    "num_workers": "workers", "n_threads": "workers", "threads": "workers", "j": "workers",
    "out": "checkpoints_dir results_dir", "output": "checkpoints_dir results_dir",
    "output_dir": "checkpoints_dir results_dir", "out_dir": "checkpoints_dir results_dir",
    "save_dir": "checkpoints_dir results_dir", "work_dir": "checkpoints_dir results_dir",
    "log_dir": "checkpoints_dir results_dir", "checkpoints_dir": "results_dir", "results_dir": "checkpoints_dir",
    "resume": "continue_train", "continue": "continue_train", "auto_resume": "continue_train",
    "resume_from": "continue_train", "weights": "pth_path", "weight": "pth_path", "ckpt": "pth_path",
    "ckpt_path": "pth_path", "checkpoint": "pth_path", "checkpoint_path": "pth_path", "model_path": "pth_path",
    "load": "pth_path", "pretrained": "pth_path", "pretrain": "pth_path", "finetune": "pth_path",
    "log_freq": "print_freq", "log_interval": "print_freq", "save_freq": "save_latest_freq",
    "save_interval": "save_latest_freq", "limit": "max_images", "num_images": "max_images",
    "lpips": "lpips_path", "fid": "fid_path", "identity": "identity_path",
}


def suggest(flag, flags):
    """Returns ' Did you mean --X?' for an unknown `flag` such as --epochs, or ''; flags: the program's flags."""
    name = flag.lstrip("-").replace("-", "_")
    for meant in SYNONYMS.get(name.lower(), "").split():
        if f"--{meant}" in flags:
            return f" Did you mean --{meant}?"
    return nearest(flag, [known for known in flags if known.startswith("--")])
