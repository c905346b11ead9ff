"""Saves the splits of a corpus as `datasets.load_from_disk` reads them, in batches bounded in bytes.

`DatasetDict.save_to_disk` counts records alone: a batch of more than 2 GiB of text breaks it. And it names a split by
how it was made, file times included; here a split is named by its content, so that equal records make equal files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest
from components.sources.record_batches import tables_of
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from datasets import Dataset

ARROW_FILE = "data-00000-of-00001.arrow"


def save_splits(splits: "Mapping[str, Dataset]", directory: Path) -> None:
    """Writes the records of each split, its description, and the list of splits.

    Args:
        splits: The records by the split's name.
        directory: The folder to make.
    """
    directory.mkdir(parents=True)
    (directory / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}), encoding="utf-8")
    for name, dataset in splits.items():
        save_split(dataset, directory / name)


def save_split(dataset: "Dataset", directory: Path) -> None:
    """Writes one split."""
    from datasets.arrow_writer import ArrowWriter
    from datasets.utils.py_utils import asdict  # leaves defaults out

    directory.mkdir()
    path = directory / ARROW_FILE
    with (
        ArrowWriter(features=dataset.features, path=str(path), embed_local_files=True) as writer,
        TERMINAL.progress(f"writing {directory.name}", len(dataset), "records") as progress,
    ):
        for table in progress.watch(tables_of(dataset), len):
            writer.write_table(table)
        writer.finalize()
    info = asdict(dataset.info)
    with open(directory / "dataset_info.json", "w", encoding="utf-8") as file:
        json.dump({name: info[name] for name in sorted(info)}, file, indent=2)
    state: dict[str, Any] = {
        "_data_files": [{"filename": ARROW_FILE}],
        "_fingerprint": manifest.digest_of([manifest.digest_of_file(path)])[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None if dataset.split is None else str(dataset.split),
    }
    manifest.write_json(directory / "state.json", state)
