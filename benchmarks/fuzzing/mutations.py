# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Random changes of bytes, text and nested values. Each function draws from the random.Random that it is given."""
import copy
import math

import numpy as np
import torch

EXTREME_BYTES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00")
HOSTILE_NUMBERS = ("nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "1e999", "0", "-0", "-1", "-5", "1", "2", "3",
                   "0.5", "1e9", "99999999", "2147483648", "9223372036854775808", "1" * 400, "0x1F", "0b1", "1_000",
                   "١٢", "1.", ".5", "+3", " 4", "4 ", "1e", "--", "3O", "12:30", "2020-13-45")
HOSTILE_WORDS = ("", " ", "-", "--", "=", "no", "on", "~", "null", "true", "None", ".", "..", "/", "//", "/dev/null",
                 "/dev/zero", "../..", "a\nb", "a\x00b", "\x1b[31m", "\r", "\t", "\udcff", "é", "e\u0301", "人脸", "🙂",
                 "\u202e", "a" * 300, "a" * 5000, "[" * 3000, "{a: b}", "[1, 2", "!!python/object:exit", "&a *a",
                 "*", "?", "$(id)", "`id`", ";id", "'", '"', "\\", "%s", "{}", "%", "#", ": ", "- ", "<<: *a", "|", ">")
LETTERS = ("abcXYZ019_-. ,;:!#$%&'()*+<=>?@[]^`{|}~\\\"\n\r\t\x01\x1b\x7f\u00e9\u0301\u200b\u202e\u4eba\u8138\u3000"
           "\U0001f642\ud83d\udcff\udc80")


def mutated_bytes(content, rng):
    """Returns `content` with one to four random changes: flipped bits, other bytes, cuts, insertions, repetitions."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        # Headers decide more than data: half of the changes are among the first bytes, or the last.
        if rng.random() < 0.5:
            near = min(len(content), rng.randrange(64))
            at = near if rng.random() < 0.7 else len(content) - near
        act = rng.randrange(7)
        if act == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif act == 1 and at < len(content):
            content[at] = rng.randrange(256)
        elif act == 2:
            extreme = rng.choice(EXTREME_BYTES)
            content[at:at + len(extreme)] = extreme
        elif act == 3:
            del content[at:]
        elif act == 4:
            del content[at:at + rng.choice((1, 2, 4, 16, 256))]
        elif act == 5:
            content[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 16))))
        else:
            start = rng.randrange(len(content) + 1)
            content[at:at] = content[start:start + rng.choice((4, 64, 1024))]
    return bytes(content)


def random_text(rng, longest=40):
    """Returns a random word: letters of many scripts, control characters, lone surrogates, or a hostile word."""
    if rng.random() < 0.3:
        return rng.choice(HOSTILE_WORDS + HOSTILE_NUMBERS)
    return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(longest + 1)))


def mutated_text(text, rng):
    """Returns `text` with one to three random changes of letters, lines or values."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines = text.split("\n")
        line, at = rng.randrange(len(lines)), rng.randrange(len(text) + 1)
        act = rng.randrange(7)
        if act == 0:
            text = text[:at] + rng.choice(LETTERS) + text[at:]
        elif act == 1:
            text = text[:at] + text[at + rng.choice((1, 1, 4)):]
        elif act == 2:
            text = text[:at] + random_text(rng) + text[at:]
        elif act == 3 and ":" in lines[line]:
            lines[line] = lines[line].split(":")[0] + ": " + rng.choice(HOSTILE_WORDS + HOSTILE_NUMBERS)
            text = "\n".join(lines)
        elif act == 4:
            lines.insert(line, lines[rng.randrange(len(lines))])
            text = "\n".join(lines)
        elif act == 5:
            lines[line] = " " * rng.choice((1, 2, 8)) + lines[line]
            text = "\n".join(lines)
        else:
            del lines[line]
            text = "\n".join(lines)
    return text


def odd_value(rng):
    """Returns a value of a type or size that nobody expects in a checkpoint."""
    return rng.choice((
        None, True, 0, -5, 2**70, math.nan, math.inf, -1e308, "x", "", [], {}, [[]], {"a": {}}, b"x", (1, 2),
        torch.zeros(0), torch.zeros(2, 2), torch.full((3,), math.nan), torch.tensor(math.inf), torch.tensor(True),
        torch.zeros(1, dtype=torch.int64), torch.zeros(2, dtype=torch.complex64), np.float64(2.5), np.int64(7)))


def mutated_value(value, rng):
    """Returns a copy of a nested value (dicts, lists, tensors, plain values) in which one random place has changed.

    A key is lost, renamed or added, or a value is replaced by an odd one; a tensor may also get another shape, another
    dtype, or one number that is not finite.
    """
    if not isinstance(value, (dict, list)) or not value:
        return odd_value(rng)
    value = parent = copy.copy(value)
    while True:  # goes down to a random depth; what it passes is copied, the rest is shared with the original
        key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        below = parent[key]
        if not isinstance(below, (dict, list)) or not below or rng.random() < 0.25:
            break
        parent[key] = parent = copy.copy(below)
    act = rng.randrange(4)
    if act == 0:
        del parent[key]
    elif act == 1 and isinstance(parent, dict):
        parent[rng.choice((f"{key}x", 3, "", "ï"))] = parent.pop(key) if rng.random() < 0.5 else odd_value(rng)
    elif act == 2 and torch.is_tensor(below):
        parent[key] = _mutated_tensor(below, rng)
    else:
        parent[key] = odd_value(rng)
    return value


def _mutated_tensor(tensor, rng):
    act = rng.randrange(4)
    if act == 0:
        return tensor.flatten()[:rng.randrange(tensor.numel() + 1)]
    if act == 1:
        return tensor.to(rng.choice((torch.int64, torch.float64, torch.bool, torch.complex64)))
    if act == 2 and tensor.is_floating_point() and tensor.numel():
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        tensor.view(-1)[rng.randrange(tensor.numel())] = rng.choice((math.nan, math.inf, -math.inf))
        return tensor
    return tensor[None]
