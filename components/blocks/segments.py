"""Fills blocks from a stream of records, in segments that are each whole or not there.

A segment is one Arrow file of blocks and one of records. It ends with the record batch by which it has read enough
text, so that equal streams have equal segments. When it is on the disk, the progress is written: how far the stream was
read, and the tokens that are in no block yet. Work that was cut off goes on from there.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from components.blocks.encoding import CHARACTERS_A_BATCH, Encoded, encode
from components.blocks.packing import Layout
from components.blocks.progress import Place, Progress
from components.blocks.text_column import TextReader, refuse_no_text
from components.blocks.writer import BlockFile, RecordWriter, describe_folder, features_of
from components.contract import manifest
from components.contract.artifacts import Corpus
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

SEGMENT_BYTES = 1 << 26
"""The least of a segment's text."""
SEGMENT_SHARE = 1 / 32
"""The part of all text before it that a later segment has at least, so that terabytes become some hundred files."""

Records = Callable[[Place, int], Iterator[tuple[Place, pa.RecordBatch]]]
"""Gives the records of a stream from a place on, each batch with the place after it. The second argument is the number
of records before."""


@dataclasses.dataclass(frozen=True)
class SegmentedSplit:
    """A split whose records come from a stream.

    Attributes:
        corpus: Has the columns of the records.
        name: The split.
        column: The column of text.
        backend: A tokenizer that neither truncates nor pads.
        characters_at_once: As `encode` takes it.
        block_size: Tokens a block.
        with_document_ids: Whether blocks keep documents apart.
    """

    corpus: Corpus
    name: str
    column: str
    backend: "RustTokenizer"
    characters_at_once: int
    block_size: int
    with_document_ids: bool

    def write(self, out: Path, layout: Layout, records: Records) -> Progress:
        """Writes what is not there yet of the split's blocks and records.

        Args:
            out: The step's directory, with the segments of work that was cut off, or without any.
            layout: A new layout, which fills the blocks.
            records: The stream.

        Raises:
            DataError: If no record has text.
        """
        progress = Progress.read(out)
        if progress is None or not progress.is_whole(out):
            progress = Progress()
        else:
            layout.add(*progress.held(out))
        self._remove_debris(out, progress)
        batches = records(progress.place, progress.records)
        while not progress.is_finished:
            progress = self._segment(out, progress, layout, batches)
            progress.write(out, layout.held)
        refuse_no_text(self.name, self.column, progress.records, {"null": progress.null, "empty": progress.empty})
        files = sorted(name for name in progress.files if name.startswith("dataset/"))
        digest = hashlib.sha256("".join(progress.files[name] for name in files).encode()).hexdigest()
        folder = out / "dataset" / self.name
        features = features_of(self.block_size, self.with_document_ids)
        describe_folder(folder, features, [Path(name).name for name in files], digest)
        return progress

    def _segment(
        self, out: Path, before: Progress, layout: Layout, batches: Iterator[tuple[Place, pa.RecordBatch]]
    ) -> Progress:
        """Writes one segment."""
        names = [
            f"dataset/{self.name}/data-{before.segments:05}.arrow",
            f"records/{self.name}-{before.segments:05}.arrow",
        ]
        part = Part(batches, before.place, max(SEGMENT_BYTES, int(before.bytes * SEGMENT_SHARE)))
        reader = TextReader(self.corpus, self.name, self.column, part.record_batches())
        features = features_of(self.block_size, self.with_document_ids)
        with (
            BlockFile(out / names[0], features) as writer,
            RecordWriter(out / names[1]) as records,
            TERMINAL.progress(f"tokenizing {self.name}", unit="records") as progress,
        ):
            progress.done = before.records
            encoded = encode(self.backend, reader.batches(CHARACTERS_A_BATCH), self.characters_at_once)
            encoded = progress.watch(encoded, lambda batch: len(batch.tokens))
            tokens = fill(encoded, layout, writer, records, (row + before.records for row in reader.rows_with_text()))
            if part.is_last:
                filled = layout.finish()
                writer.write(filled.input_ids, filled.document_ids)
        return Progress(
            segments=before.segments + 1,
            place=part.place,
            bytes=before.bytes + part.bytes,
            records=before.records + reader.records,
            null=before.null + reader.skipped["null"],
            empty=before.empty + reader.skipped["empty"],
            tokens=before.tokens + tokens,
            blocks=before.blocks + writer.blocks,
            files={**before.files, **{name: manifest.digest_of_file(out / name) for name in names}},
            is_finished=part.is_last,
        )

    def _remove_debris(self, out: Path, progress: Progress) -> None:
        """Removes what work that was cut off left of this split beyond its whole segments."""
        for folder, pattern in (("dataset", f"{self.name}/*"), ("records", f"{self.name}-*")):
            for path in (out / folder).glob(pattern):
                if path.relative_to(out).as_posix() not in progress.files:
                    path.unlink()


class Part:
    """The part of a stream that becomes one segment.

    Attributes:
        place: The place after the records that were read so far.
        bytes: Their bytes in memory.
        is_last: Whether the stream ended in it.
    """

    def __init__(self, batches: Iterator[tuple[Place, pa.RecordBatch]], place: Place, most_bytes: int) -> None:
        self._batches = batches
        self._most_bytes = most_bytes
        self.place = place
        self.bytes = 0
        self.is_last = False

    def record_batches(self) -> Iterator[pa.RecordBatch]:
        """The records."""
        while self.bytes < self._most_bytes:
            following = next(self._batches, None)
            if following is None:
                self.is_last = True
                return
            place, batch = following
            self.place, self.bytes = (place[0], place[1]), self.bytes + batch.nbytes
            yield batch


def fill(
    encoded: Iterator[Encoded], layout: Layout, writer: BlockFile, records: RecordWriter, rows: Iterator[int]
) -> int:
    """Fills blocks with texts, and writes the blocks that are full and the lengths of the texts.

    Args:
        encoded: The texts as tokens, batch by batch.
        layout: Fills the blocks.
        writer: Takes the blocks.
        records: Takes the lengths.
        rows: The row of each text in its split.

    Returns:
        The number of tokens.
    """
    tokens = 0
    for batch in encoded:
        tokens += len(batch.token_ids)
        filled = layout.add(batch.token_ids, batch.tokens)
        writer.write(filled.input_ids, filled.document_ids)
        count = len(batch.tokens)
        row = np.fromiter(itertools.islice(rows, count), np.int64, count)
        records.write(row, batch.tokens, batch.characters, batch.bytes)
    return tokens
