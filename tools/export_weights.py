# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Exports weights for release: half the size, no pickle, with a description and a checksum.

    python -m tools.export_weights check_points/light/best_net_G.pth pretrained/sparnet/generator.safetensors \\
        --licence "..." --data "..." --commit 71cf9f6

Tensors of two or more dimensions become float16. Vectors (biases, batch norm's weights and statistics) stay float32:
they are small, and float16 would cost accuracy. The file's metadata describes the network (from the options.yml beside
the source, or from the source's own metadata) and the origin of the weights (restore/description.py). The checksum is
added to pretrained/SHA256SUMS if the target is in pretrained/.
"""
import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from models.weights import DIGEST, digest, read_weights
from restore.description import ALIGNMENTS, read_description
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.option_types import tool_parser
from utils.pretrained import FOLDER, record_checksum


def export(source, target, **known):
    """Writes the weights file `source` as `target` (.safetensors) and returns the Description in its metadata.

    known: fields of the description to set, e.g. licence; a field that is None keeps the source's value. Returns None
    if nothing describes the source. Raises UserError if the source cannot be read or the target cannot be written.
    """
    if Path(target).suffix != ".safetensors":
        raise UserError(f"{target}: the file name must end in .safetensors.")
    weights = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in read_weights(source).items()}
    too_large = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if too_large:
        raise UserError(f"{source}: {too_large[0]} holds values that exceed float16's range or are not finite.")
    description = read_description(source)
    if description:
        description = replace(description, **{name: value for name, value in known.items() if value is not None})
    content = serialize(weights, description.metadata() if description else {"format": "pt"})
    write_file(target, content, make_folder=True)
    return description


def serialize(weights, metadata):
    """Returns the bytes of a .safetensors file, with sorted metadata: safetensors itself writes it in random order.

    weights: {key: tensor}. metadata: {name: text}; a checksum (models/weights.py: digest) is added, since the format
    has none.
    """
    metadata = {**metadata, DIGEST: digest(weights, metadata)}
    content = save({name: tensor.contiguous() for name, tensor in weights.items()})
    end = 8 + int.from_bytes(content[:8], "little")  # end of the JSON header; the first 8 bytes hold its length
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def largest_change(before, after):
    """Returns the largest change of any weight, relative to the largest absolute value in its tensor.

    before, after: {name: tensor}.
    """
    return max(float((before[n] - after[n]).abs().max() / before[n].abs().max().clamp(min=1e-12))
               for n in before if before[n].is_floating_point())


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("source", help="weights file: .pth from a training, or .safetensors from an earlier export")
    parser.add_argument("target", help="the .safetensors file to write")
    parser.add_argument("--licence", default=None,
                        help="text: what the weights may be used for (default: the source's licence)")
    parser.add_argument("--commit", default=None, help="commit of the training code (default: the source's commit)")
    parser.add_argument("--data", default=None,
                        help="text: what the weights were trained on (default: the source's data)")
    parser.add_argument("--alignment", choices=ALIGNMENTS, default=None,
                        help="how the training faces are aligned (default: the source's alignment)")
    a = parser.parse_args()
    described = read_description(a.source)
    if described is None:
        raise UserError(f"{a.source}: the network of these weights is unknown: put their training's options.yml into "
                        f"the same folder.")
    if not (a.licence or described.licence):
        raise UserError("--licence TEXT is required: it states what the weights may be used for.")
    before = read_weights(a.source)  # read first: the target may be the same file
    export(a.source, a.target, licence=a.licence, commit=a.commit, data=a.data, alignment=a.alignment)
    path = Path(a.target).resolve()
    if path.is_relative_to(FOLDER):
        print(f"sha256 {record_checksum(path)}")  # before it is read again: an earlier file had another one
    print(f"{a.target}: {path.stat().st_size / 1e6:.2f} MB; largest change of a weight, relative to the largest value "
          f"in its tensor: {largest_change(before, read_weights(a.target)):.1e}")


if __name__ == "__main__":
    run_main(main)
