"""A dataset of the Hugging Face Hub as a source, at one exact commit."""

import dataclasses
import functools
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.hub.reading import HubUnreachable, resolve_revision
from components.sources import Loaded
from components.sources.columns import Columns
from foundation.command_text import installed
from foundation.errors import ConfigError, HubError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

PARQUET_BRANCH = "refs/convert/parquet"
"""Where the Hub keeps a dataset converted to Parquet, as `<config>/<split>/0000.parquet`."""


@dataclasses.dataclass(frozen=True)
class HubDataset:
    """A dataset on the Hub.

    Attributes:
        dataset: The dataset's name, `owner/name`.
        config: The dataset's configuration; None where it has only one, or a default.
        split: A split, or an expression such as `train[:5000]`.
        revision: A branch, tag or commit; None for the newest commit of `main`.
        columns: The columns to keep; None for all.

    Example:
        source = HubDataset("dany0407/eli5_category", config=None, split="train[:5000]", revision=None)
        records = source.load(cache).dataset  # 5,000 of them, in a datasets.Dataset
    """

    dataset: str
    config: str | None
    split: str
    revision: str | None
    columns: tuple[str, ...] | None = None

    @functools.cached_property
    def resolved(self) -> tuple[str, str, bool]:
        """The revision to read, its commit, and whether it is read in place of one that holds a loading script.

        `datasets` refuses a repository that holds `<name>.py`, a loading script. The Parquet branch holds what that
        script made of `main`.

        Raises:
            HubError: If the Hub is out of reach, or there is no such dataset or revision.
        """
        revision = self.revision or "main"
        commit = self.commit_of(revision)
        if not self.has_script(revision, commit):
            return revision, commit, False
        if revision != "main":
            raise HubError(
                "a Hub dataset's revision must hold data files; `datasets` no longer runs loading scripts",
                received=f"{self.dataset} at {revision}, which holds {self.script}",
                remedy=f"give --ingest.revision {PARQUET_BRANCH} (the data that the script on main made), "
                "or files of your own with --ingest.path",
            )
        try:
            commit = self.commit_of(PARQUET_BRANCH)
            self.has_script(PARQUET_BRANCH, commit)  # called only so that the local cache notes the branch's commit
            return PARQUET_BRANCH, commit, True
        except HubUnreachable:
            raise
        except HubError as error:
            raise HubError(
                "a Hub dataset must hold data files; `datasets` no longer runs loading scripts",
                received=f"{self.dataset}, which holds {self.script} and whose {PARQUET_BRANCH} gave: {error.received}",
                remedy="name another dataset with --ingest.dataset, or give files of your own with --ingest.path",
            ) from error

    def commit_of(self, revision: str) -> str:
        """The commit that a revision stands for.

        Raises:
            HubError: If the Hub is out of reach, or there is no such dataset or revision.
        """
        try:
            return resolve_revision(self.dataset, "dataset", revision)
        except HubError as error:
            remedy = f"{error.remedy}; or do without the Hub: --ingest.path, or --ingest.dataset python-docs"
            raise type(error)(error.rule, received=error.received, remedy=remedy) from error

    @property
    def script(self) -> str:
        """The name of the loading script, if the repository has one."""
        return f"{PurePosixPath(self.dataset).name}.py"

    def has_script(self, revision: str, commit: str) -> bool:
        """Whether the repository holds a loading script at a commit.

        The file is downloaded (a few kB), under the revision's name, so that the local cache keeps the answer
        and the revision's commit. Next time, also offline, both are taken from there.

        Raises:
            HubError: If the Hub is out of reach and the cache has no answer.
        """
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

        cached = try_to_load_from_cache(self.dataset, self.script, repo_type="dataset", revision=commit)
        if cached is not None:  # a path, or a marker of its absence
            return isinstance(cached, str)
        try:
            hf_hub_download(self.dataset, self.script, repo_type="dataset", revision=revision)
        except LocalEntryNotFoundError as error:  # a subclass of the next one, for a Hub that can't be reached
            raise self.unreachable(error) from error
        except EntryNotFoundError:
            return False
        except (HfHubHTTPError, OSError) as error:
            raise self.unreachable(error) from error
        return True

    def digests(self) -> dict[str, str]:
        """The commit to read.

        Raises:
            HubError: If the Hub is out of reach, or there is no such dataset or revision.
        """
        revision, commit, _ = self.resolved
        return {f"{self.dataset}@{revision}": commit}

    def load(self, cache: Path) -> Loaded:
        """The records of the split, as `datasets.load_dataset` gives them.

        Downloads stay in the Hub's own cache, so that another run needn't repeat them.

        Args:
            cache: A directory for the Arrow files from which the records are memory-mapped.

        Raises:
            ConfigError: If the dataset has no such configuration or split.
            HubError: If the Hub is out of reach, or the dataset can't be loaded.
        """
        revision, commit, stands_in = self.resolved
        options = self.options(revision, commit)
        dataset, urls, available = self.prepare(commit, cache, options)
        facts = {
            "kind": "hub",
            "dataset": self.dataset,
            "config": self.config,
            "split": self.split,
            "revision": revision,
            "commit": commit,
            "fallback": f"main holds {self.script}, which `datasets` no longer runs" if stands_in else None,
            "files": [self.describe_file(url, commit) for url in urls],
        }
        anomalies = []
        if any("/partial-" in file for files in options.get("data_files", {}).values() for file in files):
            anomalies.append("the Hub converted only the first 5 GB of this dataset to Parquet")
        return Loaded(Columns(self.columns).of_dataset(dataset), facts, anomalies=anomalies, available=available)

    def options(self, revision: str, commit: str) -> dict[str, Any]:
        """What `datasets` is to load of the repository.

        Raises:
            ConfigError: If the dataset has no such configuration, or a local directory has its name.
            HubError: If the Hub is out of reach.
        """
        if Path(self.dataset).exists():
            raise ConfigError(
                "ingest.dataset must not be the name of a local directory too: `datasets` would read that one",
                received=f"{self.dataset}, which is in {Path.cwd()} too",
                remedy="run from another directory, or give the local one with --ingest.path",
            )
        return {"data_files": self.converted_files(commit)} if revision == PARQUET_BRANCH else {"name": self.config}

    def prepare(self, commit: str, cache: Path, options: dict[str, Any]) -> tuple["Dataset", list[str], int]:
        """Does what `datasets.load_dataset` does, in its three steps, because each fails for its own reasons.

        Returns:
            The records of the split, the URLs of the files that they came from, and the number of all records in the
            splits that `split` names.

        Raises:
            ConfigError: If the dataset has no such configuration or split.
            HubError: If the Hub is out of reach, or the dataset can't be loaded.
        """
        import datasets

        builder = self.builder(commit, cache, options)
        try:
            builder.download_and_prepare()
        except ConnectionError as error:
            raise self.unreachable(error) from error
        except Exception as error:
            raise self.refused(error) from error
        try:
            dataset = builder.as_dataset(split=self.split)
        except (ValueError, AssertionError) as error:
            raise self.missing("split", error) from error
        urls = sorted({str(url) for files in (builder.config.data_files or {}).values() for url in files})
        sizes = {name: int(split.num_examples) for name, split in (builder.info.splits or {}).items()}
        named = {part.splitname for part in datasets.ReadInstruction.from_spec(self.split).to_absolute(sizes)}
        return dataset, urls, sum(sizes[name] for name in named)

    def builder(self, commit: str, cache: Path, options: dict[str, Any]) -> "DatasetBuilder":
        """What makes records of the repository's files, as `datasets.load_dataset` makes it.

        Raises:
            ConfigError: If the dataset has no such configuration.
            HubError: If the Hub is out of reach, or the dataset can't be loaded.
        """
        import datasets

        try:
            return datasets.load_dataset_builder(self.dataset, revision=commit, cache_dir=str(cache), **options)
        except ConnectionError as error:
            raise self.unreachable(error) from error
        except ValueError as error:
            if "BuilderConfig" not in str(error):
                raise self.refused(error) from error
            raise self.missing("config", error) from error
        except Exception as error:  # one error for whatever can be wrong with a repository
            raise self.refused(error) from error

    def converted_files(self, commit: str) -> dict[str, list[str]]:
        """The Parquet branch's files of the configuration, by split.

        They are listed one by one, because `datasets` would put all configurations together, and leave out any split
        whose name it doesn't know.

        Raises:
            ConfigError: If the configuration isn't there.
            HubError: If the Hub is out of reach.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            names = HfApi().list_repo_files(self.dataset, repo_type="dataset", revision=commit)
        except (HfHubHTTPError, OSError) as error:
            raise self.unreachable(error) from error
        configs: dict[str, dict[str, list[str]]] = {}
        for name in sorted(names):
            match = re.fullmatch(r"(?P<config>.+)/(?:partial-)?(?P<split>[^/]+)/[^/]+\.parquet", name)
            if match:
                configs.setdefault(match["config"], {}).setdefault(match["split"], []).append(name)
        config = self.config or ("default" if "default" in configs or len(configs) != 1 else next(iter(configs)))
        if config not in configs:
            raise ConfigError(
                "ingest.config must be one that the dataset has",
                received=f"{self.config!r} of {self.dataset}, which has {', '.join(configs) or 'none'}",
                remedy="choose one of them with --ingest.config",
            )
        return configs[config]

    def describe_file(self, url: str, commit: str) -> dict[str, Any]:
        """A downloaded file's name in the repository, and its size."""
        from huggingface_hub import try_to_load_from_cache

        name = url.partition(f"@{commit}/")[2] or url
        path = try_to_load_from_cache(self.dataset, name, repo_type="dataset", revision=commit)
        return {"name": name, "bytes": Path(path).stat().st_size if isinstance(path, str) else None}

    def missing(self, key: str, error: Exception) -> ConfigError:
        """The error for a configuration or split that the dataset lacks."""
        return ConfigError(
            f"ingest.{key} must be one that the dataset has",
            received=f"{getattr(self, key)!r} of {self.dataset} ({first_line(error)})",
            remedy=f"choose another with --ingest.{key}",
        )

    def unreachable(self, error: Exception) -> HubError:
        """The error for a Hub that doesn't answer, or refuses."""
        return HubError(
            "a Hub dataset must be reachable",
            received=f"{self.dataset}: {first_line(error)}",
            remedy=f"check the network and the name, log in ({installed('hf')} auth login) for a private or gated "
            "dataset, give local files with --ingest.path, or --ingest.dataset python-docs, which needs no network",
        )

    def refused(self, error: Exception) -> HubError:
        """The error for a dataset that `datasets` can't make records of."""
        cause = error.__cause__ or error
        return HubError(
            "a Hub dataset must hold data files that `datasets` can load",
            received=f"{self.dataset}: {first_line(cause)}",
            remedy=f"try --ingest.revision {PARQUET_BRANCH}, or give local files with --ingest.path",
        )


def first_line(error: BaseException) -> str:
    """An error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
