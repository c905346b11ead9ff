"""Mixes several sources into one corpus with the columns `text` and `source`.

Each source is split by itself, by its own parts or at random; groups and times are those of all sources together. Only
then are train records repeated or left out by weight, so that no record stands on both sides.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contract.reports import BySplit, MixedSource
from components.sources import Loaded
from components.sources.column_statistics import count_words
from components.sources.local import LocalFiles, open_arrow
from components.sources.params import IngestParams
from components.sources.record_batches import tables_of
from components.sources.selecting import select
from components.sources.source import Source, error_in_source, names_of
from components.sources.splitting import Rows, refuse_parts, split_alone, split_by_column
from foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset

TEXT, SOURCE = "text", "source"
"""The columns of a mixture."""


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """One source of a mixture, loaded.

    Attributes:
        source: What the user named.
        name: What it is called, as no other.
        loaded: Its records.
        text_column: The column of the text, or several with commas between.
        texts: Its records with the columns `text` and `source`.
        words: (records,) int64, the words of each text.
    """

    source: Source
    name: str
    loaded: Loaded
    text_column: str
    texts: "Dataset"
    words: np.ndarray


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Several sources as one.

    Attributes:
        ingredients: The sources, in the user's order, in which their records stand in `dataset`.
        dataset: All records, each once.
    """

    ingredients: Sequence[Ingredient]
    dataset: "Dataset"

    @property
    def starts(self) -> np.ndarray:
        """(ingredients + 1,) int64, the row at which each begins, and the number of all rows."""
        return np.cumsum([0, *(len(each.texts) for each in self.ingredients)])

    def split(self, params: IngestParams) -> Rows:
        """Which rows of `dataset` are train and which test; train rows as often as they weigh.

        Raises:
            ConfigError: If a source lacks the column by which they should be split, or has parts of its own besides.
            DataError: If there are too few records for both sides.
        """
        rows = self._split(params)
        random = np.random.default_rng(params.seed)
        owner = self.owner_of(rows.train)
        weighted = [
            repeated(rows.train[owner == number], each.source.weight, random)
            for number, each in enumerate(self.ingredients)
        ]
        train = random.permutation(np.concatenate(weighted))
        if not len(train):
            raise DataError(
                "the weights of ingest.sources must leave at least one train record",
                received=", ".join(f"{each.name} {each.source.weight:g}" for each in self.ingredients),
                remedy="raise a weight",
            )
        return dataclasses.replace(rows, train=train, test=random.permutation(rows.test), in_order=False)

    def _split(self, params: IngestParams) -> Rows:
        if params.group_column or params.time_column:
            for each in self.ingredients:
                refuse_parts(each.loaded, params, each.name)
            return split_by_column([each.loaded for each in self.ingredients], params)
        split = []
        for each, start in zip(self.ingredients, self.starts, strict=False):
            try:
                one = split_alone(each.loaded, params)
            except DataError as error:
                raise error_in_source(error, each.name) from error
            split.append((one.train + start, one.test + start))
        return Rows(np.concatenate([train for train, _ in split]), np.concatenate([test for _, test in split]))

    def owner_of(self, rows: np.ndarray) -> np.ndarray:
        """The number of the ingredient that each row (rows,) belongs to."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def report(self, rows: Rows) -> tuple[MixedSource, ...]:
        """What of each source is in the corpus."""
        words = np.concatenate([each.words for each in self.ingredients])
        length = len(self.ingredients)
        records, counted = (
            [np.bincount(self.owner_of(side), values, length).astype(int).tolist() for side, values in sides]
            for sides in (
                [(rows.train, None), (rows.test, None)],
                [(rows.train, words[rows.train]), (rows.test, words[rows.test])],
            )
        )
        return tuple(
            MixedSource(
                name=each.name,
                weight=each.source.weight,
                text_column=each.text_column,
                available=each.loaded.available or len(each.texts),
                records=BySplit(records[0][number], records[1][number]),
                words=BySplit(counted[0][number], counted[1][number]),
            )
            for number, each in enumerate(self.ingredients)
        )

    def loaded(self) -> Loaded:
        """All sources as one, with what each of them has to say."""
        sources = [(each.name, each.loaded) for each in self.ingredients]
        return Loaded(
            self.dataset,
            {"kind": "mixture", "sources": {name: one.facts for name, one in sources}},
            [{**what, "what": f"{name}: {what['what']}"} for name, one in sources for what in one.skipped],
            [f"{name}: {sentence}" for name, one in sources for sentence in one.anomalies],
            guesses=[f"{name}: {sentence}" for name, one in sources for sentence in one.guesses],
            unnamed=[f"{name}: {file}" for name, one in sources for file in one.unnamed],
            mixed=[f"{name}: {file}" for name, one in sources for file in one.mixed],
        )


def mix(params: IngestParams, readers: Sequence[Any], cache: Path) -> Mixture:
    """Loads the sources of a mixture.

    Args:
        params: The settings.
        readers: What reads each source.
        cache: A directory for the Arrow files from which the records are memory-mapped.

    Raises:
        PipelineError: If one can't be read, or its text column isn't plain.
    """
    from datasets import concatenate_datasets

    refuse_repeated(readers)
    ingredients = []
    for number, (source, reader) in enumerate(zip(params.mixture, readers, strict=True)):
        place = cache / str(number)
        place.mkdir()
        name = names_of(params.mixture)[number]
        try:
            loaded = reader.load(place)
            loaded = loaded if source.is_from_hub else select(loaded, source.split)
            column, texts, words = texts_of(loaded.dataset, source.text_column or f"{TEXT}?", name, place / "texts")
        except (ConfigError, DataError) as error:
            raise error_in_source(error, name) from error
        ingredients.append(Ingredient(source, name, loaded, column, texts, words))
    return Mixture(ingredients, concatenate_datasets([each.texts for each in ingredients]))


def refuse_repeated(readers: Iterable[Any]) -> None:
    """Refuses a mixture that reads a file twice, some of whose records would stand on both sides of the split.

    Raises:
        ConfigError: If it does.
    """
    seen: set[Any] = set()
    for reader in readers:
        read = {path.resolve() for path in reader.files()[0]} if isinstance(reader, LocalFiles) else {reader}
        if twice := sorted(map(str, seen & read)):
            raise ConfigError(
                "each of ingest.sources must name records of its own",
                received=f"{twice[0]} in two of them",
                remedy="name it once, with a weight such as 2 to have its records twice",
            )
        seen |= read


def texts_of(dataset: "Dataset", text_column: str, name: str, target: Path) -> tuple[str, "Dataset", np.ndarray]:
    """The texts of a source as records of their own.

    Args:
        dataset: Its records.
        text_column: The column's name, as `preprocess.text_column` has it.
        name: The source's name.
        target: The Arrow file to write.

    Returns:
        The column that was read, the records with `text` and `source`, and the words (records,) of each.

    Raises:
        DataError: If there is no such column, or several could be meant.
    """
    import pyarrow

    from components.blocks.column_choice import choose_column_of
    from components.blocks.text_column import joined_texts
    from components.blocks.text_fields import resolve_columns

    column = choose_column_of(dataset, text_column)
    paths = resolve_columns(dataset.features.arrow_schema, column)
    schema = pyarrow.schema([(TEXT, pyarrow.string()), (SOURCE, pyarrow.string())])
    words: list[int] = []
    with pyarrow.OSFile(str(target), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for table in tables_of(dataset):
            for batch in table.to_batches():
                texts = list(joined_texts(batch, paths))
                words += [count_words(text) if text else 0 for text in texts]
                writer.write_batch(pyarrow.record_batch([texts, [name] * len(texts)], schema=schema))
    return column, open_arrow(target), np.array(words, np.int64)


def repeated(rows: np.ndarray, weight: float, random: np.random.Generator) -> np.ndarray:
    """Every row as often as the whole part of a weight says, and of what is left of it, so large a part, drawn."""
    whole = int(weight)
    part = random.permutation(rows)[: round(len(rows) * (weight - whole))]
    return np.concatenate([np.tile(rows, whole), part])
