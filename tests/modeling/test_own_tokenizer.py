"""A tokenizer beside a checkpoint that carries its own: the same words at the same ids, or a refusal."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, file_download
from huggingface_hub.utils import reset_sessions
from transformers import AutoTokenizer, BertTokenizer, BertTokenizerFast

from components.contract.artifacts import Blocks, Tokenizer
from components.contract.manifest import write
from components.modeling.configuration import plain_config
from components.modeling.own_tokenizer import differences, load_tokenizer, require_own_vocabulary
from components.train import Train
from components.training.inputs import PlannedInputs, require_own_tokenizer
from components.training.params import TrainParams
from components.training.starting_model import model_config
from foundation.errors import ModelError
from tests.loopback_hub.server import Account, serve

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *(f"[unused{number}]" for number in range(5)), *(f"word{number}" for number in range(90))]
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def bert(directory: Path, words: list[str], *, fast: bool = True, **options: object) -> Path:
    """A WordPiece tokenizer's folder, as a fast or a slow one saves it."""
    directory.mkdir(parents=True)
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    made = (BertTokenizerFast if fast else BertTokenizer)(str(directory / "vocab.txt"), **options)
    made.save_pretrained(directory)
    return directory


def swapped(words: list[str], one: int, other: int) -> list[str]:
    words = list(words)
    words[one], words[other] = words[other], words[one]
    return words


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint's folder but for its weights, which none of this reads."""
    directory = bert(tmp_path / "checkpoint", WORDS)
    plain_config("bert", {"vocab_size": 104, **SIZES}).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS, None),
        (swapped(WORDS, 20, 30), r"2 of 100 ids .*: 20 is 'word20', not 'word10', 30 is 'word10', not 'word20'\. "),
        (
            [*WORDS[:10], *(f"other{number}" for number in range(90))],
            r"90 of 100 ids .* 12 is 'other2', not 'word2', …",
        ),
        (swapped(WORDS, 4, 50), r"4 is 'word40', not '\[MASK\]'"),
        # A token that no text becomes may stand anywhere, but no word in the place of another.
        (swapped(WORDS, 5, 6), None),
        (swapped(WORDS, 5, 50), r"1 of 100 ids .*: 5 is 'word40', not '\[unused0\]'"),
        # What the model has no use for is free.
        ([*WORDS[:5], "tardigrade", *WORDS[6:]], None),
        ([*WORDS, "tardigrade", "axolotl"], None),
        (WORDS[:95], None),
    ],
)
def test_words_are_compared_one_by_one(fast, words, message, checkpoint, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(bert(tmp_path / "other", words, fast=fast), use_fast=fast)
    assert tokenizer.is_fast is fast
    if message is None:
        require_own_vocabulary(checkpoint, tokenizer)
    else:
        with pytest.raises(ModelError, match=message) as caught:
            require_own_vocabulary(checkpoint, tokenizer)
        assert f"--tokenizer.pretrained {checkpoint}" in str(caught.value)


def test_a_slow_tokenizer_beside_the_weights_counts_too(tmp_path):
    checkpoint = bert(tmp_path / "slow", WORDS, fast=False)
    assert not (checkpoint / "tokenizer.json").exists()
    good = AutoTokenizer.from_pretrained(checkpoint)
    require_own_vocabulary(checkpoint, good)
    with pytest.raises(ModelError, match="2 of 100 ids"):
        require_own_vocabulary(checkpoint, AutoTokenizer.from_pretrained(bert(tmp_path / "b", swapped(WORDS, 20, 30))))


def test_added_tokens_count_as_words(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(["tardigrade"])
    require_own_vocabulary(checkpoint, tokenizer)
    tokenizer.save_pretrained(checkpoint)
    other = AutoTokenizer.from_pretrained(checkpoint)
    other.add_tokens(["axolotl"])
    require_own_vocabulary(checkpoint, other)
    assert differences({"axolotl": 100}, tokenizer.get_vocab()) == [(100, "axolotl", "tardigrade")]


def test_a_few_words_of_ones_own_are_free_but_not_a_vocabulary_of_them():
    known = {f"word{number}": number for number in range(100)}
    assert not differences({**known, **{f"own{number}": 100 + number for number in range(10)}}, known)
    assert len(differences({**known, **{f"own{number}": 100 + number for number in range(50)}}, known)) == 50


def test_where_there_is_no_tokenizer_nothing_is_compared(tmp_path, caplog):
    tokenizer = AutoTokenizer.from_pretrained(bert(tmp_path / "other", WORDS))
    (tmp_path / "bare").mkdir()
    plain_config("bert", SIZES).save_pretrained(tmp_path / "bare")
    assert load_tokenizer(tmp_path / "bare") is None
    require_own_vocabulary(tmp_path / "bare", tokenizer)
    assert not caplog.records
    (tmp_path / "bare" / "tokenizer.json").write_text("{")
    require_own_vocabulary(tmp_path / "bare", tokenizer)
    assert "its words aren't compared" in caplog.text


def preflight(checkpoint: Path | str, tokenizer: Tokenizer, name: str | None = None) -> None:
    step = Train(Blocks(None), tokenizer, TrainParams(pretrained=str(checkpoint)), PlannedInputs(tokenizer=name))
    require_own_tokenizer(step.params, step.tokenizer, step.planned, model_config(step.params))


def test_preflight_refuses_what_is_named_and_what_is_there(checkpoint, tmp_path):
    other = bert(tmp_path / "other", swapped(WORDS, 20, 30))
    preflight(checkpoint, Tokenizer(None), str(checkpoint))
    preflight(checkpoint, Tokenizer(None))  # one that is to be trained: not known yet
    preflight(checkpoint, Tokenizer(None), str(bert(tmp_path / "copy", WORDS)))
    with pytest.raises(ModelError, match="2 of 100 ids"):
        preflight(checkpoint, Tokenizer(None), str(other))
    with pytest.raises(ModelError, match="a tokenizer of 20 tokens"):
        preflight(checkpoint, Tokenizer(None), str(bert(tmp_path / "few", WORDS[:20])))
    shutil.copytree(other, tmp_path / "made" / "tokenizer")
    write(tmp_path / "made", {"type": "Tokenizer"})
    with pytest.raises(ModelError, match="2 of 100 ids"):
        preflight(checkpoint, Tokenizer(tmp_path / "made"))


def test_a_checkpoint_on_the_hub_is_asked_for_its_own(checkpoint, tmp_path, monkeypatch):
    with serve(tmp_path / "hub") as hub:
        hub.accounts["hf_ada"] = Account("ada")
        monkeypatch.setenv("HF_TOKEN", "hf_ada")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        addresses = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
        reset_sessions()
        hub.create("ada/tiny")
        HfApi().upload_folder(repo_id="ada/tiny", folder_path=checkpoint)
        preflight("ada/tiny", Tokenizer(None), str(checkpoint))
        with pytest.raises(ModelError, match=r"2 of 100 ids .* of ada/tiny: .*--tokenizer\.pretrained ada/tiny"):
            preflight("ada/tiny", Tokenizer(None), str(bert(tmp_path / "other", swapped(WORDS, 20, 30))))
    reset_sessions()
