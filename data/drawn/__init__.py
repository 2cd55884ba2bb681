"""The faces that the project draws itself."""
import utils  # noqa: F401 (sets what torch reads while it loads)
