# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""UserError, the exception for errors that the user can fix, and how entry points report it."""
import contextlib
import difflib
import errno
import re
import signal
import sys

from utils import console, signals
from utils.names import printable

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
LIMITS = (errno.EAGAIN, errno.EMFILE, errno.ENFILE)  # no further process or open file is allowed
LIMIT_MESSAGES = "can't start new thread|[Tt]oo many open files"  # of Python and torch where there is no error number
NO_MEMORY = "out of memory|can't allocate memory|Insufficient memory"  # in torch's and OpenCV's messages
NEAR = 0.75  # of difflib's ratio: 1 is the same word; below it a suggestion would only mislead
LOST_CONTACT = 3  # exit status of a rank that ends because another one did


class UserError(Exception):
    """Bad input or an unusable environment. The message says what was wrong, where, and what to do.

    Entry points print it as one line and exit with `status` (2: bad options or input, 1: the run failed,
    3: another rank failed).
    """

    def __init__(self, message, status=2):
        super().__init__(message)
        self.status = status


def nearest(name, known):
    """Returns ' Did you mean X?' for the one of `known` that is almost `name`, or ''. Case, - and _ do not count."""
    def letters(word):
        return str(word).lower().translate({ord("-"): None, ord("_"): None})

    spelt = {letters(word): word for word in known}
    close = difflib.get_close_matches(letters(name), spelt, n=1, cutoff=NEAR)
    return f" Did you mean {spelt[close[0]]}?" if close else ""


def shown(text, most=100):
    """Returns `text` on one line for a message: control characters escaped, the middle of a long one left out."""
    text = printable(str(text))
    return text if len(text) <= most else f"{text[:most * 2 // 3]}...{text[-most // 4:]}"


def first_line(error):
    """Returns the first line of an exception's message, or the exception's type if its message is empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


end_process = sys.exit  # how run_main ends; utils/distributed.py replaces it while there may be other ranks


def run_main(main, leave=None):
    """Runs an entry point, then calls `leave`, by default end_process, with its exit status.

    A UserError is printed as one line on stderr without a traceback; a full or read-only disk, too little memory and a
    limit on processes or open files are reported the same way. A signal (utils/signals.py) ends the program with one
    line and the status 128 + its number. Where nobody reads stdout any more (`| head -1`), the program ends without a
    word, like other Unix programs.
    """
    console.open_missing_streams()
    sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr: file names may not be valid UTF-8
    try:
        with signals.handling(signals.raise_stopped):
            status = main()
            sys.stdout.flush()
    except UserError as error:
        status = _fail(f"error: {error}", error.status)
    except BrokenPipeError:
        console.drop_stdout()
        status = signals.exit_status(signal.SIGPIPE)
    except (OSError, MemoryError, RuntimeError) as error:  # torch raises RuntimeError, and subclasses on accelerators
        message = _of_the_system(error)
        if not message:
            raise
        status = _fail(f"error: {message}", 1)
    except (KeyboardInterrupt, signals.Stopped) as stop:
        number = getattr(stop, "number", signal.SIGINT)
        status = _fail(f"stopped by {signal.Signals(number).name}; what was written before, such as checkpoints, is "
                       f"untouched", signals.exit_status(number))
    (leave or end_process)(status)


def limit_reached(error):
    """Returns what to do about an error because no further process or open file is allowed; None for another one."""
    reason = getattr(error, "strerror", None) or first_line(error)
    if getattr(error, "errno", None) not in LIMITS and not re.search(LIMIT_MESSAGES, reason):
        return None
    return (f"a limit of the system is reached: {shown(reason)}. Raise the limit of processes or open files "
            f"(ulimit -u, ulimit -n, docker run --pids-limit), or reduce --workers.")


def _of_the_system(error):
    """Returns what to do about an error that a full disk, too little memory or a limit causes; None for another one."""
    if getattr(error, "errno", None) in DISK_ERRORS:
        return (f"could not write{f' {error.filename}' if error.filename else ''}: {error.strerror}. What was written "
                f"before is untouched; a training goes on with --continue_train.")
    message = limit_reached(error)
    if message:
        return message
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and re.search(NO_MEMORY, str(error)):
        return f"not enough memory: {shown(first_line(error), 200)}. Reduce --batch_size, --load_size or --workers."
    return None


def _fail(message, status):
    """Prints a message on stderr, if somebody reads it, and returns the status."""
    with contextlib.suppress(OSError):
        print(console.indented(message), file=sys.stderr, flush=True)
    return status
