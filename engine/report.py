# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Images of a run: the grid of faces (LR, SR, HR and what the recipe adds), and the curves of losses and PSNR."""
import os

import matplotlib
import numpy as np
import torch

from engine.evaluate import input_psnr
from models.base_model import BaseModel
from utils.files import replacing
from utils.images import grid, quantize

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend without a screen must be chosen first)


@torch.no_grad()
def picture_grid(recipe: BaseModel, batch: dict[str, torch.Tensor], rows: int) -> tuple[np.ndarray, str]:
    """Returns (uint8 HWC RGB with one row per face and one column per image of the recipe, the columns' titles).

    batch: {'lr', 'hr', ...: float32 NCHW in [-1, 1]} on the device; its first `rows` faces are shown. The networks run
    in eval mode and are then put back into the mode that they were in.
    """
    batch = {name: faces[:rows] for name, faces in batch.items()}
    with recipe.evaluating():
        pictures = recipe.pictures(batch)
    columns = [quantize(faces, "round") for faces in pictures.values()]
    return grid(list(zip(*columns, strict=True)), titles=list(pictures)), " | ".join(pictures)


def write_curves(records: list[dict], input_title: str, path: str | os.PathLike) -> None:
    """Writes a PNG with the losses and the PSNR against steps, whole or not at all.

    records: those of metrics.jsonl. input_title: name of the curve of the network's input. Raises WriteError.
    """
    train = [r for r in records if r["kind"] == "train"]
    val = [r for r in records if r["kind"] == "val"]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    # Fixed margins and titles: those that matplotlib works out double the time, which a short training would feel.
    figure.subplots_adjust(left=0.11, right=0.99, bottom=0.13, top=0.92, wspace=0.17)
    for name in sorted({key for r in train for key in r if key.startswith("Loss_")}):
        having = [r for r in train if name in r]  # a resumed run may have a loss that it did not have before
        axes[0].plot([r["step"] for r in having], [r[name] for r in having], label=name, linewidth=1,
                     marker="o" if len(having) == 1 else None, markersize=3)  # a line through one point is invisible
    losses = [r[name] for r in train for name in r if name.startswith("Loss_")]
    # Hinge and minus PSNR go below 0; of the latter, all values lie within one step of a logarithmic scale.
    scale = "log" if all(value > 0 for value in losses) else "linear" if max(losses) <= 0 else "symlog"
    axes[0].set(xlabel="step", ylabel="loss", yscale=scale)
    axes[0].set_title("Training loss", y=1)
    if val:
        steps = [r["step"] for r in val]
        protocol = val[-1]["protocol"]
        axes[1].plot(steps, [r["psnr"] for r in val], "o-", markersize=3, label="restored")
        if input_psnr(val[-1]) is not None:  # it is infinite where the input is the true face
            axes[1].axhline(input_psnr(val[-1]), linestyle="--", color="tab:orange", label=input_title)
        axes[1].set(xlabel="step", ylabel=f"PSNR in dB (protocol {protocol})")
        axes[1].set_title("Validation", y=1)
    for axis in axes:
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
    pyplot.close(figure)
