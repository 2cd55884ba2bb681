"""From weights to a callable on arrays."""
import utils  # noqa: F401 (sets what torch reads while it loads)
