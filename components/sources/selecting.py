"""Chooses some of a source's records by an expression such as `train[:5000]`."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

from components.sources import Loaded
from foundation.errors import ConfigError

SPLIT_PART = r"[\w.-]+(\[(-?\d+%?)?:(-?\d+%?)?\])?(\([\w_]+\))?"
SPLIT_EXPRESSION = re.compile(rf"{SPLIT_PART}(\s*\+\s*{SPLIT_PART})*")


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
