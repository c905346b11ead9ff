"""A fast tokenizer that gives the ids of Perceiver's, which the library has in Python only: UTF-8's bytes as tokens.

As a byte-level BPE without merges it is a `tokenizer.json` like any other: stock transformers loads it, its words are
known to whole-word masking, and it goes into an exported graph.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SLOW = "PerceiverTokenizer"
"""The library's class, and the `tokenizer_class` of a `tokenizer_config.json`."""
ROLES = ("pad_token", "bos_token", "eos_token", "mask_token", "cls_token", "sep_token")


def is_of_bytes(directory: Path) -> bool:
    """Whether a folder holds Perceiver's tokenizer, which needs no file of a vocabulary."""
    try:
        settings = json.loads((directory / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("tokenizer_class") == SLOW


def as_fast(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerFast":
    """The fast tokenizer of the same ids, where a tokenizer is Perceiver's; else the tokenizer itself.

    Its bytes have the names that byte-level BPE gives them, instead of the characters of those numbers.
    """
    if type(tokenizer).__name__ != SLOW:
        return tokenizer
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    added = dict(sorted(tokenizer.added_tokens_decoder.items()))
    first = tokenizer.convert_tokens_to_ids("\0")
    vocabulary = {str(token): id_ for id_, token in added.items()}
    vocabulary |= {stand_in: first + byte for stand_in, byte in _stand_ins().items()}
    rust = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens([AddedToken(str(token), special=True) for token in added.values() if token.special])
    rust.add_tokens([token for token in added.values() if not token.special])
    begin, end = tokenizer.cls_token, tokenizer.sep_token
    rust.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(begin, tokenizer.cls_token_id), (end, tokenizer.sep_token_id)],
    )
    roles = {role: getattr(tokenizer, role) for role in ROLES}
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        **roles,
    )


def _stand_ins() -> dict[str, int]:
    """Byte by the printable character that stands for it in byte-level BPE.

    Bytes that are printable in Latin-1 stand for themselves, the others, in order, for the characters from 256 on
    (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}
