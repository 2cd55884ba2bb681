"""Datasets by name, imported on demand. A dataset gives uint8 HWC RGB samples; data/loader.py makes batches."""
import importlib

from utils.errors import UserError, nearest

DATASETS = {
    "celeba": "data.celeba_dataset:CelebADataset",
    "ffhq": "data.ffhq_dataset:FFHQDataset",
    "single": "data.single_dataset:SingleDataset",
}


def find_dataset(name):
    """The dataset class for --dataset_name; UserError with the nearest name for an unknown one."""
    if name not in DATASETS:
        raise UserError(f"--dataset_name {name}: unknown dataset; there are {', '.join(sorted(DATASETS))}."
                        + nearest(name, DATASETS))
    module, _, cls = DATASETS[name].partition(":")
    return getattr(importlib.import_module(module), cls)
