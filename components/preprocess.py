"""Turns a corpus into blocks of token ids: reads the text column, joins, tokenizes, and fills blocks."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

from components.blocks.params import PreprocessParams
from components.blocks.progress import PROGRESS, Progress
from components.contract import reports
from components.contract.artifacts import REPORT, Blocks, Corpus, Tokenizer
from components.contract.component import Component
from components.contract.reports import BlockCounts, BySplit, RecordsWithoutText
from components.contract.workers import THIS_PROCESS, Workers
from foundation.errors import ConfigError, DataError
from foundation.terminal import TERMINAL
from foundation.tokenizer_length import stated_length

SPLITS = ("train", "test")
MUCH_UNKNOWN = 0.01
"""From this part of the test split's tokens on, the run's line says how many the tokenizer doesn't know."""


@dataclasses.dataclass(frozen=True)
class Preprocess(Component[Blocks]):
    """Tokenizes each record whole, with its special tokens, and fills blocks with the records.

    Concatenating and cutting them is the method of Hugging Face's masked language modeling guide
    (https://huggingface.co/docs/transformers/tasks/masked_language_modeling), token for token, except that the
    remainder of one batch goes into the next: only what is left at the very end of a split is dropped.
    The other two packings keep documents apart and drop nothing. Where the train split is packed, the test split has
    a document a row, so that a model is tested in the same way however it was trained.
    """

    name: ClassVar[str] = "preprocess"
    version: ClassVar[str] = "5"
    output: ClassVar[type[Blocks]] = Blocks
    scratch: ClassVar[str] = PROGRESS

    corpus: Corpus
    tokenizer: Tokenizer
    params: PreprocessParams

    def resumes(self, partial: Path) -> str | None:
        """How far a run that was cut off came in a stream of train records."""
        progress = Progress.read(partial)
        return None if progress is None else f"train record {progress.records:,} (file {progress.place[0] + 1:,})"

    def run(self, out: Path) -> None:
        """Streams both splits into blocks. Memory holds the longest record and its tokens, not the corpus."""
        self.run_with(out, THIS_PROCESS)

    def run_with(self, out: Path, workers: Workers) -> None:
        """Streams both splits into blocks. The workers tokenize; this process alone fills blocks and writes."""
        from components.blocks.column_choice import choose_column

        tokenizer = self.tokenizer.load()
        refuse_long_blocks(self.params.block_size, tokenizer.model_max_length)
        packing = self.params.packing
        pad_token_id = tokenizer.pad_token_id
        if packing != "concatenate" and pad_token_id is None:
            raise ConfigError(
                f"the tokenizer must have a padding token where preprocess.packing is {packing}",
                received="one without",
                remedy="set --preprocess.packing concatenate, or another --tokenizer.pretrained",
            )
        named = self.params.named_columns
        column = choose_column(self.corpus, named)
        # A stream may take days: what is wrong with the test split shows before.
        names = SPLITS[::-1] if self.corpus.is_streamed else SPLITS
        splits = BySplit(**{name: self._run_split(name, column, pad_token_id, out, workers) for name in names})
        chosen = "" if column in (named, named.removesuffix("?")) else column
        (out / "dataset" / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}), encoding="utf-8")
        summary = summary_of(self.params.block_size, splits) + (f"; from column {chosen}" if chosen else "")
        unknown = share_of(tokenizer.unk_token_id, out)
        if unknown >= MUCH_UNKNOWN:
            summary += f"; {unknown:.0%} of the test split's tokens are {tokenizer.unk_token}: unknown to the tokenizer"
        reports.write(
            out / REPORT,
            reports.BlocksReport(
                block_size=self.params.block_size,
                packing=packing,
                text_column=column,
                special_tokens_per_record=tokenizer.num_special_tokens_to_add(),
                splits=splits,
                summary=summary,
            ),
        )

    def _run_split(self, name: str, column: str, pad_token_id: int | None, out: Path, workers: Workers) -> BlockCounts:
        """Writes one split's blocks and records and returns its part of the report."""
        from components.blocks.packing import layout_of
        from components.blocks.segments import SegmentedSplit, fill
        from components.blocks.shared_texts import TokenizedColumn, texts_of_split
        from components.blocks.text_fields import resolve_columns
        from components.blocks.writer import BlockWriter, RecordWriter
        from components.sources.streaming import Stream

        block_size, packing = self.params.block_size, self.params.packing
        packed = packing == "packed" and name == "train"
        layout = layout_of("documents" if packing == "packed" and not packed else packing, block_size, pad_token_id)
        stream = None
        if name == "train" and self.corpus.is_streamed:
            schema = self.corpus.columns().data.schema
            stream = Stream(self.corpus.stream, schema, resolve_columns(schema, column))
        tokenized = TokenizedColumn(self.corpus, self.tokenizer, name, column, self.params.characters_at_once, stream)
        if stream is not None:
            split = SegmentedSplit(tokenized, block_size, with_document_ids=packed)
            found = split.write(out, layout, workers)
            tokens, blocks, records = found.tokens, found.blocks, found.records
            skipped = {"null": found.null, "empty": found.empty}
        else:
            texts = texts_of_split(tokenized, workers)
            with (
                BlockWriter(out / "dataset" / name, block_size, with_document_ids=packed) as writer,
                RecordWriter(out / "records" / f"{name}.arrow") as record_writer,
                TERMINAL.progress(f"tokenizing {name}", len(self.corpus.split(name)), "records") as progress,
            ):
                encoded = progress.watch(texts.encoded(), lambda batch: len(batch.tokens))
                tokens = fill(encoded, layout, writer, record_writer, texts.rows_with_text())
                filled = layout.finish()
                writer.write(filled.input_ids, filled.document_ids)
            blocks, records, skipped = writer.blocks, texts.records, texts.skipped
        if not blocks:
            raise DataError(
                f"the {name} split must fill at least one block",
                received=f"{tokens:,} tokens for a block_size of {block_size:,}",
                remedy="give more text, or a smaller --preprocess.block_size",
            )
        return BlockCounts(
            records=records,
            skipped=RecordsWithoutText(**skipped),
            tokens=tokens,
            blocks=blocks,
            tokens_kept=tokens - layout.dropped,
            tokens_dropped=layout.dropped,
            padding=None if packing == "concatenate" else blocks * block_size - tokens,
        )


def refuse_long_blocks(block_size: int, model_max_length: float) -> None:
    """Refuses blocks that are longer than the tokenizer says that its model accepts.

    Raises:
        ConfigError: If they are. The message has both numbers.
    """
    longest = stated_length(model_max_length)
    if longest is not None and block_size > longest:
        raise ConfigError(
            f"preprocess.block_size must be at most the tokenizer's model_max_length, {longest:,} tokens",
            received=f"{block_size:,}",
            remedy=f"set --preprocess.block_size to {longest} or less",
        )


def share_of(token: int | None, out: Path) -> float:
    """Which part of the tokens in the test split's blocks is a token; 0 where there is no such token."""
    import pyarrow.compute as pc

    from components.contract.artifacts import load_split

    if token is None:
        return 0.0
    found = tokens = 0
    for ids in load_split(out / "dataset", "test").data.column("input_ids").chunks:
        flat = pc.list_flatten(ids)
        tokens += len(flat)
        found += pc.sum(pc.equal(flat, token)).as_py() or 0
    return found / max(1, tokens)


def summary_of(block_size: int, splits: BySplit[BlockCounts]) -> str:
    """One line for the person who watches the run."""
    blocks = " + ".join(f"{split.blocks:,}" for split in splits)
    kept = sum(split.tokens_kept for split in splits)
    dropped = sum(split.tokens_dropped for split in splits)
    skipped = sum(split.skipped.total for split in splits)
    line = f"{blocks} blocks of {block_size} tokens ({' + '.join(SPLITS)}): {kept:,} tokens kept, {dropped:,} dropped"
    shares = [split.padding / (split.blocks * block_size) for split in splits if split.padding is not None]
    if shares:
        line += f"; {' + '.join(f'{share:.1%}' for share in shares)} padding"
    return f"{line}; {skipped:,} records without text skipped" if skipped else line
