"""Command-line options; presets/ holds named recipes (YAML, the command line wins over them)."""
import utils  # noqa: F401 (sets what torch reads while it loads)
