"""Commands as the user would type them here: short paths, quoted for a shell."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def short(path: Path) -> str:
    """A path as the user would type it here: relative where it is below the working directory."""
    try:
        here = Path.cwd()
    except OSError:  # the directory was removed
        return str(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


def python() -> str:
    """This Python, quoted."""
    return shlex.quote(short(Path(sys.executable)))


def installed(name: str) -> str:
    """A command that is installed beside this Python, quoted: its name if the shell finds that one, else its path."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.is_file() or (found is not None and os.path.realpath(found) == os.path.realpath(beside)):
        return name
    return shlex.quote(short(beside))
