"""Words that are added to a tokenizer."""

import pytest
from transformers import BertTokenizerFast, RobertaTokenizerFast

from components.contract.artifacts import Corpus
from components.tokenizer import PrepareTokenizer
from components.tokenizers.adding import add_words, words_to_add
from components.tokenizers.params import TokenizerParams
from foundation.errors import ConfigError

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "tar", "##di", "##grade", "##s", "mill", "##ion", "ion"]


@pytest.fixture
def bert(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT))
    return BertTokenizerFast(str(tmp_path / "vocab.txt"))


def test_words_come_from_a_list_or_a_file(tmp_path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufefftardigrade\n\n  new   york \r\ntardigrade\n", encoding="utf-8")
    assert words_to_add(str(file)) == words_to_add(["tardigrade", " ", "new york"]) == ["tardigrade", "new york"]
    assert words_to_add(None) == words_to_add([]) == []
    for powershells in ("utf-16-le", "utf-16-be"):
        file.write_bytes("\ufefftardigrade\r\nnew york\r\n".encode(powershells))
        assert words_to_add(str(file)) == ["tardigrade", "new york"]


def test_what_gives_no_word_is_refused(tmp_path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("größe".encode("latin-1"))
    (tmp_path / "no_mark.txt").write_bytes("word".encode("utf-16-le"))
    for given, message in (
        (str(tmp_path / "empty.txt"), "at least one word"),
        ([" "], "at least one word"),
        (str(tmp_path / "latin.txt"), "must be text in UTF-8"),
        (str(tmp_path / "no_mark.txt"), "zero bytes"),
        ("tardigrade", r"no file.*for a list set --tokenizer\.add_tokens '\[\"tardigrade\"\]'"),
        (str(tmp_path), "no file"),
    ):
        with pytest.raises(ConfigError, match=message):
            words_to_add(given)
    with pytest.raises(ConfigError, match=r"add_tokens must be .* a list of words"):
        TokenizerParams(add_tokens=" ")


def test_a_missing_file_of_words_is_named_with_its_option(tmp_path) -> None:
    """Also where the key is made, before anything else is looked at."""
    step = PrepareTokenizer(Corpus(tmp_path), "text", TokenizerParams(add_tokens="tardigrade"))
    with pytest.raises(ConfigError, match=r"set --tokenizer\.add_tokens '\[\"tardigrade\"\]'"):
        step.sources()


def test_a_word_becomes_one_token_where_it_stands_alone(bert) -> None:
    added, notes = add_words(bert, ["tardigrade", "million", "水"])
    assert (added, notes) == (["tardigrade", "million", "水"], [])
    assert [bert.get_vocab()[word] for word in added] == [13, 14, 15]
    expected = ["the", "tardigrade", "tar", "##di", "##grade", "##s"]
    assert bert.tokenize("The TARDIGRADE tardigrades") == expected
    assert bert.tokenize("ions") == ["ion", "##s"]
    assert bert("火水木")["input_ids"][1:-1] == [1, 15, 1], "in a script without blanks it is found anywhere"


def test_what_is_left_out_is_told(bert) -> None:
    words = ["ion", "[MASK]", "x[SEP]y", "Tardigrade", "tardigrade", "\u0301"]
    added, notes = add_words(bert, words)
    assert added == ["Tardigrade"]
    assert len(bert) == len(BERT) + 1
    told = " ".join(notes)
    assert "which are one token already: ion, tardigrade" in told
    assert "which hold a special token: [MASK], x[SEP]y" in told
    assert "nothing to this tokenizer" in told


def test_a_word_takes_its_blank_where_the_mask_does(tmp_path) -> None:
    from components.tokenizers.params import TokenizerParams
    from components.tokenizers.trained_models import byte_level_bpe

    tokenizer: RobertaTokenizerFast = byte_level_bpe(lambda _: iter([["a b"]]), TokenizerParams(vocab_size=261))
    add_words(tokenizer, ["tardigrade"])
    with_word, with_mask = (tokenizer(f"a {word} b")["input_ids"] for word in ("tardigrade", "<mask>"))
    assert with_word == [261 if token == tokenizer.mask_token_id else token for token in with_mask]
