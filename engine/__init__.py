"""Training and evaluation: loop, checkpoints, run folders, logs."""
import utils  # noqa: F401 (sets what torch reads while it loads)
