"""Ingest: records from the Hub, local files or the embedded corpus, split into train and test."""

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, cast

from components.contract import reports
from components.contract.artifacts import REPORT, STREAM, Corpus
from components.contract.component import Component
from components.contract.workers import THIS_PROCESS, Workers
from components.sources import Loaded
from components.sources.beginnings import Limits
from components.sources.embedded import EmbeddedCorpus
from components.sources.hub import HubDataset
from components.sources.local import LocalFiles
from components.sources.params import IngestParams
from components.sources.saving import save_splits
from components.sources.selecting import select
from components.sources.source import error_in_source, names_of
from foundation.errors import ConfigError, DataError

STREAMED_TEST_RECORDS = 5000
"""The most test records of a source that is streamed, where no number is given."""

__all__ = ["Ingest", "IngestParams"]


@dataclasses.dataclass(frozen=True)
class Ingest(Component[Corpus]):
    """Reads records, splits them into train and test, and reports what they are.

    Whole records are split, before anything else is done, so that no record is on both sides. The split is that of
    `Dataset.train_test_split(test_size, seed=seed)`, unless a column says which records belong together or which are
    the newest. Files that are named as parts of a data set keep their parts: the test part is the test split, and the
    validation part is left out; without a test part, validation is the test split. `max_train_records` and
    `max_test_records` are applied after that.

    Attributes:
        params: Where the records come from, and how they are split.
    """

    params: IngestParams

    name: ClassVar[str] = "ingest"
    version: ClassVar[str] = "6"
    output: ClassVar[type[Corpus]] = Corpus

    @functools.cached_property
    def readers(self) -> "tuple[HubDataset | LocalFiles | EmbeddedCorpus, ...]":
        """What reads each source. They are made once, so that `run` reads the same commit that `sources` names."""
        sources = self.params.mixture or (self.params.source,)
        return tuple(source.reader(self.params.columns_to_read) for source in sources)

    def sources(self) -> Mapping[str, str]:
        """SHA-256 digests of the local files read, or the Hub dataset's commit; of every source of a mixture.

        Raises:
            PipelineError: If a file isn't there, or the Hub is out of reach.
        """
        return self._digests

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        """What `sources` returns, found out once: all bytes of local files are read for it."""
        if not self.params.mixture:
            return self.readers[0].digests()
        digests = {}
        for name, reader in zip(names_of(self.params.mixture), self.readers, strict=True):
            try:
                digests.update({f"{name}: {file}": digest for file, digest in reader.digests().items()})
            except (ConfigError, DataError) as error:
                raise error_in_source(error, name) from error
        return digests

    def run(self, out: Path) -> None:
        """Writes the records, as train and test, and `report.json`; see `run_with`."""
        self.run_with(out, THIS_PROCESS)

    def run_with(self, out: Path, workers: Workers) -> None:
        """Writes the records, as train and test, and `report.json`. Workers read local files, each some of them.

        Args:
            out: An empty directory.
            workers: Who reads.

        Raises:
            PipelineError: If the source can't be read, is malformed, or holds too few records.
        """
        from components.sources import corpus_report
        from components.sources.mixture import mix
        from components.sources.splitting import split_alone

        params, cache = self.params, out / "cache"
        cache.mkdir()
        if params.streaming:
            self.keep_test_split(cache, out)
            shutil.rmtree(cache)
            return
        mixture = None
        with progress_bars_only_for(downloads=any(isinstance(reader, HubDataset) for reader in self.readers)):
            if params.mixture:
                mixture = mix(params, self.readers, cache)
                loaded = mixture.loaded()
            else:
                loaded = self.load(cache, workers)
                loaded = loaded if params.source.is_from_hub else select(loaded, params.split)
        with progress_bars_only_for(downloads=False):
            rows = mixture.split(params) if mixture else split_alone(loaded, params)
            rows = rows.limited(params.max_train_records, params.max_test_records, params.seed)
            save_splits(
                {"train": loaded.dataset.select(rows.train), "test": loaded.dataset.select(rows.test)}, out / "dataset"
            )
        choice = corpus_report.Choice.of(loaded, rows, mixture.report(rows) if mixture else ())
        corpus = Corpus(out)
        report = corpus_report.describe({name: corpus.split(name) for name in ("train", "test")}, choice)
        reports.write(out / REPORT, corpus_report.with_source(report, loaded))
        del loaded, mixture
        shutil.rmtree(cache)

    def load(self, cache: Path, workers: Workers) -> Loaded:
        """The records of the one source."""
        [reader] = self.readers
        return reader.load(cache, workers) if isinstance(reader, LocalFiles) else reader.load(cache)

    def keep_test_split(self, cache: Path, out: Path) -> None:
        """Writes the test split of a source that is streamed, and where its train records are read from.

        Raises:
            PipelineError: As `run` does.
        """
        from components.sources import streamed_source

        params, (source,) = self.params, self.readers
        limits = Limits(params.test_size, params.max_test_records or STREAMED_TEST_RECORDS, params.max_train_records)
        with progress_bars_only_for(downloads=False):
            if isinstance(source, LocalFiles):
                found = streamed_source.of_local_files(source, self._digests, limits, cache)
            else:
                found = streamed_source.of_hub(cast(HubDataset, source), params.split, limits, cache)
            save_splits({"test": found.test}, out / "dataset")
            reports.write(out / STREAM, found.stream)
            reports.write(out / REPORT, found.report())
            del found


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
