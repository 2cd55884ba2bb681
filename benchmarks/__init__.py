"""What is measured, by what; RESULTS.md is what came out. Run as modules: python -m benchmarks.train_step"""
import utils  # noqa: F401 (sets what torch reads while it loads)
