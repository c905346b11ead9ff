"""Tokenizers as transformers 5 writes them: a `tokenizer.json`, with settings beside it that transformers 4 can't read.

Their class may be one that only transformers 5 has, such as `TokenizersBackend`, which it calls any tokenizer without a
class of its own; further special tokens are a list; and some have an option of their own, such as the
`chain_break_token` of ESM C.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SETTINGS, TOKENIZER = "tokenizer_config.json", "tokenizer.json"
NO_OPTIONS = frozenset(
    {"tokenizer_class", "backend", "added_tokens_decoder", "auto_map", "extra_special_tokens", "is_local"}
)
"""What such settings say beside the options of a tokenizer."""


def is_of_later_version(directory: Path) -> bool:
    """Whether a folder holds a tokenizer that transformers 4 doesn't load although it could."""
    settings = _settings(directory)
    if settings is None or not (directory / TOKENIZER).is_file():
        return False
    name = settings.get("tokenizer_class")
    return isinstance(settings.get("extra_special_tokens"), list) or (
        isinstance(name, str) and "auto_map" not in settings and not _has_class(name)
    )


def load_of_later_version(directory: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of such a folder, of the class of its name, or where there is none, of that of any fast tokenizer.

    Args:
        directory: One for which `is_of_later_version` holds.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    settings = _settings(directory) or {}
    kind = tokenizer_class_from_name(_fast_name(str(settings.get("tokenizer_class"))))
    options = {name: _token(value) for name, value in settings.items() if name not in NO_OPTIONS}
    roles = {*PreTrainedTokenizerFast.SPECIAL_TOKENS_ATTRIBUTES}
    own = {name: value for name, value in options.items() if name.endswith("_token") and isinstance(value, str)}
    extra = settings.get("extra_special_tokens") or []
    return (kind or PreTrainedTokenizerFast)(
        tokenizer_file=str(directory / TOKENIZER),
        **{
            **options,
            "extra_special_tokens": {name: token for name, token in own.items() if name not in roles},
            "additional_special_tokens": [_token(token) for token in extra],
        },
    )


def _token(value: Any) -> Any:
    """A token by its text, where more of it is written; anything else as it is."""
    return value["content"] if isinstance(value, dict) and "content" in value else value


def _fast_name(name: str) -> str:
    return f"{name.removesuffix('Fast')}Fast"


def _has_class(name: str) -> bool:
    """Whether transformers has a tokenizer's class here."""
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    return any(tokenizer_class_from_name(each) is not None for each in (name, _fast_name(name)))


def _settings(directory: Path) -> dict[str, Any] | None:
    """What a `tokenizer_config.json` says; None where there is none to read."""
    try:
        settings = json.loads((directory / SETTINGS).read_bytes())
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None
