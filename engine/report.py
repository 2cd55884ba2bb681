"""Pictures of a run: the grid of faces (LR, SR, HR and what the recipe adds), and the curves of loss and PSNR."""
import os
from pathlib import Path

import matplotlib
import torch

from engine.evaluate import input_psnr
from utils.images import grid, quantize

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend without a screen must be chosen first)


@torch.no_grad()
def picture_grid(recipe, batch, rows):
    """(uint8 HWC RGB: one row a face, one column for each of the recipe's pictures, in eval mode; the columns' titles).

    batch: {'lr', 'hr', ...: float32 NCHW in [-1, 1]} on the device; its first `rows` faces are shown.
    """
    batch = {name: faces[:rows] for name, faces in batch.items()}
    modes = {net: net.training for net in (*recipe.released_networks().values(), *recipe.networks.values())}
    for net in modes:
        net.eval()
    pictures = recipe.pictures(batch)
    for net, training in modes.items():
        net.train(training)
    columns = [quantize(faces, "round") for faces in pictures.values()]
    return grid(list(zip(*columns, strict=True)), titles=list(pictures)), " | ".join(pictures)


def write_curves(records, input_title, path):
    """A PNG of the losses and of PSNR against steps, from metrics.jsonl's records; input_title: of what is restored."""
    train = [r for r in records if r["kind"] == "train"]
    val = [r for r in records if r["kind"] == "val"]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in sorted({key for r in train for key in r if key.startswith("Loss_")}):
        having = [r for r in train if name in r]  # a run may have gone on with a loss that it had not before
        axes[0].plot([r["step"] for r in having], [r[name] for r in having], label=name, linewidth=1,
                     marker="o" if len(having) == 1 else None, markersize=3)  # a line through one point is invisible
    adversarial = any(r[name] <= 0 for r in train for name in r if name.startswith("Loss_"))  # hinge: below 0, too
    axes[0].set(xlabel="step", ylabel="loss", yscale="symlog" if adversarial else "log", title="Training loss")
    if val:
        steps = [r["step"] for r in val]
        protocol = val[-1]["protocol"]
        axes[1].plot(steps, [r["psnr"] for r in val], "o-", markersize=3, label="restored")
        if input_psnr(val[-1]) is not None:  # it is infinite where the input is the true face
            axes[1].axhline(input_psnr(val[-1]), linestyle="--", color="tab:orange", label=input_title)
        axes[1].set(xlabel="step", ylabel=f"PSNR in dB (protocol {protocol})", title="Validation")
    for axis in axes:
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend()
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp.png")
    figure.savefig(temporary, dpi=110)
    pyplot.close(figure)
    os.replace(temporary, path)
