"""Which columns of a source are read: those that `ingest.columns` names, with dots into nested records."""

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from foundation.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Columns:
    """A choice of columns.

    Attributes:
        names: Their names: those of columns or of fields in them, with dots between. None for all columns.

    Example:
        Columns(("id", "answers.text")).of_record({"id": 1, "n": 2, "answers": {"text": "a", "score": 3}})
        # {"id": 1, "answers": {"text": "a"}}
    """

    names: tuple[str, ...] | None = None

    def of_record(self, value: Any) -> Any:
        """A record, or a value in it, without the fields that aren't asked for."""
        if self.names is None:
            return value
        if isinstance(value, list):
            return [self.of_record(item) for item in value]
        if not isinstance(value, dict):
            return value
        below = ((name, item, self.below(name)) for name, item in value.items())
        return {name: columns.of_record(item) for name, item, columns in below if columns is not None}

    def of_type(self, kind: "pyarrow.DataType") -> "pyarrow.DataType":
        """A type without the fields that aren't asked for. Only structs and lists of them have fields."""
        import pyarrow

        if self.names is None:
            return kind
        if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
            make = pyarrow.list_ if pyarrow.types.is_list(kind) else pyarrow.large_list
            return make(self.of_type(kind.value_type))
        if not pyarrow.types.is_struct(kind):
            return kind
        below = ((field, self.below(field.name)) for field in kind)
        return pyarrow.struct([(field.name, columns.of_type(field.type)) for field, columns in below if columns])

    def below(self, field: str) -> "Columns | None":
        """What of a field is read; None for nothing."""
        return _below(self.names, field)

    def of_dataset(self, dataset: "Dataset") -> "Dataset":
        """The whole columns of which something is asked for.

        Raises:
            ConfigError: If one that is asked for isn't there.
        """
        self.refuse_missing([dataset.features.arrow_schema])
        if self.names is None:
            return dataset
        return dataset.select_columns([name for name in dataset.column_names if self.below(name)])

    def refuse_missing(self, schemas: "Sequence[pyarrow.Schema]", others: Iterable[str] = ()) -> None:
        """Refuses names that a source lacks.

        Args:
            schemas: Those of the source's files.
            others: Names of columns that aren't read.

        Raises:
            ConfigError: If there is one.
        """
        from components.blocks.text_fields import find_field

        known = dict.fromkeys([*(name for schema in schemas for name in schema.names), *others])
        for name in self.names or ():
            if not any(find_field(list(schema), name) for schema in schemas):
                near = difflib.get_close_matches(name, known, n=1)
                raise ConfigError(
                    "ingest.columns must name columns of the source",
                    received=f"{name!r}, which isn't among {', '.join(known)}",
                    remedy=f"correct --ingest.columns{f' (nearest: {near[0]})' if near else ''}, or leave it out to "
                    "read all columns",
                )


@functools.lru_cache(maxsize=4096)
def _below(names: tuple[str, ...] | None, field: str) -> Columns | None:
    if names is None or field in names:
        return Columns()
    rest = tuple(name[len(field) + 1 :] for name in names if name.startswith(f"{field}."))
    return Columns(rest) if rest else None
