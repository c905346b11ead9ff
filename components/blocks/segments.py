"""Fills blocks from a stream of records, in segments that are each whole or not there.

A segment is one Arrow file of blocks and one of records. It ends with the record batch by which it has read enough
text, so that equal streams have equal segments. When it is on the disk, the progress is written: how far the stream was
read, and the tokens that are in no block yet. Work that was cut off goes on from there.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.blocks.encoding import Encoded
from components.blocks.packing import Layout
from components.blocks.progress import Place, Progress
from components.blocks.shared_texts import Records, StreamedTexts, TokenizedColumn
from components.blocks.text_column import refuse_no_text
from components.blocks.writer import BlockFile, RecordWriter, describe_folder, features_of
from components.contract import manifest
from components.contract.workers import Workers
from foundation.terminal import TERMINAL

SEGMENT_BYTES = 1 << 26
"""The least of a segment's text."""
SEGMENT_SHARE = 1 / 32
"""The part of all text before it that a later segment has at least, so that terabytes become some hundred files."""


@dataclasses.dataclass(frozen=True)
class SegmentedSplit:
    """A split whose records come from a stream.

    Attributes:
        column: What is tokenized.
        block_size: Tokens a block.
        with_document_ids: Whether blocks keep documents apart.
    """

    column: TokenizedColumn
    block_size: int
    with_document_ids: bool

    @property
    def name(self) -> str:
        """The split."""
        return self.column.split

    def write(self, out: Path, layout: Layout, workers: Workers) -> Progress:
        """Writes what is not there yet of the split's blocks and records.

        Args:
            out: The step's directory, with the segments of work that was cut off, or without any.
            layout: A new layout, which fills the blocks.
            workers: Who shares the tokenizing.

        Raises:
            DataError: If no record has text.
        """
        progress = Progress.read(out)
        if progress is None or not progress.is_whole(out):
            progress = Progress()
        else:
            layout.add(*progress.held(out))
        self._remove_debris(out, progress)
        stream = StreamedTexts(self.column, workers, progress.place, progress.records)
        while not progress.is_finished:
            progress = self._segment(out, progress, layout, stream)
            progress.write(out, layout.held)
        refuse_no_text(
            self.name, self.column.column, progress.records, {"null": progress.null, "empty": progress.empty}
        )
        files = sorted(name for name in progress.files if name.startswith("dataset/"))
        digest = hashlib.sha256("".join(progress.files[name] for name in files).encode()).hexdigest()
        folder = out / "dataset" / self.name
        features = features_of(self.block_size, self.with_document_ids)
        describe_folder(folder, features, [Path(name).name for name in files], digest)
        return progress

    def _segment(self, out: Path, before: Progress, layout: Layout, stream: StreamedTexts) -> Progress:
        """Writes one segment."""
        names = [
            f"dataset/{self.name}/data-{before.segments:05}.arrow",
            f"records/{self.name}-{before.segments:05}.arrow",
        ]
        part = Part(stream, before.place, max(SEGMENT_BYTES, int(before.bytes * SEGMENT_SHARE)))
        texts = stream.texts_of(part.records())
        features = features_of(self.block_size, self.with_document_ids)
        with (
            BlockFile(out / names[0], features) as writer,
            RecordWriter(out / names[1]) as records,
            TERMINAL.progress(f"tokenizing {self.name}", unit="records") as progress,
        ):
            progress.done = before.records
            encoded = progress.watch(texts.encoded(), lambda batch: len(batch.tokens))
            tokens = fill(encoded, layout, writer, records, (row + before.records for row in texts.rows_with_text()))
            if part.is_last:
                filled = layout.finish()
                writer.write(filled.input_ids, filled.document_ids)
        return Progress(
            segments=before.segments + 1,
            place=part.place,
            bytes=before.bytes + part.bytes,
            records=before.records + texts.records,
            null=before.null + texts.skipped["null"],
            empty=before.empty + texts.skipped["empty"],
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

    def __init__(self, stream: StreamedTexts, place: Place, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self.place = place
        self.bytes = 0
        self.is_last = False

    def records(self) -> Iterator[Records]:
        """The records, in the form in which the stream gives them."""
        while self.bytes < self._most_bytes:
            following = next(self._stream, None)
            if following is None:
                self.is_last = True
                return
            place, records = following
            self.place, self.bytes = (place[0], place[1]), self.bytes + records.nbytes
            yield records


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
