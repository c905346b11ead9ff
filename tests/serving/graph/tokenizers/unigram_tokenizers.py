"""Unigram tokenizers in the shapes that transformers converts sentencepiece models to, trained here."""

import functools
import json
import pydoc_data.topics
import unicodedata

from serving.graph.tokenizers.normalization import charsmap

SCRIPTS = "ÄÖÜßéèêçñ日本語漢字テストעבריתالعربيةहिन्दीไทย한국어👍🏽🙂©®™½①ﬁ"


@functools.cache
def replacements():
    """NFKC and some control characters, as sentencepiece's rule nmt_nfkc has them."""
    found = {}
    for point in [*range(0x20, 0xD800), *range(0xF900, 0x10000), *range(0x1D400, 0x1F200)]:
        character = chr(point)
        normal = unicodedata.normalize("NFKC", character)
        parts = unicodedata.normalize("NFD", character)
        if normal != character:
            found[character] = normal
        elif len(parts) == 2:
            found[parts] = character
    found |= dict.fromkeys(map(chr, [*range(1, 9), *range(0xE, 0x20), 0x7F, 0x8F, 0x200B]), "")
    return found | dict.fromkeys("\t\n\r\u2028\u200e\ufeff", " ")


@functools.cache
def trained_pieces(size=900):
    """Pieces and scores of a model trained on this Python's documentation."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    prose = [paragraph for topic in pydoc_data.topics.topics.values() for paragraph in topic.split("\n\n")][:800]
    tokenizer.train_from_iterator([*prose, *[" ".join(SCRIPTS)] * 20], trainer)
    return tuple(map(tuple, json.loads(tokenizer.to_str())["model"]["vocab"][1:]))


def roberta_like(normalizer, pre_tokenizer, scheme="always", byte_fallback=False, pieces=None, normalized_mask=True):
    """XLM-RoBERTa's special tokens."""
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    if byte_fallback:
        vocabulary += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    vocabulary += [*(pieces or trained_pieces()), ("<mask>", 0.0)]
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return made(vocabulary, normalizer, pre_tokenizer, scheme, byte_fallback, "<mask>", normalized_mask, names)


def albert_like(normalizer, pre_tokenizer, normalized_mask=False):
    """ALBERT's special tokens."""
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*((token, 0.0) for token in special), *trained_pieces()]
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "<pad>", "unk_token": "<unk>"}
    return made(vocabulary, normalizer, pre_tokenizer, "always", False, "[MASK]", normalized_mask, names)


def made(vocabulary, normalizer, pre_tokenizer, scheme, byte_fallback, mask, normalized_mask, names):
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors
    from transformers import PreTrainedTokenizerFast

    unknown = [piece for piece, _ in vocabulary].index("<unk>")
    tokenizer = Tokenizer(models.Unigram(vocabulary, unknown, byte_fallback))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in names.values()])
    tokenizer.add_special_tokens([AddedToken(mask, lstrip=True, normalized=normalized_mask, special=True)])
    first, last = list(names.values())[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token=mask, clean_up_tokenization_spaces=False, model_max_length=64, **names
    )


def families():
    """A function that makes the tokenizer, by the family's name."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    metaspace = pre_tokenizers.Metaspace()
    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    uncased = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    precompiled = normalizers.Precompiled(charsmap.write(replacements()))
    blanks = normalizers.Replace(Regex(" {2,}"), " ")
    xlm_roberta = [
        precompiled,
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁"),
    ]
    rounded = tuple((piece, round(score * 4) / 4) for piece, score in trained_pieces())
    return {
        "albert": lambda: albert_like(normalizers.Sequence([*quotes, *uncased, precompiled, blanks]), metaspace),
        "xlm-roberta": lambda: roberta_like(normalizers.Sequence(xlm_roberta), metaspace),
        "deberta-v2": lambda: albert_like(
            normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip(), precompiled, blanks]),
            pre_tokenizers.Sequence([pre_tokenizers.Punctuation(behavior="isolated"), metaspace]),
        ),
        "camembert on the Hub": lambda: roberta_like(
            normalizers.Sequence([precompiled]),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]),
            normalized_mask=False,
        ),
        "rembert": lambda: albert_like(normalizers.Sequence([*quotes, blanks, *uncased, precompiled]), metaspace, True),
        "byte fallback": lambda: roberta_like(
            None, pre_tokenizers.Metaspace(prepend_scheme="never"), "never", byte_fallback=True
        ),
        "one word, equal scores": lambda: roberta_like(
            precompiled, pre_tokenizers.Metaspace(split=False), pieces=rounded
        ),
    }
