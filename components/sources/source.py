"""One source of records as a user names it: a Hub dataset, local files, or the embedded corpus."""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, get_args

from components.hub.identifiers import is_repository_id
from components.sources.embedded import NAME as PYTHON_DOCS
from components.sources.embedded import EmbeddedCorpus
from components.sources.encodings import canonical_encoding
from components.sources.hub import HubDataset
from components.sources.local import LocalFiles
from components.sources.readers import TextRecords
from components.sources.selecting import SPLIT_EXPRESSION
from foundation.errors import ConfigError, DataError

MOST_WEIGHT = 1000
"""How often a record may stand in the train split at most."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What is read, and how; in a mixture, also how much it weighs.

    Attributes:
        dataset: A dataset's name on the Hub, or `python-docs`.
        config: The Hub dataset's configuration.
        split: The records to read and split anew.
        revision: The Hub dataset's branch, tag or commit.
        path: A local file, directory or glob, which goes before `dataset`.
        test_path: A local file, directory or glob with the test records.
        encoding: The encoding of local text files without a byte order mark.
        text_records: What is a record in a text file.
        field: The field of a JSON file's one object that has the records.
        text_column: In a mixture, the column with the text, or several with commas between, as
            `preprocess.text_column` has them; None for the only one that can be meant.
        weight: In a mixture, how often each train record stands in the train split, above 0 and up to 1,000. Of 2.5,
            every record stands twice, and half of them, drawn by the seed, once more.
        name: In a mixture, the value of the column `source`; None for the name of the file, directory or dataset.

    Raises:
        ConfigError: If settings contradict each other.
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
    text_column: str | None = None
    weight: float = 1.0
    name: str | None = None

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
                remedy="name one with --ingest.path, or a data set of the Hub with --ingest.dataset",
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
        for key in ("encoding", "field"):
            value = getattr(self, key)
            if value is not None and self.path is None:
                raise ConfigError(
                    f"ingest.{key} must be given only with local files",
                    received=f"{key} {value!r} with {self.path or self.dataset}",
                    remedy=f"leave out --ingest.{key}, or name files with --ingest.path",
                )
        if self.encoding is not None:
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
        if not 0 < self.weight <= MOST_WEIGHT:
            raise ConfigError(
                f"the weight of a source must be a number above 0, and at most {MOST_WEIGHT:,}",
                received=str(self.weight),
                remedy="give e.g. 2 to have each train record twice, 0.5 for half of them, or leave the source out",
            )

    @classmethod
    def of(cls, values: Any, number: int) -> "Source":
        """One item of `ingest.sources`.

        Args:
            values: What the user wrote: keys with values, or just a path.
            number: Which item it is, counted from 1.

        Raises:
            ConfigError: If a key is unknown, or a value is wrong.
        """
        if isinstance(values, str):
            values = {"path": values}
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        where = f"source {number} of ingest.sources"
        if isinstance(values, Mapping):
            for key in values:
                if key not in fields:
                    nearest = difflib.get_close_matches(str(key), fields, n=1)
                    raise ConfigError(
                        "the keys of a source must be known",
                        received=f"{key!r} in {where}",
                        remedy=f"the keys are {', '.join(fields)}" + (f" (nearest: {nearest[0]})" if nearest else ""),
                    )
        if not isinstance(values, Mapping) or all(values.get(key) is None for key in ("path", "dataset")):
            raise ConfigError(
                "a source must have a path or a dataset",
                received=f"{values!r} as {where}",
                remedy="write e.g. - {path: notes.txt, weight: 2} below sources in the configuration",
            )
        values = {key: value for key, value in values.items() if value is not None}
        values = {**values, "text_column": joined_names(values.get("text_column"))}
        for key, value in values.items():
            kinds: tuple[type, ...] = (int, float) if key == "weight" else (str,)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise ConfigError(
                    f"the {key} of a source must be {'a number' if key == 'weight' else 'text'}",
                    received=f"{value!r} in {where}",
                    remedy=f"correct {key} there",
                )
        if values.keys() >= {"path", "dataset"}:
            raise ConfigError(
                "a source must have either a path or a dataset",
                received=f"path {values['path']} and dataset {values['dataset']} in {where}",
                remedy="make two sources of them, or leave out one",
            )
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(
                error.rule, received=f"{error.received} in {where}", remedy=remedy_in_source(error.remedy)
            ) from error

    @property
    def is_from_hub(self) -> bool:
        """Whether the records come from the Hugging Face Hub."""
        return self.path is None and self.dataset != PYTHON_DOCS

    @property
    def short_name(self) -> str:
        """What the source is called where several are: its name, or that of its file, directory or dataset."""
        if self.name:
            return self.name
        return PurePath(self.path).stem or self.path if self.path is not None else self.dataset

    def reader(self, columns: tuple[str, ...] | None = None) -> "HubDataset | LocalFiles | EmbeddedCorpus":
        """What reads it.

        Args:
            columns: The columns to read; None for all.
        """
        if self.path is not None:
            return LocalFiles(self.path, self.encoding, self.text_records, self.test_path, columns, self.field)
        if self.is_from_hub:
            return HubDataset(self.dataset, self.config, self.split or "train", self.revision, columns)
        return EmbeddedCorpus(columns=columns)


def error_in_source(error: ConfigError | DataError, name: str) -> ConfigError | DataError:
    """An error about one source of a mixture, with its name."""
    received = f"{error.received} (of the source {name})"
    return type(error)(error.rule, received=received, remedy=remedy_in_source(error.remedy))


def remedy_in_source(remedy: str) -> str:
    """A way out as it reads for a source of a mixture, which has settings of its own in place of some options."""
    own = {field.name for field in dataclasses.fields(Source)}
    named = r"--(?:ingest|preprocess)\.(\w+)"
    return re.sub(named, lambda option: f"its `{option[1]}`" if option[1] in own else option[0], remedy)


def joined_names(names: Any) -> Any:
    """A list of names as one text with commas between; anything else as it is."""
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return ",".join(names)
    return names


def names_of(sources: Sequence[Source]) -> list[str]:
    """What the sources are called; where several have one name, all but the first with a number."""
    names: list[str] = []
    for source in sources:
        name, number = source.short_name, 2
        while name in names:
            name, number = f"{source.short_name}-{number}", number + 1
        names.append(name)
    return names
