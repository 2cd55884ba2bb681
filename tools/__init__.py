"""Preparing data, training in instalments, publishing what came out. Each file is run as `python -m tools.NAME`."""
import utils  # noqa: F401 (sets what torch reads while it loads)
