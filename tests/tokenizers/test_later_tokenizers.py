"""Tokenizers as transformers 5 writes them, which transformers 4 refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from components.tokenizers.later_tokenizers import is_of_later_version
from components.tokenizers.loading import load_local
from tests.serving.graph.tokenizers.bpe_tokenizers import esmc

ROLES = ("pad_token", "cls_token", "sep_token", "mask_token")


def written(folder: Path, **settings: Any) -> Path:
    """ESM C's tokenizer, with settings in transformers 5's form."""
    tokenizer = esmc()
    tokenizer.save_pretrained(folder)
    roles = {role: getattr(tokenizer, role) for role in ROLES}
    settings = {"backend": "tokenizers", "model_max_length": 64, **roles, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("settings", "kind", "further"),
    [
        ({"tokenizer_class": "TokenizersBackend"}, "PreTrainedTokenizerFast", []),
        ({"tokenizer_class": "EsmcTokenizer", "chain_break_token": "|"}, "PreTrainedTokenizerFast", ["|"]),
        (
            {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["|", {"content": "X"}]},
            "PreTrainedTokenizerFast",
            ["|", "X"],
        ),
        ({"tokenizer_class": "XLMRobertaTokenizer", "extra_special_tokens": ["|"]}, "XLMRobertaTokenizerFast", ["|"]),
    ],
)
def test_it_is_the_same_tokenizer(settings, kind, further, tmp_path) -> None:
    """And what is saved of it loads anywhere."""
    folder = written(tmp_path / "later", **settings)
    with pytest.raises((ValueError, AttributeError)):
        AutoTokenizer.from_pretrained(folder)
    loaded, notes = load_local(folder)
    assert (type(loaded).__name__, notes, loaded.model_max_length) == (kind, [], 64)
    assert loaded("LA|b<mask>")["input_ids"] == [0, 4, 5, 31, 3, 32, 2]
    assert {getattr(loaded, role) for role in ROLES} == {"<pad>", "<cls>", "<eos>", "<mask>"}
    loaded.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    for tokenizer in (loaded, again):
        assert set(further) <= set(tokenizer.all_special_tokens)
        special = [token in further for token in ("|", "X", "L")]
        assert tokenizer.get_special_tokens_mask([31, 24, 4], already_has_special_tokens=True) == special


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {"tokenizer_class": "Wav2Vec2CTCTokenizer"},
        {"tokenizer_class": "TheirTokenizer", "auto_map": {"AutoTokenizer": ["theirs.TheirTokenizer", None]}},
        {},
    ],
)
def test_other_tokenizers_are_left_to_the_library(settings, tmp_path) -> None:
    """Those that it has a class for, and those that need code of their authors'."""
    assert not is_of_later_version(written(tmp_path / "other", **settings))
