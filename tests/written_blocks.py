"""Blocks on the disk, as the preprocess step leaves them, from token ids."""

from pathlib import Path

import numpy as np

from components.blocks.writer import RecordWriter
from components.contract import reports
from components.contract.artifacts import Blocks
from tests import reports as complete
from tests.finished import finish


def write_blocks(directory: Path, train: np.ndarray, test: np.ndarray) -> Blocks:
    """Blocks of token ids, (blocks, block_size) int32 of each split, each of a record of its own, without padding."""
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Sequence as List

    features = Features({"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))})
    rows = {
        name: Dataset.from_dict(
            {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}, features=features
        )
        for name, ids in (("train", train), ("test", test))
    }
    DatasetDict(rows).save_to_disk(directory / "dataset", num_shards={"train": 1, "test": 1})
    for name, ids in (("train", train), ("test", test)):
        with RecordWriter(directory / "records" / f"{name}.arrow") as records:  # a block a record, 4 letters a token
            row = np.arange(len(ids))
            tokens = np.full(len(ids), ids.shape[1] if len(ids) else 0)
            records.write(row, tokens, tokens * 4, tokens * 5)
    reports.write(directory / "report.json", complete.blocks(train.shape[1], text_column="text"))
    return finish(directory, Blocks)
