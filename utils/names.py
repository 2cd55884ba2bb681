# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Names of files, and other text that may hold anything: how it is printed, and when two names are the same."""
import os
import unicodedata

BLANK = "\t\u3000\xa0"  # not printable in Python's sense, but harmless: tab and spaces


def printable(text):
    """Returns a name, a path or other text on one line of valid text.

    Control characters, line breaks and marks that change the direction of writing, which could forge lines of a log,
    and bytes that are not UTF-8 become backslash escapes.
    """
    return "".join(map(_escaped, os.fspath(text)))


def _escaped(letter):
    """Returns one character, or its escape if it is not printable; a byte that is not UTF-8 is shown as that byte."""
    if letter.isprintable() or letter in BLANK:
        return letter
    code = ord(letter)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(letter)[1:-1]


def normalised(name):
    """Returns a name in Unicode's composed form (NFC): macOS writes decomposed letters, other systems composed ones."""
    return unicodedata.normalize("NFC", name)
