"""Benchmarks; RESULTS.md lists their results. Run them as modules: python -m benchmarks.train_step"""
import utils  # noqa: F401 (sets environment variables that torch reads at import)
