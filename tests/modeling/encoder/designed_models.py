"""A small model of every architecture that our own encoder builds, as its record describes it."""

from typing import Any

from components.modeling.architectures.records import ARCHITECTURES

DESIGNED: dict[str, tuple[str, dict[str, Any]]] = {
    name: (record.model_type, {**record.tiny, **values})
    for record in ARCHITECTURES.values()
    if record.design is not None
    for name, values in {record.model_type: {}, **record.variants}.items()
}
"""Architecture and configuration values by a model's name: each record's tiny model and its variants."""
