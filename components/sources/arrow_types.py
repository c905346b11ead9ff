"""Arrow types that files have and `datasets` lacks: maps, dictionaries, extensions and their kind become plain ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.sources.columns import Columns
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow


def common_schema(schemas: Sequence["pyarrow.Schema"], columns: Columns) -> tuple["pyarrow.Schema", list[str]]:
    """One schema for several files, with plain types alone.

    A column whose type isn't known, or that the files contradict each other about, is text where every one of its
    types can be written as text; else it is left out.

    Args:
        schemas: That of each file.
        columns: The columns that are asked for.

    Returns:
        The schema, and a sentence for each column that isn't kept as it came.

    Raises:
        ConfigError: If a column that is asked for isn't there.
        DataError: If no column is left.
    """
    import pyarrow

    columns.refuse_missing(schemas)
    found: dict[str, list[pyarrow.DataType]] = {}
    for schema in schemas:
        for field in schema:
            kinds = found.setdefault(field.name, [])
            if field.type not in kinds:
                kinds.append(field.type)
    fields, notes, left_out = [], [], []
    for name, kinds in found.items():
        below = columns.below(name)
        if below is None:
            continue
        plain = [plain_type(kind) for kind in kinds]
        if any(kind is None for kind in plain) or sum(schema.names.count(name) > 1 for schema in schemas):
            left_out.append(f"`{name}` ({', '.join(map(str, kinds))})")
            continue
        try:
            joined = pyarrow.unify_schemas(
                [pyarrow.schema([(name, below.of_type(kind))]) for kind in plain], promote_options="permissive"
            )
            fields += joined
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            if any(pyarrow.types.is_nested(kind) for kind in plain):
                left_out.append(f"`{name}` ({', '.join(map(str, kinds))})")
            else:
                fields.append(pyarrow.field(name, pyarrow.string()))
                notes.append(f"`{name}` is {' and '.join(map(str, kinds))} in different files: all were kept as text")
    notes += [f"{column} was left out: no plain type holds its values" for column in left_out]
    if found and left_out and not fields:
        raise DataError(
            "a source must have a column that can be read",
            received=f"none but {', '.join(left_out)}",
            remedy="write the files anew with other types or with one schema, or give one of them with --ingest.path",
        )
    return pyarrow.schema(fields), notes


def plain_type(kind: "pyarrow.DataType") -> "pyarrow.DataType | None":
    """The type that stands for another one in `datasets`; None where none does.

    A map is a list of objects with `key` and `value`, and whatever was encoded is what it stands for.
    """
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_map(kind):
        key, value = plain_type(kind.key_type), plain_type(kind.item_type)
        return pyarrow.list_(pyarrow.struct([("key", key), ("value", value)])) if key and value else None
    if types.is_struct(kind):
        fields = [(field.name, plain_type(field.type)) for field in kind]
        return pyarrow.struct(fields) if all(plain for _, plain in fields) else None
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        item = plain_type(kind.value_type)
        make = pyarrow.list_ if types.is_list(kind) or types.is_list_view(kind) else pyarrow.large_list
        return make(item) if item else None
    if types.is_fixed_size_list(kind):
        item = plain_type(kind.value_type)
        return pyarrow.list_(item, kind.list_size) if item else None
    if types.is_fixed_size_binary(kind):
        return pyarrow.binary()
    if types.is_decimal(kind) and kind.bit_width < 128:
        return pyarrow.decimal128(kind.precision, kind.scale)
    return None if types.is_union(kind) or types.is_interval(kind) else kind


def plain_values(values: "pyarrow.Array", kind: "pyarrow.DataType") -> "pyarrow.Array":
    """Values under a plain type.

    Raises:
        ArrowInvalid: If one of them doesn't fit.
        ArrowNotImplementedError: If their type can't be turned into the other.
    """
    import pyarrow

    if isinstance(values.type, pyarrow.BaseExtensionType):
        values = values.storage
    # Arrow's own cast of views loses items, and it has none for run ends.
    if "list_view" in str(values.type) or "run_end_encoded" in str(values.type):
        return pyarrow.array(values.to_pylist(), kind)
    return values.cast(kind)
