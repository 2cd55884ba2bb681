"""argparse types of command-line options. They raise ArgumentTypeError for invalid text."""
import argparse


def boolean(text):
    """Returns True for 1, true, yes, on and False for 0, false, no, off (any case)."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def at_least(smallest, kind=int, largest=float("inf")):
    """Returns an argparse type: a finite number of type `kind` from `smallest` to `largest`."""
    def convert(text):
        value = kind(text)
        if not value >= smallest:
            raise argparse.ArgumentTypeError(f"{text} is below {smallest}")
        if value == float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        if value > largest:
            raise argparse.ArgumentTypeError(f"{text} is above {largest}")
        return value
    convert.__name__ = kind.__name__
    return convert


def below_one(text):
    """Returns a number in [0, 1), e.g. the decay of a moving average."""
    value = at_least(0, float)(text)
    if not value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not below 1")
    return value


below_one.__name__ = "float"  # in --help


def loss_scale(text):
    """Returns a positive number or 'dynamic'."""
    return text if text == "dynamic" else at_least(1e-9, float)(text)


# Words that earlier versions used, in options.yml, checkpoints and presets: {option: {old: new}}.
OLD_WORDS = {"augmentation": {"mended": "fixed"}}


def current_word(option, value):
    """Returns what an option's value of an earlier version is called now; any other value unchanged."""
    return OLD_WORDS[option].get(value, value) if option in OLD_WORDS else value


def augmentation(text):
    """The name of an augmentation; earlier names are understood."""
    return current_word("augmentation", text)


augmentation.__name__ = "text"  # in --help
