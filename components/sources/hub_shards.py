"""A Hub dataset's files as the shards of a stream: read over the network at one exact commit, none of them kept."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract.reports import Shard
from components.sources.hub import HubDataset, first_line
from components.sources.record_batches import BATCH_RECORDS, bounded
from components.sources.tables import fit_schema
from foundation.errors import ConfigError, HubError, PipelineError

if TYPE_CHECKING:
    import pyarrow
    from datasets import IterableDataset

FILES_A_REQUEST = 500
"""The number of files about which the Hub is asked at once."""
ATTEMPTS = 5
"""How often a shard is opened before a connection that breaks off counts as a failure."""


@dataclasses.dataclass(frozen=True)
class HubShards:
    """The files of one split of a Hub dataset as shards, in the order in which `datasets` reads them.

    Attributes:
        dataset: As `HubDataset` has it, and so the configuration.
        config: The dataset's configuration; None where it has only one, or a default.
        split: The split, without an expression.
        revision: The branch that the commit is of.
        commit: The commit to read.
    """

    dataset: str
    config: str | None
    split: str
    revision: str
    commit: str

    most_beginnings: ClassVar[int | None] = 64

    @property
    def hub(self) -> HubDataset:
        """The dataset."""
        return HubDataset(self.dataset, self.config, self.split, self.revision)

    @functools.cached_property
    def files(self) -> dict[str, list[str]]:
        """The names of the files of each split, in order.

        Raises:
            PipelineError: If the Hub is out of reach, or the dataset can't be loaded.
        """
        return {str(split): [self._name(str(url)) for url in urls] for split, urls in self._builder_files.items()}

    @functools.cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The shards as the Hub describes them at the commit.

        Raises:
            PipelineError: If the dataset has no such split, or the Hub is out of reach.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.hf_api import RepoFile

        if self.split not in self.files:
            raise self.hub.missing("split", ValueError(f"it has {', '.join(self.files)}"))
        names, found = self.files[self.split], {}
        try:
            for start in range(0, len(names), FILES_A_REQUEST):
                asked = names[start : start + FILES_A_REQUEST]
                for each in HfApi().get_paths_info(self.dataset, asked, revision=self.commit, repo_type="dataset"):
                    if isinstance(each, RepoFile):
                        digest = each.lfs.sha256 if each.lfs else each.blob_id
                        found[each.path] = Shard(name=each.path, bytes=each.size, digest=digest)
        except (HfHubHTTPError, OSError) as error:
            raise self.hub.unreachable(error) from error
        missing = [name for name in names if name not in found]
        if missing:
            raise HubError(
                "a Hub dataset that is streamed must keep its files in its own repository",
                received=f"{self.dataset} with {missing[0]}",
                remedy="leave out --ingest.streaming, or give files of your own with --ingest.path",
            )
        return tuple(found[name] for name in names)

    def record_batches(
        self, shard: Shard, columns: "pyarrow.Schema", paths: Sequence[tuple[str, ...]], skip: int
    ) -> Generator["pyarrow.RecordBatch", None, None]:
        """See `components.sources.streaming.Shards`. A connection that breaks off is opened anew at the same place."""
        import pyarrow

        now = next((each for each in self.shards if each.name == shard.name), None)
        if now is None or (now.bytes, now.digest) != (shard.bytes, shard.digest):
            what = "isn't there any more" if now is None else f"has {now.bytes:,} bytes, and had {shard.bytes:,}"
            raise HubError(
                "a shard of a stream must be what it was when the corpus was ingested",
                received=f"{shard.name} of {self.dataset} at {self.commit}, which {what}",
                remedy="run the same command with --force ingest",
            )
        wanted = {names[0] for names in paths}
        kept = pyarrow.schema([field for field in columns if field.name in wanted])
        for table in self.tables(shard.name, skip):
            for batch in table.to_batches():
                yield fit_schema(Path(shard.name), batch, kept)

    def tables(self, name: str, skip: int = 0) -> Iterator["pyarrow.Table"]:
        """The records of a shard as `datasets` gives them, in tables bounded in records and bytes.

        Args:
            name: The shard's name.
            skip: How many records at the beginning are left out.

        Raises:
            HubError: If it can't be read.
        """
        number, attempts = self.files[self.split].index(name), ATTEMPTS
        while True:
            records = self._records.shard(len(self.files[self.split]), number).skip(skip)
            try:
                for table in records.with_format("arrow").iter(batch_size=BATCH_RECORDS):
                    yield from bounded(table)
                    skip, attempts = skip + table.num_rows, ATTEMPTS
                return
            except PipelineError:
                raise
            except Exception as error:  # whatever the network or a damaged file raises in a library
                attempts -= 1
                if not is_of_the_network(error):
                    raise HubError(
                        "a shard of a Hub dataset must hold records that `datasets` can read",
                        received=f"{name} of {self.dataset}: {first_line(error.__cause__ or error)}",
                        remedy="leave out --ingest.streaming, try another --ingest.revision, or give files of your own "
                        "with --ingest.path",
                    ) from error
                if not attempts:
                    raise self.hub.unreachable(error) from error

    @functools.cached_property
    def _builder(self) -> Any:
        with tempfile.TemporaryDirectory() as cache, self._hub_errors():
            return self.hub.builder(self.commit, Path(cache), self.hub.options(self.revision, self.commit))

    @property
    def _builder_files(self) -> dict[Any, list[Any]]:
        return dict(self._builder.config.data_files or {})

    @functools.cached_property
    def _records(self) -> "IterableDataset":
        with self._hub_errors():
            records = self._builder.as_streaming_dataset(split=self.split)
        if records.num_shards != len(self.files[self.split]):
            raise ConfigError(
                "a Hub dataset that is streamed must be read file by file",
                received=f"{self.dataset}: {len(self.files[self.split]):,} files that `datasets` reads as "
                f"{records.num_shards:,} parts",
                remedy="leave out --ingest.streaming",
            )
        return records

    def _name(self, url: str) -> str:
        """A file's name in the repository."""
        return url.partition(f"@{self.commit}/")[2] or url

    @contextlib.contextmanager
    def _hub_errors(self) -> Iterator[None]:
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:  # one error for whatever can be wrong with a repository
            raise (self.hub.unreachable if is_of_the_network(error) else self.hub.refused)(error) from error


def is_of_the_network(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is that of a connection."""
    import requests
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    kinds = (ConnectionError, TimeoutError, requests.RequestException, HfHubHTTPError, OfflineModeIsEnabled)
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__ or error.__context__
    return False
