"""One metric per file, each a named protocol."""
import utils  # noqa: F401 (sets what torch reads while it loads)
