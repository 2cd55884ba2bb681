# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Uncompressed video with a time for each frame, as a stream that ffmpeg reads from a pipe.

ffmpeg gives frames without a container (-f rawvideo) times of a constant rate. Matroska (RFC 9559) is the simplest
container that carries a time per frame; here its unit is the nanosecond, so that times of every other unit survive.
"""
from __future__ import annotations

import struct

SECOND = 10 ** 9
UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
RGB24 = b"RGB\x18"  # FourCC of 8-bit RGB


def stream_head(width: int, height: int, frame_duration: int, turns: int = 0) -> bytes:
    """Returns what comes before the first frame.

    frame_duration: in ns, what the encoder takes as the usual one. turns: quarter turns counter-clockwise by which a
    player shows the frames.
    """
    roll = _element(0x7675, struct.pack(">d", (turns * 90 + 180) % 360 - 180))
    projection = _element(0x7670, _number(0x7671, 0) + roll) if turns else b""
    video = _element(0xE0, _number(0xB0, width) + _number(0xBA, height) + _element(0x2EB524, RGB24) + projection)
    track = (_number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _number(0x9C, 0)
             + _element(0x86, b"V_UNCOMPRESSED") + _number(0x23E383, frame_duration) + video)
    return (_element(0x1A45DFA3, _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2))
            + _id(0x18538067) + UNKNOWN_SIZE + _element(0x1549A966, _number(0x2AD7B1, 1))  # unit: 1 ns
            + _element(0x1654AE6B, _element(0xAE, track)))


def frame_head(size: int, time: int, duration: int) -> bytes:
    """Returns what comes before a frame of `size` bytes; time (not negative) and duration: in ns."""
    block = b"\x81" + struct.pack(">hB", 0, 0)  # of track 1, at the cluster's time
    duration_element, time_element = _number(0x9B, duration), _number(0xE7, time)
    block_head = _id(0xA1) + _size(len(block) + size) + block
    group_head = _id(0xA0) + _size(len(duration_element) + len(block_head) + size) + duration_element
    length = len(time_element) + len(group_head) + len(block_head) + size
    return _id(0x1F43B675) + _size(length) + time_element + group_head + block_head


def _element(identity, content):
    return _id(identity) + _size(len(content)) + content


def _number(identity, value):
    return _element(identity, struct.pack(">Q", value))


def _id(identity):
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big")


def _size(length):
    return (length | 1 << 56).to_bytes(8, "big")
