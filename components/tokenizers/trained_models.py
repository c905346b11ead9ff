"""The tokenizers that are trained here: what each cuts a text into, and how its vocabulary is found.

Every one has its special tokens at the ids 0 to 4, in RoBERTa's order: begin, padding, end, unknown, mask. Padding is
at 1 because TensorFlow's RoBERTa counts positions by that id; other architectures take any.

The Rust trainers begin with whatever their hash tables give first, so that ties fall differently in every process.
Byte-level BPE has a fixed alphabet, which decides them all. For the others the alphabet is counted and put in order
here, and a unigram model's scores, sums of many small numbers, are rounded.
"""

import collections
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.tokenizers.params import CHARACTER, TokenizerParams

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import PreTrainedTokenizerFast

    Pieces = Callable[[RustTokenizer], Iterator[list[str]]]
    """Reads the text in pieces that end where a tokenizer's words end. Each call reads it anew."""

ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""RoBERTa's special tokens in the order of their ids, 0 to 4 (RoBERTa itself has `<mask>` last)."""
BERT_TOKENS = {
    "cls_token": "[CLS]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
CONTINUES = "##"
LEAST_COMMON_PART = 3
"""At most one in so many tokens of a vocabulary is a single character (twice that with `##`), so that words fit too."""
SCORE_DIGITS = 5


def byte_level_bpe(pieces: "Pieces", params: TokenizerParams) -> "PreTrainedTokenizerFast":
    """Byte-level BPE with RoBERTa's special tokens and their template: no text has an unknown token.

    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Liu et al. 2019, RoBERTa
    (https://arxiv.org/abs/1907.11692).
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import RobertaTokenizerFast

    backend = RustTokenizer(models.BPE())
    if params.lowercase:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        max_token_length=params.longest_token,
        special_tokens=[_special(token) for token in ROBERTA_TOKENS.values()],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # every byte has a token, so that none is unknown
        show_progress=False,
    )
    words = RustTokenizer.from_str(backend.to_str())  # training locks `backend` itself
    backend.train_from_iterator(pieces(words), trainer)
    backend.post_processor = processors.RobertaProcessing(
        sep=("</s>", backend.token_to_id("</s>")),
        cls=("<s>", backend.token_to_id("<s>")),
        trim_offsets=True,
        add_prefix_space=False,
    )
    return RobertaTokenizerFast(
        tokenizer_object=backend,
        model_max_length=params.model_max_length,
        **_named(ROBERTA_TOKENS),
        cls_token="<s>",
        sep_token="</s>",
    )


def wordpiece(pieces: "Pieces", params: TokenizerParams) -> "PreTrainedTokenizerFast":
    """BERT's WordPiece: words and punctuation apart, `##` before what continues a word.

    Devlin et al. 2018 (https://arxiv.org/abs/1810.04805). The vocabulary is found by BPE's merges, as in the
    `tokenizers` library. A word with a character that isn't in the vocabulary is one unknown token.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizerFast

    words = RustTokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix=CONTINUES))
    words.normalizer = normalizers.BertNormalizer(lowercase=params.lowercase)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    template = words.to_str()
    letters = alphabet(
        pieces(RustTokenizer.from_str(template)),
        words.normalizer.normalize_str,
        most=params.vocab_size // LEAST_COMMON_PART,
        least_frequency=1,
    )
    # Named here, the letters within words have their ids before the trainer meets them in some order of its own.
    first = [*BERT_TOKENS.values(), *letters, *(CONTINUES + letter for letter in letters if not _is_ideograph(letter))]
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        max_token_length=params.longest_token,
        special_tokens=first,
        limit_alphabet=len(letters),
        initial_alphabet=letters,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    words.train_from_iterator(pieces(RustTokenizer.from_str(template)), trainer)
    vocabulary = json.loads(words.to_str())["model"]["vocab"]

    backend = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=CONTINUES))
    backend.normalizer, backend.pre_tokenizer = words.normalizer, words.pre_tokenizer
    backend.decoder = decoders.WordPiece(prefix=CONTINUES)
    return _finished(BertTokenizerFast, backend, BERT_TOKENS, params, do_lower_case=params.lowercase)


def unigram(pieces: "Pieces", params: TokenizerParams) -> "PreTrainedTokenizerFast":
    """SentencePiece's unigram model over NFKC text with XLM-RoBERTa's special tokens.

    Kudo 2018, "Subword Regularization" (https://arxiv.org/abs/1804.10959). A character that isn't in the vocabulary is
    an unknown token, also together with its neighbors.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    words = RustTokenizer(models.Unigram())
    words.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), *([normalizers.Lowercase()] if params.lowercase else [])]
    )
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    template = words.to_str()
    letters = alphabet(
        pieces(RustTokenizer.from_str(template)),
        words.normalizer.normalize_str,
        most=params.vocab_size // LEAST_COMMON_PART,
        least_frequency=1,
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=params.vocab_size,
        max_piece_length=params.longest_token,
        special_tokens=list(ROBERTA_TOKENS.values()),
        unk_token="<unk>",
        show_progress=False,
    )
    # Every letter that the trainer sees becomes a token, so it sees none of the rarest.
    normal = words.normalizer.normalize_str
    rarest = re.compile(rf"[^\s{re.escape(''.join(letters))}]")
    only_letters = (
        [rarest.sub(" ", normal(text)) for text in texts] for texts in pieces(RustTokenizer.from_str(template))
    )
    words.train_from_iterator(only_letters, trainer)
    found = [(piece, round(score, SCORE_DIGITS)) for piece, score in json.loads(words.to_str())["model"]["vocab"]]
    special = [(token, 0.0) for token in ROBERTA_TOKENS.values()]
    learned = sorted((pair for pair in found if pair not in special), key=lambda pair: (-pair[1], pair[0]))
    return _of_pieces([*special, *learned], words.normalizer, words.pre_tokenizer, "always", params)


def character(pieces: "Pieces", params: TokenizerParams) -> "PreTrainedTokenizerFast":
    """One token a character, blanks and line ends among them, with RoBERTa's special tokens.

    It is a unigram model whose pieces are single characters. Neighboring characters that aren't in the vocabulary are
    one unknown token together.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, normalizers, pre_tokenizers

    words = RustTokenizer(models.Unigram())
    words.normalizer = normalizers.Lowercase() if params.lowercase else None
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    normal: Callable[[str], str] = words.normalizer.normalize_str if words.normalizer else str
    letters = alphabet(
        pieces(RustTokenizer.from_str(words.to_str())),
        normal,
        most=params.vocab_size - len(ROBERTA_TOKENS),
        least_frequency=params.min_frequency,
        blank=words.pre_tokenizer.replacement,
    )
    vocabulary = [(token, 0.0) for token in (*ROBERTA_TOKENS.values(), *letters)]
    return _of_pieces(vocabulary, words.normalizer, words.pre_tokenizer, "never", params)


def alphabet(
    pieces: Iterator[list[str]],
    normal: Callable[[str], str],
    *,
    most: int,
    least_frequency: int,
    blank: str | None = None,
) -> list[str]:
    """The most frequent characters of a normalized text, by code point.

    Args:
        pieces: The text.
        normal: Normalizes a piece.
        most: How many there are, at most.
        least_frequency: How often each must occur.
        blank: What counts for a blank; without it, white space is no letter.
    """
    counts: collections.Counter[str] = collections.Counter()
    for texts in pieces:
        for text in texts:
            counts.update(normal(text))
    if blank is None:
        counts = collections.Counter({each: count for each, count in counts.items() if not each.isspace()})
    else:
        counts[blank] += counts.pop(" ", 0)
    frequent = sorted(
        (each for each, count in counts.items() if count >= least_frequency), key=lambda each: (-counts[each], each)
    )
    return sorted(frequent[:most])


def _of_pieces(
    vocabulary: list[tuple[str, float]], normalizer: Any, pre_tokenizer: Any, prepends: str, params: TokenizerParams
) -> "PreTrainedTokenizerFast":
    """A unigram model's tokenizer."""
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import decoders, models
    from transformers import PreTrainedTokenizerFast

    unknown = list(ROBERTA_TOKENS).index("unk_token")
    backend = RustTokenizer(models.Unigram(vocabulary, unk_id=unknown))
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    backend.decoder = decoders.Metaspace(prepend_scheme=prepends)
    names = {**ROBERTA_TOKENS, "cls_token": "<s>", "sep_token": "</s>"}
    return _finished(PreTrainedTokenizerFast, backend, names, params)


def _finished(
    loader: Any, backend: "RustTokenizer", names: Mapping[str, str], params: TokenizerParams, **options: Any
) -> "PreTrainedTokenizerFast":
    """Gives a tokenizer its special tokens and their template."""
    from tokenizers import processors

    begin, end = names["cls_token"], names["sep_token"]
    takes_blank = params.model != CHARACTER  # a blank is a token there
    tokens = [*dict.fromkeys(names.values())]
    backend.add_special_tokens([_special(token, takes_blank) for token in tokens])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, backend.token_to_id(token)) for token in (begin, end)],
    )
    return loader(
        tokenizer_object=backend,
        model_max_length=params.model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **_named(names, takes_blank),
        **options,
    )


def _special(token: str, takes_blank: bool = True) -> Any:
    """A special token. As in RoBERTa, `<mask>` includes the blank before it: "a <mask>" has nothing between."""
    from tokenizers import AddedToken

    return AddedToken(token, lstrip=takes_blank and token == "<mask>", normalized=False, special=True)


def _named(names: Mapping[str, str], takes_blank: bool = True) -> dict[str, Any]:
    return {name: _special(token, takes_blank) if name == "mask_token" else token for name, token in names.items()}


def _is_ideograph(letter: str) -> bool:
    """Whether BERT's normalizer puts blanks around a character, which then continues no word."""
    from tokenizers import normalizers

    return normalizers.BertNormalizer(lowercase=False).normalize_str(letter) == f" {letter} "
