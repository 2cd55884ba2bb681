"""Training and evaluation: loop, checkpoints, run folders, logs."""
