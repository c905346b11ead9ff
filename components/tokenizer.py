"""Provides a fast tokenizer with a mask token: a pretrained one, or one trained on the corpus."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Corpus, Tokenizer
from components.contract.component import Component
from components.tokenizers.params import MODELS, TokenizerParams

if TYPE_CHECKING:
    import pyarrow


@dataclasses.dataclass(frozen=True)
class PrepareTokenizer(Component[Tokenizer]):
    """Loads a pretrained tokenizer, or trains one on the train split, and adds words to it."""

    name: ClassVar[str] = "tokenizer"
    version: ClassVar[str] = "2"
    output: ClassVar[type[Tokenizer]] = Tokenizer

    corpus: Corpus
    text_column: str
    """The column to train on, read as the preprocess step reads it. A pretrained tokenizer reads no corpus."""
    params: TokenizerParams

    def sources(self) -> Mapping[str, str]:
        """Local files by digest, and the commit of a tokenizer on the Hub.

        Raises:
            ConfigError: If the file of words to add can't be read.
        """
        from components.hub.reading import source_digests
        from components.tokenizers.adding import words_to_add

        words_to_add(self.params.add_tokens)
        found: dict[str, str] = {}
        if self._is_local:
            found = source_digests(Path(str(self.params.pretrained)))
        elif self.params.pretrained is not None:
            found = {f"hub:{self.params.pretrained}": self._commit}
        if isinstance(self.params.add_tokens, str):
            found |= {
                f"add_tokens/{name}": digest for name, digest in source_digests(Path(self.params.add_tokens)).items()
            }
        return found

    def preflight(self) -> None:
        """Refuses a pretrained tokenizer that doesn't exist, and a file of words that can't be read."""
        self.sources()

    def run(self, out: Path) -> None:
        """Writes the tokenizer and its report.

        Raises:
            ConfigError: If there is no file of words to add.
            DataError: If there is no text to train on.
            HubError: If the Hub doesn't give out the tokenizer.
            ModelError: If it can't be loaded, or has no mask token or no fast version.
        """
        from components.hub.checkpoints import tokenizer_directory
        from components.tokenizers.adding import add_words, words_to_add
        from components.tokenizers.loading import load_from_hub, load_local, refuse_unmaskable
        from components.tokenizers.training import train

        params = self.params
        words = words_to_add(params.add_tokens)
        read = column = None
        if params.pretrained is None:
            tokenizer, read = train(self.corpus, self.text_column, params, self.beginnings)
            notes = [note] if (note := read.note(params.model)) else []
            if read.reader.column not in (self.text_column, self.text_column.removesuffix("?")):
                column = read.reader.column
            kind, origin = MODELS[params.model], "trained on the train split" + (f"'s {column}" if column else "")
            if self.corpus.is_streamed:
                origin += f", {read.reader.records:,} records at the beginnings of its files"
        elif self._is_local:
            path = Path(params.pretrained)
            tokenizer, notes = load_local(path)
            kind = type(tokenizer).__name__
            origin = f"from the {'folder' if path.is_dir() else 'file'} {path.name}"
        else:
            files = functools.partial(tokenizer_directory, params.pretrained, self._commit)
            tokenizer, notes = load_from_hub(params.pretrained, self._commit, files)
            kind, origin = type(tokenizer).__name__, f"from {params.pretrained} at {self._commit}"
        refuse_unmaskable(tokenizer, origin)
        added, left_out = add_words(tokenizer, words)
        notes += left_out
        tokenizer.save_pretrained(out / "tokenizer")
        what = f"{len(tokenizer):,} tokens" + (f", {len(added):,} of them added" if added else "")
        reports.write(
            out / REPORT,
            reports.TokenizerReport(
                kind=kind,
                origin=origin,
                vocab_size=len(tokenizer),
                special_tokens=dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
                model_max_length=tokenizer.model_max_length,
                training_records=None if read is None else read.reader.records,
                training_records_skipped=None if read is None else reports.RecordsWithoutText(**read.reader.skipped),
                text_column=column,
                added_tokens=tuple(added),
                notes=tuple(notes),
                summary="; ".join([f"{kind}, {what}, {origin}", *notes]),
            ),
        )

    @property
    def beginnings(self) -> "Callable[[], Iterator[pyarrow.RecordBatch]] | None":
        """Reads the records of a stream that a tokenizer is trained on; None where the corpus keeps its train split.

        Raises:
            DataError: If there is no such column.
        """
        from components.blocks.column_choice import choose_column
        from components.blocks.text_fields import resolve_columns
        from components.sources.streaming import Stream

        if not self.corpus.is_streamed:
            return None
        schema = self.corpus.columns().data.schema
        paths = resolve_columns(schema, choose_column(self.corpus, self.text_column))
        stream = Stream(self.corpus.stream, schema, paths)
        return lambda: stream.beginnings(self.params.streaming_characters)

    @property
    def _is_local(self) -> bool:
        from components.tokenizers.bare_vocabularies import find_vocabulary

        if self.params.pretrained is None:
            return False
        path = Path(self.params.pretrained)
        return path.is_dir() or find_vocabulary(path) is not None

    @functools.cached_property
    def _commit(self) -> str:
        """The commit on the Hub, looked up once, so that the commit in the key is the one that is loaded."""
        from components.hub.reading import resolve_revision

        return resolve_revision(str(self.params.pretrained), "model", self.params.revision)
