"""The settings of ingest: where the records come from, which of them are read, and how they are split."""

import dataclasses
import re
from typing import Any

from components.sources.embedded import NAME as PYTHON_DOCS
from components.sources.readers import TextRecords
from components.sources.source import Source, joined_names
from foundation.errors import ConfigError

OF_ONE_SOURCE = ("path", "test_path", "config", "split", "revision", "encoding", "field")
"""The settings that a source of a mixture has for itself."""


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
            Where no file ends so, files of text or JSON of any ending.
        test_path: A local file, directory or glob with the test records, which are left out of `path` then; null for a
            split of what is in `path`.
        encoding: The encoding of local text files without a byte order mark, such as windows-1252; null for UTF-8.
        text_records: What is a record in a .txt file: a paragraph (up to a blank line; in a file without blank lines, a
            line), a line, or the whole file.
        field: The field of a JSON file that has the records, where the file is one object; dots lead into objects. Null
            where that is plain.
        sources: A mixture instead of `dataset` or `path`: a list of sources, each a path, or keys with `path` or
            `dataset` and where needed with `config`, `split`, `revision`, `test_path`, `encoding`, `text_records`,
            `field`, `text_column`, `name` and `weight`: how often each of its train records stands in the train split
            (2: twice; 0.5: half of them, drawn by the seed). Each is split by itself, and the test split isn't
            weighted. The corpus has the columns `text` and `source`, the source's name.
        columns: The columns to read, with commas between or as a list; dots lead into nested records. Null for all.
        group_column: A column whose equal values stay on one side of the split: an author, a thread. Records without a
            value are each on their own. The test split is as near to `test_size` as the groups allow.
        time_column: A column of numbers, ISO dates or times by which the newest `test_size` of the records become the
            test split. Equal times stay on one side.
        max_train_records: The most records of the train split, drawn by the seed after splitting; null for all.
        max_test_records: The most records of the test split, drawn by the seed after splitting; null for all.
        test_size: The part of the records that goes to the test split, above 0 and below 1.
        seed: The seed of the shuffle before the split, from 0.
        streaming: Whether the train records stay where they are: ingest keeps the test split alone, and preprocess
            reads the source file by file. For a corpus larger than the disk. The test split is the source's own test or
            validation part, else the first records of each file: `test_size` of those that are read for it, and at
            most 5,000 or `max_test_records`. Of the train records, `max_train_records` are the first.
    """

    dataset: str = PYTHON_DOCS
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    path: str | None = None
    test_path: str | None = None
    encoding: str | None = None
    text_records: TextRecords = "paragraph"
    field: str | None = None
    sources: list[dict[str, Any] | str] | None = None
    columns: str | list[str] | None = None
    group_column: str | None = None
    time_column: str | None = None
    max_train_records: int | None = None
    max_test_records: int | None = None
    test_size: float = 0.2
    seed: int = 42
    streaming: bool = False

    def __post_init__(self) -> None:
        Source(**{key: getattr(self, key) for key in (*OF_ONE_SOURCE, "dataset", "text_records")})
        if self.sources is not None:
            self._check_mixture()
        if self.columns is not None and not self.columns_to_read:
            raise ConfigError(
                "ingest.columns must name columns, with commas between them",
                received=repr(self.columns),
                remedy="give e.g. --ingest.columns title,body, or leave it out",
            )
        for key, other in (("group_column", "time_column"), ("time_column", "group_column")):
            value = getattr(self, key)
            if value is not None and (not value.strip() or getattr(self, other) is not None or self.test_path):
                raise ConfigError(
                    f"ingest.{key} must name a column, without ingest.{other} and ingest.test_path",
                    received=f"{value!r} with {other} {getattr(self, other)} and test_path {self.test_path}",
                    remedy=f"leave out all but one of --ingest.{key}, --ingest.{other} and --ingest.test_path",
                )
        for key in ("max_train_records", "max_test_records"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(
                    f"ingest.{key} must be at least 1",
                    received=str(value),
                    remedy=f"give e.g. --ingest.{key} 5000, or leave it out for all records",
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
        for key in ("sources", "group_column", "time_column", "field"):
            if (value := getattr(self, key)) is not None:
                raise ConfigError(
                    f"ingest.{key} must be left out where ingest.streaming is set: all records must be known for it",
                    received=repr(value),
                    remedy=f"leave out --ingest.{key} or --ingest.streaming"
                    + (
                        ", or name test records of their own with --ingest.test_path" if key.endswith("_column") else ""
                    ),
                )
        if self.path is None and not self.source.is_from_hub:
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

    def _check_mixture(self) -> None:
        """Refuses settings of one source beside a mixture, and a mixture that is none."""
        given = {key: getattr(self, key) for key in (*OF_ONE_SOURCE, "columns")}
        if self.dataset != PYTHON_DOCS:
            given["dataset"] = self.dataset
        for key, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"ingest.{key} must be left out where ingest.sources are given",
                    received=f"{key} {value!r} beside {len(self.sources or [])} sources",
                    remedy=f"leave out --ingest.{key}"
                    + ("" if key == "columns" else ", or give it to one of the sources"),
                )
        if not self.mixture:
            raise ConfigError(
                "ingest.sources must hold at least one source",
                received="an empty list",
                remedy="leave out --ingest.sources, or give e.g. [{path: a.txt}, {path: b.jsonl, weight: 2}]",
            )

    @property
    def mixture(self) -> tuple[Source, ...]:
        """The sources of a mixture, in their order; none where there is one source.

        Raises:
            ConfigError: If one is wrong.
        """
        return tuple(Source.of(values, number) for number, values in enumerate(self.sources or (), 1))

    @property
    def source(self) -> Source:
        """The one source, where there is no mixture."""
        return Source(**{key: getattr(self, key) for key in (*OF_ONE_SOURCE, "dataset", "text_records")})

    @property
    def columns_to_read(self) -> tuple[str, ...] | None:
        """The names in `columns`, and the columns by which the records are split; None for all columns."""
        if self.columns is None:
            return None
        named = [name.strip() for name in joined_names(self.columns).split(",") if name.strip()]
        by = [column for column in (self.group_column, self.time_column) if column is not None]
        return tuple(dict.fromkeys([*named, *by])) if named else ()
