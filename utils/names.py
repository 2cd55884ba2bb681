"""Names of files as text: how they are printed, and when two of them are the same."""
import os
import unicodedata


def printable(name):
    """Returns a file's name or path on one line of valid text.

    Control characters and line breaks, which could forge lines of a log, and bytes that are not UTF-8 become
    backslash escapes.
    """
    return "".join(_escaped(letter) if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter
                   for letter in os.fspath(name))


def _escaped(letter):
    """Returns the escape of one character; a byte that is not UTF-8 is shown as that byte."""
    code = ord(letter)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(letter)[1:-1]


def normalised(name):
    """Returns a name in Unicode's composed form (NFC): macOS writes decomposed letters, other systems composed ones."""
    return unicodedata.normalize("NFC", name)
