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
GATHERED_RECORDS = 16 * BATCH_RECORDS
GATHERED_BYTES = 1 << 23
"""About how many bytes of records that stand apart are taken from their file at once."""


def tables_of(dataset: "Dataset") -> Iterator["pyarrow.Table"]:
    """All records in order, in tables of at most `BATCH_RECORDS` records and about `BATCH_BYTES` bytes."""
    # Records in random order are a chunk each, and measuring so many takes longer than reading them. Where those that
    # stand together are small together, none is so large that it matters.
    batches = dataset.data.to_batches()
    are_small = all(batch.nbytes <= BATCH_BYTES // SMALL_PART for batch in batches)
    indices = dataset._indices
    if are_small and indices is not None and all(is_plain(column) for batch in batches for column in batch.columns):
        yield from gathered(batches, indices.column("indices"))
        return
    for table in dataset.with_format("arrow").iter(batch_size=BATCH_RECORDS):
        if are_small:
            yield table
        else:
            yield from bounded(table)


def is_plain(array: "pyarrow.Array") -> bool:
    """Whether Arrow's `take` copies the values of an array byte for byte, whichever batches they come from.

    It leaves out what stands under nulls, which is no value, but is written where rows are copied one by one.
    """
    import numpy as np
    from pyarrow import BaseExtensionType, types

    kind = array.type
    if types.is_struct(kind) and not isinstance(kind, BaseExtensionType):
        return not array.null_count and all(is_plain(array.field(number)) for number in range(kind.num_fields))
    is_list = types.is_list(kind) or types.is_large_list(kind)
    if is_list or types.is_string(kind) or types.is_large_string(kind):
        if array.null_count:
            width = np.int64 if types.is_large_list(kind) or types.is_large_string(kind) else np.int32
            size = np.dtype(width).itemsize
            offsets = np.frombuffer(array.buffers()[1], width, len(array) + 1, array.offset * size)
            if np.diff(offsets)[array.is_null().to_numpy(zero_copy_only=False)].any():
                return False
        return not is_list or is_plain(array.values)
    if not array.null_count:
        return types.is_primitive(kind) or types.is_null(kind)
    if types.is_null(kind):
        return True
    if types.is_boolean(kind):
        bits = np.unpackbits(np.frombuffer(array.buffers()[1], np.uint8), bitorder="little")
        values: np.ndarray = bits[array.offset : array.offset + len(array)]
    elif types.is_primitive(kind):
        width = kind.bit_width // 8
        values = np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, array.offset * width)
        values = values.reshape(-1, width)
    else:
        return False
    return not values[array.is_null().to_numpy(zero_copy_only=False)].any()


def gathered(batches: "list[pyarrow.RecordBatch]", indices: "pyarrow.ChunkedArray") -> Iterator["pyarrow.Table"]:
    """Rows in the order of their numbers, in tables of `BATCH_RECORDS`.

    Many rows are taken at once, batch by batch, and put in order then: several times as fast as row by row. Arrow's own
    `Table.take` would first copy all rows of all batches.

    Args:
        batches: All rows, in batches.
        indices: The numbers of the rows to take.
    """
    import numpy as np
    import pyarrow

    ends = np.cumsum([batch.num_rows for batch in batches])  # (batches,)
    a_row = sum(batch.nbytes for batch in batches) // max(1, int(ends[-1]) if len(ends) else 1)
    at_once = max(1, min(GATHERED_RECORDS, GATHERED_BYTES // max(1, a_row)) // BATCH_RECORDS) * BATCH_RECORDS
    for start in range(0, len(indices), at_once):
        rows = indices.slice(start, at_once).to_numpy().astype(np.int64)
        order = np.argsort(rows, kind="stable")  # batch by batch
        ordered = rows[order]
        owners = np.searchsorted(ends, ordered, side="right")
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        parts = [
            batches[owner].take(pyarrow.array(ordered[first:last] - (ends[owner] - batches[owner].num_rows)))
            for owner, first, last in zip(owners[firsts], firsts, [*firsts[1:], len(rows)], strict=True)
        ]
        joined = pyarrow.concat_batches(parts)
        places = np.empty(len(rows), np.int64)  # of each row in `joined`
        places[order] = np.arange(len(rows))
        for first in range(0, len(rows), BATCH_RECORDS):
            taken = joined.take(pyarrow.array(places[first : first + BATCH_RECORDS]))
            if taken.num_rows == 1:
                # One row isn't copied, as `datasets` has it: a copy has other padding where it is written.
                row, owner = int(rows[first]), int(np.searchsorted(ends, rows[first], side="right"))
                taken = batches[owner].slice(row - int(ends[owner]) + batches[owner].num_rows, 1)
            yield pyarrow.Table.from_batches([taken])


def bounded(table: "pyarrow.Table", most: int | None = None) -> Iterator["pyarrow.Table"]:
    """The rows of a table in tables of about so many bytes: halves, quarters and so on, none of them copied.

    Args:
        table: The rows.
        most: The bytes; None for `BATCH_BYTES`.
    """
    if table.nbytes <= (BATCH_BYTES if most is None else most) or table.num_rows <= 1:
        yield table
        return
    half = table.num_rows // 2
    yield from bounded(table.slice(0, half), most)
    yield from bounded(table.slice(half), most)
