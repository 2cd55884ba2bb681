"""Which code this is."""
import subprocess
from pathlib import Path

VERSION = "0.2.0"


def commit():
    """The checkout's commit, '+' where files differ from it; '' outside a checkout, or where there is no git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent,
                              capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()
