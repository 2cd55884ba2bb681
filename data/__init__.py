"""Datasets by name, imported on demand. A dataset gives uint8 HWC RGB samples; data/loader.py makes batches."""
import importlib

from utils.errors import UserError, nearest

DATASETS = {
    "blind": "data.blind_dataset:BlindDataset",
    "blind_hard": "data.blind_dataset:BlindHardDataset",
    "builtin": "data.builtin_dataset:BuiltinDataset",
    "celeba": "data.celeba_dataset:CelebADataset",
    "celebamask": "data.celebamask_dataset:CelebAMaskDataset",
    "colorization": "data.colorization_dataset:ColorizationDataset",
    "face128": "data.face128_dataset:Face128Dataset",
    "ffhq": "data.ffhq_dataset:FFHQDataset",
    "grey_inputs": "data.colorization_dataset:GreyInputs",
    "helen": "data.helen_dataset:HelenDataset",
    "inpainting": "data.inpainting_dataset:InpaintingDataset",
    "landmarks68": "data.landmarks68_dataset:Landmarks68Dataset",
    "map_inputs": "data.seg2face_dataset:MapInputs",
    "seg2face": "data.seg2face_dataset:Seg2FaceDataset",
    "single": "data.single_dataset:SingleDataset",
}


def find_dataset(name):
    """The dataset class for --dataset_name; UserError with the nearest name for an unknown one."""
    if name not in DATASETS:
        raise UserError(f"--dataset_name {name}: unknown dataset; there are {', '.join(sorted(DATASETS))}."
                        + nearest(name, DATASETS))
    module, _, cls = DATASETS[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def training_dataset(options):
    """(The dataset class to train on, the arguments that training and validation set have in common).

    UserError where the dataset is not for training, or does not take an option that was given.
    """
    o, dataset = options, find_dataset(options.dataset_name)
    if not dataset.trains:
        raise UserError(f"--dataset_name {o.dataset_name} is for restoring (newtest.py), not for training.")
    if o.augmentation == "aligned" and not dataset.aligns:
        raise UserError(f"--augmentation aligned: --dataset_name {o.dataset_name} has it not; celeba and face128 have.")
    if o.cache_folder and not dataset.caches:
        raise UserError(f"--cache_folder: --dataset_name {o.dataset_name} resizes its faces anew each time.")
    if o.priors and not dataset.takes_priors:
        raise UserError(f"--priors: --dataset_name {o.dataset_name} has no facial priors.")
    arguments = {"load_size": o.load_size, "scale_factor": o.scale_factor, "seed": o.seed, "min_size": o.min_size,
                 "on_bad_image": o.on_bad_image}
    if dataset.caches:
        arguments["cache_folder"] = o.cache_folder
    if dataset.takes_priors:
        arguments["priors"] = o.priors
    return dataset, arguments
