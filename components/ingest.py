"""Ingest: records from the Hub, local files or the embedded corpus, split into train and test."""

import contextlib
import dataclasses
import functools
import itertools
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast, get_args

from components.contract import reports
from components.contract.artifacts import REPORT, STREAM, Corpus
from components.contract.component import Component
from components.hub.identifiers import is_repository_id
from components.sources import Loaded, corpus_report
from components.sources.beginnings import Limits
from components.sources.embedded import NAME as PYTHON_DOCS
from components.sources.embedded import EmbeddedCorpus
from components.sources.encodings import canonical_encoding
from components.sources.hub import HubDataset
from components.sources.local import LocalFiles
from components.sources.parts import held_out
from components.sources.readers import TextRecords
from components.sources.saving import save_splits
from foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import DatasetDict

STREAMED_TEST_RECORDS = 5000
"""The most test records of a source that is streamed, where no number is given."""
SPLIT_PART = r"[\w.-]+(\[(-?\d+%?)?:(-?\d+%?)?\])?(\([\w_]+\))?"
SPLIT_EXPRESSION = re.compile(rf"{SPLIT_PART}(\s*\+\s*{SPLIT_PART})*")


@dataclasses.dataclass(frozen=True)
class IngestParams:
    """Where the records come from, and how they are split.

    Attributes:
        dataset: A dataset's name on the Hugging Face Hub, or `python-docs`, the embedded corpus.
        config: The Hub dataset's configuration; null where it has only one.
        split: The records to read and split anew: a split of the source, or an expression such as `train[:5000]`.
            Null reads all of them (of a Hub dataset, the train split). Local files have the split `train`, and
            `validation` and `test` where files are named so; null keeps these parts. The embedded corpus has `train`
            alone.
        revision: The Hub dataset's branch, tag or commit; null for its newest commit.
        path: A local file, directory or glob to read instead of `dataset`: .jsonl, .ndjson, .json, .csv, .tsv, .txt
            (each also as .gz, .bz2, .xz, .zst or .zip), .parquet, .arrow, or a folder that `datasets` saved to disk.
        test_path: A local file, directory or glob with the test records, which are left out of `path` then; null for a
            split of what is in `path`.
        encoding: The encoding of local text files without a byte order mark, such as windows-1252; null for UTF-8.
        text_records: What is a record in a .txt file: a paragraph (up to a blank line; in a file without blank lines, a
            line), a line, or the whole file.
        test_size: The part of the records that goes to the test split, above 0 and below 1.
        seed: The seed of the shuffle before the split, from 0.
        streaming: Whether the train records stay where they are: ingest keeps the test split alone, and preprocess
            reads the source file by file. The test split is the source's own test or validation part, else the first
            records of each file, test_size of those that are read for it. For a corpus larger than the disk.
    """

    dataset: str = PYTHON_DOCS
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    path: str | None = None
    test_path: str | None = None
    encoding: str | None = None
    text_records: TextRecords = "paragraph"
    test_size: float = 0.2
    seed: int = 42
    streaming: bool = False

    def __post_init__(self) -> None:
        if not is_repository_id(self.dataset):
            raise ConfigError(
                f"ingest.dataset must be {PYTHON_DOCS} or a Hub dataset's name such as dany0407/eli5_category",
                received=repr(self.dataset),
                remedy="give local files with --ingest.path, or correct --ingest.dataset",
            )
        if self.path is not None and not self.path.strip():
            raise ConfigError(
                "ingest.path must name a file, a directory or a glob",
                received=repr(self.path),
                remedy="name one with --ingest.path, or leave it out",
            )
        if self.test_path is not None and (self.path is None or self.split is not None or not self.test_path.strip()):
            raise ConfigError(
                "ingest.test_path must name files, together with ingest.path and without ingest.split",
                received=f"{self.test_path!r} with path {self.path} and split {self.split}",
                remedy="give the other records with --ingest.path and leave out --ingest.split, or leave out "
                "--ingest.test_path",
            )
        for key in ("config", "revision"):
            value = getattr(self, key)
            if value is not None and (not self.is_from_hub or not value.strip()):
                raise ConfigError(
                    f"ingest.{key} must be given only with a Hub dataset",
                    received=f"{key} {value!r} with {self.path or self.dataset}",
                    remedy=f"leave out --ingest.{key}, or name a Hub dataset with --ingest.dataset",
                )
        if self.encoding is not None:
            if self.path is None:
                raise ConfigError(
                    "ingest.encoding must be given only with local files",
                    received=f"encoding {self.encoding!r} with {self.dataset}",
                    remedy="leave out --ingest.encoding, or name files with --ingest.path",
                )
            canonical_encoding(self.encoding)
        if self.text_records not in get_args(TextRecords):
            raise ConfigError(
                f"ingest.text_records must be one of {', '.join(get_args(TextRecords))}",
                received=repr(self.text_records),
                remedy="correct --ingest.text_records",
            )
        if self.split is not None and not SPLIT_EXPRESSION.fullmatch(self.split):
            raise ConfigError(
                "ingest.split must be a split or an expression like train[:5000], train[10%:20%] or train+validation",
                received=repr(self.split),
                remedy="correct --ingest.split",
            )
        if not 0 < self.test_size < 1:
            raise ConfigError(
                "ingest.test_size must be a part of the records, above 0 and below 1",
                received=str(self.test_size),
                remedy="give e.g. --ingest.test_size 0.2",
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(
                "ingest.seed must be a whole number from 0 to 4294967295",
                received=str(self.seed),
                remedy="give e.g. --ingest.seed 42",
            )
        if self.streaming:
            self._refuse_what_cannot_stream()

    def _refuse_what_cannot_stream(self) -> None:
        """Refuses a source that is not read file by file, and a split that has to know all records.

        Raises:
            ConfigError: If so.
        """
        if self.path is None and not self.is_from_hub:
            raise ConfigError(
                "ingest.streaming must be given with local files or a Hub dataset",
                received=f"{PYTHON_DOCS}, which this program brings along",
                remedy="name files with --ingest.path or a Hub dataset with --ingest.dataset, or leave out "
                "--ingest.streaming",
            )
        if self.split is not None and (self.path is not None or not re.fullmatch(r"[\w.-]+", self.split)):
            names = "files with --ingest.path" if self.path is not None else "one split with --ingest.split"
            raise ConfigError(
                "ingest.split must be left out where local files are streamed, and name one split where a Hub dataset "
                "is, because records are counted only as they come",
                received=repr(self.split),
                remedy=f"name {names}, and limit the train records with --ingest.max_train_records",
            )

    @property
    def is_from_hub(self) -> bool:
        """Whether the records come from the Hugging Face Hub."""
        return self.path is None and self.dataset != PYTHON_DOCS


@dataclasses.dataclass(frozen=True)
class Ingest(Component[Corpus]):
    """Reads records, splits them into train and test, and reports what they are.

    Whole records are split, before anything else is done, so that no record is on both sides. The split is that of
    `Dataset.train_test_split(test_size, seed=seed)`. Files that are named as parts of a data set keep their parts: the
    test part is the test split, and the validation part is left out; without a test part, validation is the test split.

    Attributes:
        params: Where the records come from, and how they are split.
    """

    params: IngestParams

    name: ClassVar[str] = "ingest"
    version: ClassVar[str] = "5"
    output: ClassVar[type[Corpus]] = Corpus

    @functools.cached_property
    def source(self) -> HubDataset | LocalFiles | EmbeddedCorpus:
        """Where the records come from. It is made once, so that `run` reads the same commit that `sources` names."""
        if self.params.path is not None:
            return LocalFiles(self.params.path, self.params.encoding, self.params.text_records, self.params.test_path)
        if self.params.is_from_hub:
            return HubDataset(
                self.params.dataset, self.params.config, self.params.split or "train", self.params.revision
            )
        return EmbeddedCorpus()

    def sources(self) -> Mapping[str, str]:
        """SHA-256 digests of the local files read, or the Hub dataset's commit.

        Raises:
            PipelineError: If a file isn't there, or the Hub is out of reach.
        """
        return self._digests

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        """What `sources` returns, found out once: all bytes of local files are read for it."""
        return self.source.digests()

    def run(self, out: Path) -> None:
        """Writes the records, as train and test, and `report.json`.

        Args:
            out: An empty directory.

        Raises:
            PipelineError: If the source can't be read, is malformed, or holds too few records.
        """
        cache = out / "cache"
        cache.mkdir()
        if self.params.streaming:
            self.keep_test_split(cache, out)
            shutil.rmtree(cache)
            return
        with progress_bars_only_for(downloads=self.params.is_from_hub):
            loaded = self.source.load(cache)
            if not self.params.is_from_hub:
                loaded = select(loaded, self.params.split)
        with progress_bars_only_for(downloads=False):
            save_splits(self.split(loaded, cache), out / "dataset")
        reports.write(out / REPORT, self.report(Corpus(out), loaded))
        del loaded
        shutil.rmtree(cache)

    def keep_test_split(self, cache: Path, out: Path) -> None:
        """Writes the test split of a source that is streamed, and where its train records are read from.

        Raises:
            PipelineError: As `run` does.
        """
        from components.sources import streamed_source

        limits = Limits(
            self.params.test_size,
            getattr(self.params, "max_test_records", None) or STREAMED_TEST_RECORDS,
            getattr(self.params, "max_train_records", None),
        )
        with progress_bars_only_for(downloads=False):
            if isinstance(self.source, LocalFiles):
                found = streamed_source.of_local_files(self.source, self._digests, limits, cache)
            else:
                found = streamed_source.of_hub(cast(HubDataset, self.source), self.params.split, limits, cache)
            save_splits({"test": found.test}, out / "dataset")
            reports.write(out / STREAM, found.stream)
            reports.write(out / REPORT, found.report())
            del found

    def split(self, loaded: Loaded, cache: Path) -> "DatasetDict":
        """The records as `train` and `test`: the source's own parts where it has some, else a random split.

        Args:
            loaded: All records.
            cache: A directory for the two shuffled orders.

        Raises:
            DataError: If there are too few records for both.
        """
        from datasets import DatasetDict

        dataset = loaded.dataset
        if loaded.parts:
            sizes = {"train": loaded.parts["train"], held_out(loaded.parts): loaded.parts[held_out(loaded.parts)]}
            if not all(sizes.values()):
                raise DataError(
                    "a corpus must hold at least one record for each of train and test",
                    received=" and ".join(f"{size:,} in files named {part}" for part, size in sizes.items()),
                    remedy=f"give more records, or split all of them anew: --ingest.split {'+'.join(loaded.parts)}",
                )
            ranges = rows_of(loaded.parts)
            return DatasetDict(
                train=dataset.select(ranges["train"]), test=dataset.select(ranges[held_out(loaded.parts)])
            )
        if min(len(dataset) - 1, math.floor(len(dataset) * (1 - self.params.test_size))) < 1:
            raise DataError(
                "a corpus must hold at least one record for each of train and test",
                received=f"{len(dataset)} with test_size {self.params.test_size}",
                remedy="give more records, or another --ingest.test_size",
            )
        return dataset.train_test_split(
            self.params.test_size,
            seed=self.params.seed,
            train_indices_cache_file_name=str(cache / "train-order.arrow"),
            test_indices_cache_file_name=str(cache / "test-order.arrow"),
        )

    def report(self, corpus: Corpus, loaded: Loaded) -> reports.CorpusReport:
        """Statistics of the corpus, what it was made from, what was skipped, and anomalies."""
        report = corpus_report.describe(
            {name: corpus.split(name) for name in ("train", "test")}, corpus_report.Choice.of(loaded)
        )
        summary = report.summary
        if loaded.guesses:
            more = f" (and {len(loaded.guesses) - 1:,} more)" if len(loaded.guesses) > 1 else ""
            summary += f"; {loaded.guesses[0]}{more}"
        return dataclasses.replace(
            report,
            summary=summary,
            anomalies=(*loaded.guesses, *loaded.anomalies, *report.anomalies),
            source=loaded.facts,
            skipped=tuple(reports.Skipped(**skipped) for skipped in loaded.skipped),
        )


def rows_of(parts: Mapping[str, int]) -> dict[str, range]:
    """The rows of each part; the parts follow one another."""
    ends = list(itertools.accumulate(parts.values()))
    return {name: range(end - parts[name], end) for name, end in zip(parts, ends, strict=True)}


def select(loaded: Loaded, expression: str | None) -> Loaded:
    """The records of a source that an expression stands for, without parts, because they are to be split anew.

    Args:
        loaded: All records of the source; if it has no parts, all are `train`.
        expression: A split, or some of its records; None for everything, with the source's parts.

    Raises:
        ConfigError: If the expression names a split or records that the source lacks.
    """
    from datasets import ReadInstruction, concatenate_datasets

    dataset, parts = loaded.dataset, loaded.parts or {"train": len(loaded.dataset)}
    if expression is None:
        return loaded
    rows = rows_of(parts)
    try:
        ranges = ReadInstruction.from_spec(expression).to_absolute(parts)
        chosen = [dataset.select(rows[part.splitname][part.from_ : part.to]) for part in ranges]
    except (ValueError, AssertionError, IndexError) as error:
        names = ", ".join(f"{name} ({count:,} records)" for name, count in parts.items())
        raise ConfigError(
            "ingest.split must name records of a split that the source has",
            received=f"{expression!r} of {names}: {error}",
            remedy="give e.g. --ingest.split train[:5000], or leave it out",
        ) from error
    joined = chosen[0] if len(chosen) == 1 else concatenate_datasets(chosen)
    return dataclasses.replace(loaded, dataset=joined, available=len(dataset), parts={})


@contextlib.contextmanager
def progress_bars_only_for(*, downloads: bool) -> Iterator[None]:
    """Hides `datasets`' progress bars except for downloads, the only work here that can take minutes."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_disabled = are_progress_bars_disabled()
    if not downloads:
        disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()
