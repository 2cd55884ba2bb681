"""The console: streams that may be closed, and text that may hold anything, such as the names of files."""
import os
import sys


def printable(text: str, line: bool = False) -> str:
    """Returns `text` with control characters, among them those of a terminal's escape sequences, as backslash escapes.

    A file's name may hold them, and could so forge lines of a log. Tabs stay. line: `text` is one line, so line breaks
    are escaped, too; otherwise what follows a line break is indented, so that it does not look like a new message.
    """
    if line:
        return "".join(map(_escaped, text))
    return "\n  ".join("".join(map(_escaped, part)) for part in text.split("\n"))


def _escaped(character):
    # Not printable: controls, line and paragraph separators, marks that change the direction of writing. Surrogates
    # stand for bytes that are not UTF-8; the streams and files escape them.
    if character.isprintable() or character in "\t\u3000\xa0" or "\udc80" <= character <= "\udcff":
        return character
    return character.encode("unicode_escape").decode("ascii")


def open_missing_streams() -> None:
    """Points closed standard streams (`>&-`) to /dev/null: otherwise the next file would get their number."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def drop_stdout() -> None:
    """Points stdout to /dev/null after it has failed: what is still in its buffer would fail again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
