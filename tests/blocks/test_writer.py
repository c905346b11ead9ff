"""Writing blocks."""

from pathlib import Path

import numpy as np
from datasets import List, Value, load_from_disk

from components.blocks.writer import BlockWriter
from components.contract.manifest import describe_files


def test_what_is_written_is_what_datasets_reads(tmp_path: Path) -> None:
    blocks = np.arange(40, dtype=np.int32).reshape(5, 8)
    with BlockWriter(tmp_path / "train", 8) as writer:
        writer.write(blocks[:2])
        writer.write(blocks[2:2])
        writer.write(blocks[2:])
    assert writer.blocks == 5
    dataset = load_from_disk(tmp_path / "train").with_format("numpy")
    assert dataset.column_names == ["input_ids", "attention_mask"]
    np.testing.assert_array_equal(dataset[:]["input_ids"], blocks)
    np.testing.assert_array_equal(dataset[:]["attention_mask"], np.ones((5, 8)))
    assert dataset.features == {
        "input_ids": List(Value("int32"), length=8),
        "attention_mask": List(Value("int8"), length=8),
    }
    assert dataset.split == "train"


def test_equal_blocks_are_equal_files_and_other_blocks_have_another_fingerprint(tmp_path: Path) -> None:
    blocks = np.arange(16, dtype=np.int32).reshape(2, 8)
    for name, content in (("a", blocks), ("b", blocks), ("c", blocks + 1)):
        with BlockWriter(tmp_path / name / "train", 8) as writer:
            writer.write(content)
    assert describe_files(tmp_path / "a") == describe_files(tmp_path / "b")
    fingerprints = {name: load_from_disk(tmp_path / name / "train")._fingerprint for name in "abc"}
    assert fingerprints["a"] == fingerprints["b"] != fingerprints["c"]
