"""Takes records in batches that are bounded in number and in bytes, so that a few huge records don't fill the memory.

A batch of Arrow's strings holds at most 2 GiB; 1,000 records of 2.2 MB are more than that.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

BATCH_RECORDS = 1000
BATCH_BYTES = 1 << 26
"""Bytes of a batch; a record that alone is larger is a batch by itself."""
SMALL_PART = 32
"""`BATCH_RECORDS` records that are each smaller than this part of `BATCH_BYTES` fit into Arrow's strings together."""


def tables_of(dataset: "Dataset") -> Iterator["pyarrow.Table"]:
    """All records in order, in tables of at most `BATCH_RECORDS` records and about `BATCH_BYTES` bytes."""
    # Records in random order are a chunk each, and measuring so many takes longer than reading them. Where those that
    # stand together are small together, none is so large that it matters.
    are_small = all(batch.nbytes <= BATCH_BYTES // SMALL_PART for batch in dataset.data.to_batches())
    for table in dataset.with_format("arrow").iter(batch_size=BATCH_RECORDS):
        if are_small:
            yield table
        else:
            yield from bounded(table)


def bounded(table: "pyarrow.Table") -> Iterator["pyarrow.Table"]:
    """The rows of a table in tables of about `BATCH_BYTES` bytes: halves, quarters and so on, none of them copied."""
    if table.nbytes <= BATCH_BYTES or table.num_rows <= 1:
        yield table
        return
    half = table.num_rows // 2
    yield from bounded(table.slice(0, half))
    yield from bounded(table.slice(half))
