"""Sentences to try a model on: of the corpus, in its script, with one word that a mask can stand for."""

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from components.contract import reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Tokenizer
from components.contract.mask_placeholder import MASK
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate
from components.evaluation import sample_sentences
from components.evaluation.params import EvaluateParams
from components.export import Export
from components.exporting.params import ExportParams
from tests import reports as complete
from tests.finished import finish

TEXTS = {
    "English": ["See http://x.y for more. The patient was given a small dose of aspirin. <b>Bold</b> words."],
    "Turkish": ["Kitapları okumak insanın ufkunu genişletir ve düşünmeyi öğretir. Bu da bir cümledir."],
    "Chinese": ["我爱北京天安门，天安门上太阳升。今天的天气非常好，我们一起去公园散步吧！"],
    "Arabic": ["القاهرة هي عاصمة مصر وأكبر مدنها من حيث عدد السكان. يحب الناس القراءة في المساء."],
    "Hindi": ["भारत एक विशाल देश है जहाँ अनेक भाषाएँ बोली जाती हैं। पानी जीवन है।"],
    "Thai": ["ประเทศไทยมีอาหารที่อร่อยและมีชื่อเสียงไปทั่วโลกมากมายหลายอย่าง"],
    "DNA": ["ACGTTGCATGCCGATTACAGGCATCGGATCGATTACGATCGGCTAGCTAGGATCG" * 9],
}
SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
EVERY = [text for texts in TEXTS.values() for text in texts]


def byte_level(texts):
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=[*SPECIAL.values()], initial_alphabet=alphabet)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def word_piece(texts):
    backend = Backend(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=900, special_tokens=[*SPECIAL.values()]))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def characters(texts):
    names = [*SPECIAL.values(), *sorted(set("".join(texts)))]
    backend = Backend(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


TOKENIZERS = {"byte-level BPE": byte_level(EVERY), "WordPiece": word_piece(EVERY), "characters": characters(EVERY)}


def require_fitting(sentence, text, tokenizer, longest):
    before, after = sentence.split(MASK)
    whole = " ".join(text.split())
    place = whole.find(before)
    assert any(
        whole.startswith(before, place) and after in whole[place + len(before) :]
        for place in range(len(whole))
        if whole.startswith(before, place)
    ), (sentence, place)
    assert len(tokenizer(sentence.replace(MASK, tokenizer.mask_token))["input_ids"]) <= longest


def choose_sentences(*arguments, **options):
    """The sentences' texts alone."""
    return tuple(sentence.text for sentence in sample_sentences.choose_sentences(*arguments, **options))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("longest", [8, 64])
def test_a_corpus_has_a_sentence_in_any_script(language, kind, longest):
    tokenizer, texts = TOKENIZERS[kind], TEXTS[language]
    sentences = choose_sentences(texts, tokenizer, count=2, longest=longest)
    assert sentences == choose_sentences(texts, tokenizer, count=2, longest=longest)
    assert len(sentences) == 1, sentences
    require_fitting(sentences[0], texts[0], tokenizer, longest)


def test_the_longest_whole_word_of_a_sentence_that_reads_well_is_masked():
    tokenizer = TOKENIZERS["byte-level BPE"]
    assert choose_sentences(TEXTS["English"], tokenizer, count=1, longest=64) == (
        "The <mask> was given a small dose of aspirin.",
    )
    assert choose_sentences(TEXTS["Turkish"], tokenizer, count=1, longest=64) == (
        "Kitapları okumak insanın ufkunu <mask> ve düşünmeyi öğretir.",
    )


def test_the_word_that_was_masked_is_kept():
    [sentence] = sample_sentences.choose_sentences(TEXTS["English"], TOKENIZERS["byte-level BPE"], count=1, longest=64)
    assert sentence.word == "patient"
    assert sentence.text.replace(MASK, sentence.word) in TEXTS["English"][0]


def test_each_sentence_is_of_another_record_and_none_stands_twice():
    texts = ["The dose was small. The patient was given aspirin.", "The dose was small.", *EVERY]
    sentences = choose_sentences(texts, TOKENIZERS["byte-level BPE"], count=5, longest=64)
    assert len(set(sentences)) == len(sentences) == 5
    assert sum("dose was small" in sentence.replace(MASK, "small") for sentence in sentences) <= 1


def test_what_has_no_word_has_no_sentence():
    for texts in ([], [" ", "...", "12 34 56"], ["<mask>"], [f"a {MASK} b"]):
        assert choose_sentences(texts, TOKENIZERS["WordPiece"], count=3, longest=64) == ()


def test_a_huge_record_is_quick():
    assert choose_sentences(["a word " * 400_000], TOKENIZERS["byte-level BPE"], count=1, longest=64)


@given(st.text(max_size=300), st.sampled_from(sorted(TOKENIZERS)), st.sampled_from([4, 8, 40]))
def test_any_text_gives_a_sentence_of_it_or_none(text, kind, longest):
    for sentence in choose_sentences([text], TOKENIZERS[kind], count=2, longest=longest):
        assert sentence.count(MASK) == 1
        require_fitting(sentence, text, TOKENIZERS[kind], longest)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """A corpus in Turkish, its tokenizer, and blocks of 32 tokens."""
    directory = tmp_path_factory.mktemp("artifacts")
    for name in ("train", "test"):
        texts = [None, *(f"{TEXTS['Turkish'][0]} {number}" for number in "abc")]
        Dataset.from_dict({"body": texts}).save_to_disk(directory / "corpus/dataset" / name)
    TOKENIZERS["WordPiece"].save_pretrained(directory / "tokenizer/tokenizer")
    (directory / "blocks").mkdir()
    reports.write(directory / "blocks/report.json", complete.blocks(32, text_column="body"))
    kinds = {"corpus": Corpus, "tokenizer": Tokenizer, "blocks": Blocks}
    return {name: finish(directory / name, kind) for name, kind in kinds.items()}


def evaluation_of(artifacts, texts):
    places = (PushedTo("nowhere"), 0.15, EvaluateParams(sample_texts=texts))
    return Evaluate(artifacts["corpus"], artifacts["blocks"], artifacts["tokenizer"], Checkpoint(None), *places)


def test_the_report_and_the_export_take_the_same_sentence_unless_one_is_given(artifacts):
    tokenizer = artifacts["tokenizer"].load()
    chosen = evaluation_of(artifacts, None).sample_texts
    assert next(iter(chosen)) == "Kitapları okumak insanın ufkunu <mask> ve düşünmeyi öğretir."
    assert evaluation_of(artifacts, ()).sample_texts == {}
    assert evaluation_of(artifacts, ("Bir <mask>.",)).sample_texts == {"Bir <mask>.": None}

    def export(example, corpus=artifacts["corpus"]):
        step = Export(Checkpoint(None), artifacts["tokenizer"], ExportParams(example=example), corpus, "body?")
        return step.sentence_of_corpus(tokenizer, 64)

    assert export(None) == next(iter(chosen))
    assert chosen[export(None)] == "genişletir"
    assert export("Bir <mask>.") is None
    assert export(None, corpus=None) is None
