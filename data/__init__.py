"""Datasets by name, imported on demand. A dataset gives uint8 HWC RGB samples; data/loader.py makes batches."""
import importlib

import utils  # noqa: F401 (sets what torch reads while it loads)
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


def prior_counts(options):
    """Returns (heatmaps, parsing maps) per sample of --dataset_name, None for a dataset without facial priors."""
    dataset = find_dataset(options.dataset_name)
    return dataset.prior_counts(options.priors) if dataset.takes_priors else None


def unread_by_data(options):
    """Returns {name of an option: why} of those that --dataset_name does not read in a training."""
    dataset, named, found = find_dataset(options.dataset_name), f"--dataset_name {options.dataset_name}", {}
    if not dataset.caches:
        found["cache_folder"] = f"{named} resizes its faces anew each time"
    else:
        found["scale_factor"] = f"{named} makes no small faces"
    if not dataset.takes_priors:
        found["priors"] = f"{named} has no facial priors"
    return found


def training_dataset(options):
    """Returns (the dataset class to train on, the arguments that training and validation set have in common).

    Raises UserError if the dataset is not for training.
    """
    o, dataset = options, find_dataset(options.dataset_name)
    if not dataset.trains:
        raise UserError(f"--dataset_name {o.dataset_name} is for restoring (newtest.py), not for training.")
    if o.augmentation == "aligned" and not dataset.aligns:
        raise UserError(f"--augmentation aligned is for --dataset_name celeba and face128, not for {o.dataset_name}.")
    arguments = {"load_size": o.load_size, "scale_factor": o.scale_factor, "seed": o.seed, "min_size": o.min_size,
                 "on_bad_image": o.on_bad_image}
    if dataset.caches:
        arguments["cache_folder"] = o.cache_folder
    if dataset.takes_priors:
        arguments["priors"] = o.priors
    return dataset, arguments
