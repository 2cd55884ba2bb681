"""The project's own drawn faces."""
import utils  # noqa: F401 (sets what torch reads while it loads)
