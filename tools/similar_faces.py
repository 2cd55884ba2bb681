# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Looks for people of one folder of faces in another: were test faces among the training faces?

    python -m tools.similar_faces TEST_FACES TRAINING_FACES --identity_path MOBILEFACENET [--above 0.6] [--csv FILE]

For each face of the first folder it finds the most similar face of the second, by the cosine of a face embedding, and
lists those above --above. Pictures of the same person have about 0.57 on average with MobileFaceNet, copies of a
photo more.
"""
import csv
import io
from pathlib import Path

import numpy as np
import torch

import utils.device
from models.face_embedding import load_face_embedding
from restore.alignment import align
from restore.face_finder import FaceFinder, find_points
from utils.errors import UserError, run_main
from utils.files import write_file
from utils.images import BadImage, Skipped, list_images, read_rgb, to_tensor_range
from utils.option_types import at_least, file_path, text, tool_parser

BATCH = 32  # faces per pass of the embedding
SHOWN = 1000  # images between lines about the progress


@torch.no_grad()
def embedded(folder, option, net, device, skipped):
    """Returns (paths, vectors [N, D] of length 1) of the faces found in a folder of images, searched recursively.

    Images that cannot be read, or show no face, go to `skipped`. Raises UserError if no face is left.
    """
    finder, paths, vectors, crops = FaceFinder(), [], [], []

    def embed():
        vectors.append(net(to_tensor_range(torch.from_numpy(np.stack(crops)).to(device))).cpu())
        crops.clear()
    found = list_images(folder, option)
    for number, path in enumerate(found, 1):
        if number % SHOWN == 0:
            print(f"{option}: {number} of {len(found)} images", flush=True)
        try:
            picture = np.asarray(read_rgb(path))
            points = find_points(picture, finder)
            if points is None:
                raise BadImage(path, "no face was found in it")
        except BadImage as error:
            skipped.add(error)
            continue
        crops.append(align(picture, points, net.size))
        paths.append(path)
        if len(crops) == BATCH:
            embed()
    if crops:
        embed()
    if not paths:
        raise UserError(f"{option}: no face was found in the images of {folder}.")
    return paths, torch.cat(vectors)


def most_similar(vectors, others):
    """Returns (cosines [N], indices [N]) of the most similar of `others` [M, D] for each of `vectors` [N, D]."""
    return (vectors @ others.T).max(1)


def table(rows):
    """Returns the CSV text of (face, most similar face, cosine) rows."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("face", "most similar", "cosine"))
    writer.writerows((face, other, f"{cosine:.3f}") for face, other, cosine in rows)
    return file.getvalue()


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("faces", type=text, help="folder of faces to look for, e.g. of a test")
    parser.add_argument("others", type=text, help="folder of faces to search, e.g. of a training")
    parser.add_argument("--identity_path", type=text, required=True, help="weights of a face embedding: MobileFaceNet "
                        "or ArcFace's IR-SE50")
    parser.add_argument("--above", type=at_least(0, float, 1), default=0.6,
                        help="cosine above which faces are listed; default: %(default)s")
    parser.add_argument("--csv", type=file_path, default=None, help="file for all rows; default: none")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu; default: %(default)s")
    a = parser.parse_args()
    device, skipped = utils.device.pick_device(a.device), Skipped()
    net = load_face_embedding(a.identity_path).to(device)
    faces, vectors = embedded(a.faces, "FACES", net, device, skipped)
    others, known = embedded(a.others, "OTHERS", net, device, skipped)
    cosines, places = most_similar(vectors, known)
    rows = [(Path(face).relative_to(a.faces).as_posix(), Path(others[place]).relative_to(a.others).as_posix(), cosine)
            for face, place, cosine in zip(faces, places.tolist(), cosines.tolist(), strict=True)]
    if a.csv:
        write_file(a.csv, table(rows))
    similar = sorted((row for row in rows if row[2] > a.above), key=lambda row: -row[2])
    for face, other, cosine in similar:
        print(f"{face}  {other}  {cosine:.3f}")
    print(f"{len(similar)} of {len(faces)} faces have a face above {a.above:g} among {len(others)}; "
          f"the largest cosine is {cosines.max():.3f}, the median {cosines.median():.3f}")
    return skipped.exit_status()


if __name__ == "__main__":
    run_main(main)
