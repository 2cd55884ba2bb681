# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Datasets by name, imported on demand. A dataset gives uint8 HWC RGB samples; data/loader.py makes batches."""
import importlib

import utils  # noqa: F401 (sets what torch reads while it loads)
from utils.errors import UserError, nearest

# name: "module:Class". blind, blind_hard, colorization and inpainting are ffhq with another degradation.
DATASETS = {
    "blind": "data.ffhq_dataset:BlindDataset",
    "blind_hard": "data.ffhq_dataset:BlindHardDataset",
    "builtin": "data.builtin_dataset:BuiltinDataset",
    "celeba": "data.celeba_dataset:CelebADataset",
    "celebamask": "data.celebamask_dataset:CelebAMaskDataset",
    "colorization": "data.ffhq_dataset:ColorizationDataset",
    "face128": "data.face128_dataset:Face128Dataset",
    "ffhq": "data.ffhq_dataset:FFHQDataset",
    "grey_inputs": "data.grey_inputs:GreyInputs",
    "helen": "data.helen_dataset:HelenDataset",
    "inpainting": "data.ffhq_dataset:InpaintingDataset",
    "landmarks68": "data.landmarks68_dataset:Landmarks68Dataset",
    "map_inputs": "data.seg2face_dataset:MapInputs",
    "seg2face": "data.seg2face_dataset:Seg2FaceDataset",
    "single": "data.single_dataset:SingleDataset",
}

# Values that options name. Here, so that --help need not wait for OpenCV and torch.
DEGRADATIONS = ("bicubic", "sparnethd", "gpen", "gpen_hard", "face128", "face256", "grey", "holes")  # data/pairs.py
AUGMENTATIONS = ("fixed", "upstream", "aligned", "none")  # data/augment.py
DATA_TIMEOUT = 600.0  # seconds to wait for a batch (data/loader.py)


def find_dataset(name):
    """The dataset class for --dataset_name; UserError with the nearest name for an unknown one."""
    if name not in DATASETS:
        raise UserError(f"--dataset_name {name}: unknown dataset; there are {', '.join(sorted(DATASETS))}."
                        + nearest(name, DATASETS))
    module, _, cls = DATASETS[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def find_degradation(name, degradation=None):
    """Returns the Degradation (data/pairs.py) of the dataset called `name`: its default, or the one asked for by name.

    None for a dataset that reads its inputs or makes them in a way of its own. Raises UserError if such a one is asked
    for a degradation.
    """
    dataset = find_dataset(name)
    if not degradation:
        return dataset.default_degradation if dataset.degradable else None
    if degradation not in DEGRADATIONS:
        raise UserError(f"--degradation {degradation}: there are {', '.join(DEGRADATIONS)}."
                        + nearest(degradation, DEGRADATIONS))
    if not dataset.degradable:
        able = [other for other in DATASETS if find_dataset(other).degradable]
        raise UserError(f"--degradation {degradation}: --dataset_name {name} does not degrade faces. Leave out "
                        f"--degradation, or take one of {', '.join(able)}.")
    return importlib.import_module("data.pairs").DEGRADATION_BY_NAME[degradation]


def trained_side(name, degradation, size, scale_factor):
    """Returns the side in pixels of the faces that the dataset called `name` makes, if all have the same, else None.

    size: side of the network's input, to which they are enlarged; UserError if it is no multiple of scale_factor.
    """
    found = find_degradation(name, degradation)
    if not (found and found.reads_scale_factor):
        return None
    from data.pair_folder import check_scale  # not at the top: --help need not wait for OpenCV
    check_scale(size, scale_factor)
    return size // scale_factor


def input_reader(name, degradation=None):
    """Returns the dataset class that reads a folder of such inputs as the dataset called `name` makes."""
    found = find_degradation(name, degradation)
    return find_dataset(found.input_dataset if found else find_dataset(name).input_dataset)


def input_title(name, degradation=None):
    """Returns what the input is called where it is scored beside the output."""
    return (find_degradation(name, degradation) or find_dataset(name)).input_title


def prior_counts(options):
    """Returns (heatmaps, parsing maps) per sample of --dataset_name, None for a dataset without facial priors."""
    dataset = find_dataset(options.dataset_name)
    return dataset.prior_counts(options.priors) if dataset.takes_priors else None


def accepted(dataset, **arguments):
    """Returns the arguments for a dataset class, without those that it does not take."""
    takes = {"degradation": dataset.degradable, "cache_folder": dataset.caches, "priors": dataset.takes_priors}
    return {name: value for name, value in arguments.items() if takes.get(name, True)}


def unread_by_data(options):
    """Returns {name of an option: why} of those that --dataset_name and --degradation do not read in a training."""
    dataset, named, found = find_dataset(options.dataset_name), f"--dataset_name {options.dataset_name}", {}
    degradation = find_degradation(options.dataset_name, options.degradation)
    if not (degradation.reads_scale_factor if degradation else not dataset.caches):
        what = f"--degradation {options.degradation}" if options.degradation else named
        found["scale_factor"] = f"{what} makes no small faces"
    if not dataset.caches:
        found["cache_folder"] = f"{named} resizes its faces anew each time"
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
    return dataset, accepted(dataset, load_size=o.load_size, scale_factor=o.scale_factor, seed=o.seed,
                             min_size=o.min_size, on_bad_image=o.on_bad_image, degradation=o.degradation,
                             cache_folder=o.cache_folder, priors=o.priors)
