"""Which part of a data set a file holds (train, validation or test), by the names that `datasets` knows.

A keyword counts where it is a word by itself in the name of a directory or of the file: `test/a.jsonl`, `my-test.csv`,
`train-00000-of-00002.parquet`. A directory's name counts before the file's. (The keywords are those of
`datasets.data_files.SPLIT_KEYWORDS`; here capitals don't matter.)
"""

import re
from collections.abc import Collection, Container

KEYWORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
PARTS = ("train", "validation", "test")
BETWEEN_WORDS = re.compile(r"[-._ 0-9]+")


def part_of(name: str) -> str | None:
    """The part that a file holds, by its path below the source's directory; None where that names none."""
    *directories, file = name.lower().split("/")
    for step in (*reversed(directories), file):
        for word in BETWEEN_WORDS.split(step):
            if word in KEYWORDS:
                return KEYWORDS[word]
    return None


def parts_of(names: Collection[str]) -> dict[str, str]:
    """The part of each file that has one, by name.

    It is empty where there are no parts to keep: where no file is named train, or no file is named as another part.
    """
    parts = {name: part for name in names if (part := part_of(name))}
    found = set(parts.values())
    return parts if "train" in found and len(found) > 1 else {}


def mixed(names: Collection[str], *, all_are_train: bool = False) -> list[str]:
    """The files named validation or test that are read together with other files, because no parts are kept.

    Args:
        names: The files.
        all_are_train: Whether they are the train part whatever their names, because the test part is elsewhere.
    """
    parts = {name: part_of(name) for name in names}
    if not all_are_train and (parts_of(names) or len(set(parts.values())) < 2):
        return []
    return [name for name, part in parts.items() if part in ("validation", "test")]


def held_out(parts: Container[str]) -> str:
    """The part that becomes the test split: test, or validation where there is no test part."""
    return "test" if "test" in parts else "validation"
