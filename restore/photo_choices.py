# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Names that newphoto.py's options take; apart from what needs torch, so that --help is quick."""

PASTES = ("delta", "crop")  # restore/paste_back.py
UPSCALES = (1, 2, 4)
ANGLES = ("0", "all")  # restore/face_finder.py
WHICH = ("all", "largest", "centre")  # restore/photo.py
