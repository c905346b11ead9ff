"""A model's base path as TensorFlow Serving reads it, for those who write versions and those who serve them.

<base path>/
1/                  a version: a child directory named by an integer
saved_model.pb, variables/, assets/
model.tflite    where there is one, the same model for TensorFlow Lite
assets.extra/   files that TensorFlow doesn't read when it loads the model
2/
...                 any other name is no version
"""

import os
import re
from pathlib import Path

LARGEST_VERSION = 2**63 - 1
SAVED_MODEL = "saved_model.pb"
"""The file that makes a directory a SavedModel."""
LITE_MODEL = "model.tflite"
"""What TensorFlow Serving loads in place of the SavedModel under `--prefer_tflite_model`."""
TOKENIZER = "assets.extra/tokenizer"
"""The tokenizer's own files, for clients that tokenize themselves."""
EXAMPLE = "assets.extra/example.txt"
"""A text to try the model on, with the tokenizer's own mask token, in UTF-8."""
LIMITS = "assets.extra/limits.json"
"""An object with `max_sequence_length`, the most tokens of a text, and `truncation`, whether a longer one is cut to
them, for servers that estimate from a request how large its answer will be."""
WARM_UP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
"""The requests that a server sends to the model before it takes any from clients (TensorFlow Serving's name)."""


def parse_version(name: str) -> int | None:
    """The version that a child's name stands for, by TensorFlow Serving's rule; None where it is no version.

    A name counts when it reads as a 64-bit integer: `00000123` is 123, and `.tmp` and `1_bak` are no versions.
    """
    if not re.fullmatch(r"\s*\+?[0-9]+\s*", name, re.ASCII):
        return None
    version = int(name)
    return version if version <= LARGEST_VERSION else None


def versions(base_path: Path) -> dict[int, Path]:
    """Every child of a base path that a server takes for a version, by number, in rising order.

    Where several names read as the same number, such as `00002` and `2`, the last in sorted order counts.

    Raises:
        OSError: If the base path is missing or can't be listed, which says nothing about its versions.
    """
    names = sorted(os.listdir(base_path))
    found = {version: base_path / name for name in names if (version := parse_version(name)) is not None}
    return dict(sorted(found.items()))
