"""Command-line options; presets/ holds presets (YAML); the command line overrides them."""
import utils  # noqa: F401 (sets environment variables that torch reads during import)
