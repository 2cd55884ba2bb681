# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What a training logs at its start and at its end."""
from __future__ import annotations

from typing import TYPE_CHECKING

import utils.device
from data.loader import InOrder, make_loader
from engine.evaluate import input_psnr, to_device
from engine.logger import read_metrics
from engine.report import picture_grid, write_curves
from metrics.psnr_ssim import decibels
from models.weights import count_parameters
from utils import distributed
from utils.images import save_image

if TYPE_CHECKING:
    from engine.trainer import Trainer


def greet(run: Trainer) -> None:
    """Logs what is trained on what, from which step to which."""
    o = run.options
    for line in utils.device.banner(run.device, run.opt_level, run.half, o.workers, trains=True).splitlines():
        run.log.say(line)
    if run.precision.note:
        run.log.say(f"warning: {run.precision.note}")
    networks = ", ".join(f"{role} {count_parameters(net) / 1e6:.3f} M"
                         for role, net in run.networks.items())
    run.log.say(f"Recipe {o.model}: networks {networks} parameters. Data: {len(run.train_set)} faces in "
                f"{o.dataroot}" + (f", {len(run.val_set)} to validate on." if run.val_set else "."))
    warnings = [line for faces in (run.train_set, run.val_set) if faces for line in faces.warnings]
    for line in dict.fromkeys(warnings):
        run.log.say(f"warning: {line}")
    if o.warmup_steps >= run.total_steps:
        run.log.say(f"warning: --warmup_steps {o.warmup_steps} is not below the {run.total_steps} steps of this "
                    f"training: its learning rate stays below --lr {o.lr:g}.")
    ranks = distributed.world_size()
    several = f" ({ranks} ranks of {run.images_per_step // ranks})" if distributed.launched() else ""
    step = run.progress.step
    run.log.say(f"{f'Continuing after step {step} of' if step else 'Training for'} {run.total_steps} steps of "
                f"{run.images_per_step} faces{several}; files go into {run.folder}")


def finish(run: Trainer) -> None:
    """Reports the end of a run: images, curves, bad images, speed, accuracy, where to look."""
    o, step = run.options, run.progress.step
    trained = step > run.first_step
    if not trained and step >= run.total_steps:
        run.log.say(f"Nothing was trained: the run in {run.folder} had already reached step {step}, and this "
                     f"call asks for {run.total_steps}. --train_steps or --total_epochs make it longer.")
    faces = run.val_set or run.train_set
    if trained or run.validated:
        titles = _write_pictures(run, faces)
    seconds, steps = run.timer.mean()
    for line in run.bad_images.report():
        run.log.say(line)
    memory = utils.device.peak_memory_gb(run.device)
    if memory is not None:
        run.log.say(f"Memory: {memory:.2f} GB on the device at most")
    if seconds:
        run.log.say(f"Performance: {run.images_per_step / seconds:.2f} images/sec, {seconds:.6f} sec/step "
                     f"(mean of {steps} steps, the first {run.timer.skip} left out)")
    if run.progress.last_val and (trained or run.validated):
        run.log.say(f"Accuracy: {decibels(run.progress.last_val['psnr'])} dB PSNR, {faces.input_title} "
                     f"{decibels(input_psnr(run.progress.last_val))} dB (protocol {o.val_protocol})")
    if trained or run.validated:
        run.log.say(f"Look at {run.folder}/samples.png ({titles}), curves.png, metrics.jsonl, "
                     f"or: tensorboard --logdir {run.folder}/tensorboard")


def _write_pictures(run, faces):
    """Writes samples.png and curves.png; returns the titles of the pictures."""
    batch = to_device(next(iter(make_loader(faces, InOrder(min(len(faces), 8), 8), workers=0))), run.device)
    shown, titles = picture_grid(run.recipe, batch, rows=8)
    save_image(shown, run.folder / "samples.png")
    write_curves(read_metrics(run.folder), faces.input_title, run.folder / "curves.png")
    return titles
