"""The versions of a model's base path, as TensorFlow Serving reads it: a child directory each, named by an integer."""

import os
import re
from pathlib import Path

LARGEST_VERSION = 2**63 - 1


def parse_version(name: str) -> int | None:
    """The version that a child's name stands for, or None: the rule of TensorFlow Serving.

    A name counts when it reads as a 64-bit integer, so `00000123` is 123 and `.tmp` or `1_bak` are nothing.
    """
    if not re.fullmatch(r"\s*\+?[0-9]+\s*", name, re.ASCII):
        return None
    version = int(name)
    return version if version <= LARGEST_VERSION else None


def versions(base_path: Path) -> dict[int, Path]:
    """Every child of a base path that a server takes for a version, by number, in rising order.

    Of names that read as the same number, such as `00002` and `2`, the last in sorted order counts.

    Raises:
        OSError: If the base path can't be listed, a missing one too: nothing follows from that for its versions.
    """
    names = sorted(os.listdir(base_path))
    found = {version: base_path / name for name in names if (version := parse_version(name)) is not None}
    return dict(sorted(found.items()))
