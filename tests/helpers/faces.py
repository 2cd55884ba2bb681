# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Faces and other images for tests, their landmarks, and datasets of them."""
import hashlib

import numpy as np
from PIL import Image

from data import find_dataset
from data.celeba_dataset import CelebADataset
from data.drawn.builtin_faces import draw_face
from data.face_parts import CLASSES


def write_faces(folder, count, size=(40, 40), first_seed=0):
    """Writes `count` smooth random RGB images as PNG files; these tests do not need real faces."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise = np.random.default_rng(first_seed + i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")
    return folder


def digest(face):
    parts = (face.image, face.landmarks, face.parsing)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def helen_points():
    """Returns the 194 points of a synthetic face in Helen's order, symmetric about x = 0, about 100 units wide."""
    def arc(start, end, count, centre, radii):  # degrees: 0 points right, 90 points down
        turn = np.radians(np.linspace(start, end, count))
        return np.stack([centre[0] + radii[0] * np.cos(turn), centre[1] + radii[1] * np.sin(turn)], 1)
    lips = np.arange(28) * 360 / 28 + 180  # starts at the image's left, then the upper lip
    outer, inner = (np.stack([r * np.cos(np.radians(lips)), 30 + h * np.sin(np.radians(lips))], 1)
                    for r, h in ((20, 8), (17, 3)))
    eye, brow = (arc(180, 540, 21, (x, y), radii)[:20] for x, y, radii in ((22, -15, (10, 4)), (22, -28, (14, 3))))
    other = [part * (-1, 1) for part in (eye, brow)]  # also starts at the inner corner, then the upper edge
    points = [arc(180, 0, 41, (0, 0), (50, 60)), arc(250, -70, 17, (0, 5), (9, 12)), outer, inner, eye, other[0], brow,
              other[1]]
    return np.concatenate(points)


def make_official(root, folder_of, scale=1, size=64):
    """Writes built-in faces 0..2 in CelebAMask-HQ's format: one white mask per part, no file for absent ones."""
    (root / "CelebA-HQ-img").mkdir(parents=True)
    for n in range(3):
        face = draw_face(n, size)
        Image.fromarray(face.image).save(root / "CelebA-HQ-img" / f"{n}.jpg", quality=95)
        for index in np.unique(face.parsing)[1:]:
            mask = Image.fromarray(255 * (face.parsing == index).astype(np.uint8)).convert("RGB")
            file = root / "CelebAMask-HQ-mask-anno" / folder_of(n) / f"{n:05d}_{CLASSES[index]}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            mask.resize((size * scale, size * scale), Image.Resampling.NEAREST).save(file)
    return root


def open_set(name, root, augmentation="none", load_size=64, **options):
    kind = find_dataset(name)
    return kind(kind.list_faces(str(root), "--dataroot"), load_size, 8, augmentation, **options)


def celeba_set(paths, augmentation="none", seed=0, load_size=128, **options):
    return CelebADataset([str(p) for p in paths], load_size, 8, augmentation, seed=seed, **options)
