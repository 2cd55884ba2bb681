"""Publish weights: half the size, readable without unpickling anything, with a checksum.

    python -m tools.export_weights check_points/light/best_net_G.pth pretrained/sparnet/generator.safetensors

Convolutions become float16; vectors (biases, batch norm's weights and statistics) stay float32, for they are small
and half would cost accuracy. The checksum is added to SHA256SUMS in pretrained/ where the target is below that folder.
"""
import argparse
from pathlib import Path

from safetensors.torch import save

from models.weights import read_weights
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.pretrained import FOLDER, record_checksum


def export(source, target):
    """Write the weights file `source` as `target` (.safetensors). UserError where either cannot be used."""
    if Path(target).suffix != ".safetensors":
        raise UserError(f"{target}: the name must end in .safetensors.")
    weights = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in read_weights(source).items()}
    too_large = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if too_large:
        raise UserError(f"{source}: {too_large[0]} holds numbers that float16 cannot hold, or that are not finite.")
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_file(target, save(weights, {"format": "pt"}), make_folder=True)


def largest_change(source, target):
    """The largest difference of a weight between the two files, relative to the largest weight of its tensor."""
    before, after = read_weights(source), read_weights(target)
    return max(float((before[n] - after[n]).abs().max() / before[n].abs().max().clamp(min=1e-12))
               for n in before if before[n].is_floating_point())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a checkpoint's weights (.pth)")
    parser.add_argument("target", help="the .safetensors file to write")
    a = parser.parse_args()
    export(a.source, a.target)
    path = Path(a.target).resolve()
    print(f"{a.target}: {path.stat().st_size / 1e6:.2f} MB; weights changed by at most "
          f"{largest_change(a.source, a.target):.1e} of the largest of their tensor")
    if path.is_relative_to(FOLDER):
        print(f"sha256 {record_checksum(path)}")


if __name__ == "__main__":
    run_main(main)
