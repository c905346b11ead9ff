"""Tokenizers of which there is just a vocabulary."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertTokenizerFast
from transformers.convert_slow_tokenizer import import_protobuf

from components.tokenizers.bare_vocabularies import find_vocabulary
from components.tokenizers.loading import load_local, refuse_unmaskable
from foundation.errors import ModelError

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "##es", "uber", "."]
LETTERS = [f"▁{word}" for word in ("the", "fox", "")] + list("eshtfox.")
TEXT = "The foxes."


def write(directory: Path, words: list[str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    return directory / "vocab.txt"


def sentencepiece(file: Path, special: list[str], pieces: list[str] = LETTERS) -> Path:
    """A model as `spm_train` writes it."""
    proto = import_protobuf()
    model = proto.ModelProto()
    for place, piece in enumerate([*special, *pieces]):
        kind = 2 if "unk" in piece.lower() else 3 if place < len(special) else 1
        model.pieces.add(piece=piece, score=-float(place), type=kind)
    model.trainer_spec.model_type = 1
    model.trainer_spec.unk_id = next(place for place, piece in enumerate(special) if "unk" in piece.lower())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize("as_file", [True, False])
def test_berts_vocabulary_is_read_in_the_case_that_it_is_written_in(as_file, tmp_path) -> None:
    file = write(tmp_path / "lower", BERT)
    tokenizer, notes = load_local(file if as_file else file.parent)
    assert tokenizer.convert_ids_to_tokens(tokenizer("The [MASK] Über foxes.")["input_ids"]) == [
        *("[CLS]", "the", "[MASK]", "uber", "fox", "##es", ".", "[SEP]")
    ]
    assert "[MASK]" in notes[0]
    assert "capital letters as small ones, without accents" in notes[1]
    accents, _ = load_local(write(tmp_path / "accents", [*BERT, "über"]))
    assert accents.tokenize("Über") == ["über"]
    cased, notes = load_local(write(tmp_path / "cased", [*BERT, "The"]))
    assert cased.tokenize("The the") == ["The", "the"]
    assert "capital letters as they are" in notes[1]


def test_other_usual_names_are_found_and_what_is_missing_is_named(tmp_path) -> None:
    names = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    tokenizer, _ = load_local(write(tmp_path / "other", [names.get(word, word) for word in BERT]))
    assert tokenizer.mask_token == "<mask>"
    assert tokenizer("the")["input_ids"] == [2, 5, 3]
    with pytest.raises(ModelError, match=r"lacks a mask token \(\[MASK\] or <mask>\), a pad token"):
        load_local(write(tmp_path / "few", [word for word in BERT if word not in ("[MASK]", "[PAD]")]))
    with pytest.raises(ModelError, match="## begins what continues a word"):
        load_local(write(tmp_path / "words", [word for word in BERT if word != "##es"]))


def test_a_tokenizer_json_alone_keeps_its_tokens_as_they_are(tmp_path) -> None:
    whole = BertTokenizerFast(str(write(tmp_path / "whole", BERT)))
    whole.save_pretrained(tmp_path / "whole")
    file = tmp_path / "alone" / "tokenizer.json"
    file.parent.mkdir()
    shutil.copy(tmp_path / "whole" / "tokenizer.json", file)
    for path in (file, file.parent):
        tokenizer, _ = load_local(path)
        assert tokenizer(TEXT)["input_ids"] == whole(TEXT)["input_ids"]
        assert (tokenizer.mask_token, tokenizer.pad_token_id) == ("[MASK]", 0)
        assert tokenizer.get_added_vocab() == whole.get_added_vocab()


@pytest.mark.parametrize(
    ("name", "special", "kind", "expected", "size"),
    [
        ("sentencepiece.bpe.model", ["<unk>", "<s>", "</s>"], "XLMRoberta", ["<s>", "▁", "T", "</s>"], 5),
        ("spiece.model", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "Albert", ["[CLS]", "▁the", "[SEP]"], 5),
        ("spm.model", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "DebertaV2", ["[CLS]", "▁", "T", "[SEP]"], 5),
    ],
)
def test_sentencepieces_models_are_read_without_its_package(name, special, kind, expected, size, tmp_path) -> None:
    file = sentencepiece(tmp_path / name, special)
    assert find_vocabulary(tmp_path) == file
    tokenizer, notes = load_local(tmp_path)
    assert type(tokenizer).__name__ == f"{kind}TokenizerFast"
    assert kind in notes[0]
    assert tokenizer.tokenize("the fox") == ["▁the", "▁fox"]
    ids = tokenizer("the fox")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == [expected[0], "▁the", "▁fox", expected[-1]]
    assert len(tokenizer) == len(LETTERS) + size
    assert tokenizer.mask_token_id is not None
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved("the <mask> fox [MASK].")["input_ids"] == tokenizer("the <mask> fox [MASK].")["input_ids"]


def test_a_configuration_beside_a_sentencepiece_model_says_whose_it_is(tmp_path) -> None:
    """As in DeBERTa-v3's repository: no tokenizer.json, and no class but the architecture's."""
    sentencepiece(tmp_path / "spm.model", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "vocab_type": "spm"}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
    tokenizer, _ = load_local(tmp_path)
    assert type(tokenizer).__name__ == "DebertaV2TokenizerFast"
    assert tokenizer.tokenize("The") == ["▁the"]


def test_what_is_no_vocabulary_is_refused(tmp_path) -> None:
    for name, content, message in (
        ("spm.model", b"\xff\xff", "undamaged"),
        ("vocab.json", b'{"a": 0}', r"merges\.txt"),
        ("vocab.json", b"{", "a local tokenizer must be a folder"),
        ("vocab.txt", b"\xff\xfe\x00", "a local tokenizer must be a folder"),
        ("vocab.txt", b"", "lacks a mask token"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            load_local(tmp_path / name)
    with pytest.raises(ModelError, match=r"begins with <unk>, a, b"):
        load_local(sentencepiece(tmp_path / "x.model", ["<unk>", "a", "b"]))


def test_described_tokenizers_that_would_fail_later_are_refused(tmp_path):
    folder = write(tmp_path, BERT).parent
    (folder / "config.json").write_text('{"model_type": "bert"}')
    refuse_unmaskable(load_local(folder)[0], "from the folder")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": "long"}')
    with pytest.raises(ModelError, match=r"model_max_length .* must be a number\. Received: 'long' from the folder"):
        refuse_unmaskable(load_local(folder)[0], "from the folder")
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("")
    with pytest.raises(ModelError, match=r"cut any text.*Missing \[UNK\]"):
        refuse_unmaskable(load_local(folder)[0], "from the folder")
