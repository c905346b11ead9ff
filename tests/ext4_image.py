"""A file system of its own in a file: a copy of the file is what a power cut would leave."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(image: Path, directory: Path) -> Iterator[Path]:
    """Mounts an image at a directory, which is made."""
    directory.mkdir()
    subprocess.run(["mount", "-o", "loop", image, directory], check=True, capture_output=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def empty_image(directory: Path, mebibytes: int) -> Path:
    """An empty ext4 file system below a directory; the test is skipped where none can be mounted."""
    image = directory / "image"
    with open(image, "wb") as file:
        file.truncate(mebibytes << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
        with mounted(image, directory / "trial"):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    return image
