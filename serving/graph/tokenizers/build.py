"""Puts a Hugging Face fast tokenizer into the graph, or says why it can't be there."""

import json
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.bert_words import BertWords
from serving.graph.tokenizers.byte_level_bpe import ByteLevelBPE, token_bytes
from serving.graph.tokenizers.byte_level_words import ByteLevelWords
from serving.graph.tokenizers.character_bpe import CharacterBPE
from serving.graph.tokenizers.decoder import decoder_of
from serving.graph.tokenizers.in_graph import InGraphTokenizer, PieceTokenizer
from serving.graph.tokenizers.metaspace_words import MetaspaceWords
from serving.graph.tokenizers.normalization.normalizers import InNormalText, Normalizer
from serving.graph.tokenizers.probes import refuse_differences
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.split_words import SplitWords
from serving.graph.tokenizers.unigram import Unigram
from serving.graph.tokenizers.wordpiece import WordPiece

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Their fast tokenizers run Python code, which `tokenizer.json` doesn't hold.
_PYTHON_PRE_TOKENIZERS = ("RoFormerTokenizerFast",)


def build_in_graph_tokenizer(
    tokenizer: "PreTrainedTokenizerFast", vocabulary_size: int | None = None, most_tokens: int | None = None
) -> InGraphTokenizer:
    """Makes the tokenizer of TensorFlow ops, and compares it with the original on a set of hard texts.

    Args:
        tokenizer: A fast tokenizer with a mask token.
        vocabulary_size: How many ids the model knows; by default, as many as the tokenizer.
        most_tokens: The most tokens of a text that the model takes, so that a text of a single huge word needn't be
            tokenized to be refused; by default, any number.

    Raises:
        ModelError: If the graph can't give every text the tokenizer's own ids.

    Example:
        tokenizer = AutoTokenizer.from_pretrained("distilbert/distilroberta-base")
        in_graph = build_in_graph_tokenizer(tokenizer)
        texts = ["Paris is in <mask>.", "naïve 🙂"]
        assert in_graph.encode(tf.constant(texts)).to_list() == tokenizer(texts)["input_ids"]
    """
    if not getattr(tokenizer, "is_fast", False):
        raise refusal(f"{type(tokenizer).__name__}, which isn't a fast tokenizer")
    if type(tokenizer).__name__ in _PYTHON_PRE_TOKENIZERS:
        raise refusal(f"{type(tokenizer).__name__}, whose pre-tokenizer is Python code")
    if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
        raise refusal("a tokenizer without a mask token or without a padding token")
    if getattr(tokenizer, "split_special_tokens", False):
        raise refusal("a tokenizer that splits special tokens")
    backend = tokenizer.backend_tokenizer
    settings = json.loads(backend.to_str())
    vocabulary = tokenizer.get_vocab()
    size = max(vocabulary.values()) + 1
    if vocabulary_size is not None and size > vocabulary_size:
        raise refusal(f"token id {size - 1}, while the model knows {vocabulary_size} ids")
    pieces = _piece_tokenizer(backend, settings, most_tokens)
    before, after = _special_ids_around(tokenizer)
    built = InGraphTokenizer(
        added_tokens=AddedTokens(
            token
            for token in settings["added_tokens"]
            if not (token["normalized"] and isinstance(pieces, InNormalText))
        ),
        pieces=pieces,
        decoder=decoder_of(
            backend, settings, vocabulary, vocabulary_size or size, bool(tokenizer.clean_up_tokenization_spaces)
        ),
        vocabulary=vocabulary,
        before=before,
        after=after,
        mask_token_id=tokenizer.mask_token_id,
        pad_token_id=tokenizer.pad_token_id,
        truncation_side=tokenizer.truncation_side,
    )
    refuse_differences(built, tokenizer)
    return built


def _piece_tokenizer(backend: Any, settings: Mapping[str, Any], most_tokens: int | None) -> PieceTokenizer:
    """The tokenizer of pieces for the model that `tokenizer.json` describes."""
    model, normalizer, pre_tokenizer = settings["model"], settings["normalizer"], settings["pre_tokenizer"] or {}
    added = {token["content"]: token["id"] for token in settings["added_tokens"]}
    looked_for_in_normal_text = [token for token in settings["added_tokens"] if token["normalized"]]
    kinds = (model["type"], _kind(normalizer), _kind(pre_tokenizer))
    if kinds == ("WordPiece", "BertNormalizer", "BertPreTokenizer") and not looked_for_in_normal_text:
        return WordPiece(model, added, BertWords(normalizer))
    if normalizer is not None:
        looked_for_in_normal_text = [
            {**token, "content": backend.normalizer.normalize_str(token["content"])}
            for token in looked_for_in_normal_text
        ]
        for token in looked_for_in_normal_text:
            if not token["content"] or added.setdefault(token["content"], token["id"]) != token["id"]:
                raise refusal(f"the added token {token['id']}, of which normalization makes {token['content']!r}")
    pieces: PieceTokenizer
    words = _byte_level_words(pre_tokenizer) if model["type"] == "BPE" else None
    if words is not None:
        whole = {token_bytes(word): token for word, token in _whole_words(backend.model, model["vocab"], added).items()}
        pieces = ByteLevelBPE(model, whole, added, words)
        # Words that a user added are looked for after the special tokens, in what stands between those.
        if normalizer is None and all(token["special"] for token in looked_for_in_normal_text):
            return pieces
    elif kinds[::2] == ("WordPiece", "BertPreTokenizer"):
        pieces = WordPiece(model, added, BertWords(None))
    elif model["type"] == "Unigram" and pre_tokenizer:
        whole = {word.encode(): token for word, token in _whole_words(backend.model, dict(model["vocab"]), ()).items()}
        pieces = Unigram(model, whole, added, MetaspaceWords(pre_tokenizer), most_tokens)
    elif model["type"] == "BPE" and _leaves_texts_whole(pre_tokenizer, normalizer):
        merging = backend.model
        if model.get("ignore_merges"):
            from tokenizers import Tokenizer

            merging = Tokenizer.from_str(json.dumps({**settings, "model": {**model, "ignore_merges": False}})).model
        pieces = CharacterBPE(model, _whole_words(merging, model["vocab"], ()), added)
    else:
        raise refusal(
            "model {}, normalizer {}, pre-tokenizer {}: not among byte-level BPE, BPE of characters without words, "
            "BERT's WordPiece and SentencePiece's unigram".format(*kinds)
        )
    return InNormalText(Normalizer(normalizer), AddedTokens(looked_for_in_normal_text), pieces)


def _byte_level_words(pre_tokenizer: Mapping[str, Any]) -> ByteLevelWords | SplitWords | None:
    """What cuts a text into words that become bytes; None where they don't."""
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    kinds = [_kind(part) for part in parts]
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return ByteLevelWords(parts[0]["add_prefix_space"])
    if kinds == ["Split", "ByteLevel"] and not (parts[1].get("use_regex", True) or parts[1]["add_prefix_space"]):
        return SplitWords(parts[0])
    return None


def _leaves_texts_whole(pre_tokenizer: Mapping[str, Any], normalizer: Mapping[str, Any] | None) -> bool:
    """Whether there is no pre-tokenizer, or one that splits at blanks, which the normalizer leaves none of."""
    if not pre_tokenizer:
        return True
    blank = {"String": " "}
    return (
        (pre_tokenizer["type"], pre_tokenizer.get("pattern")) == ("Split", blank)
        and (_kind(normalizer), (normalizer or {}).get("pattern")) == ("Replace", blank)
        and " " not in (normalizer or {})["content"]
    )


def _kind(part: Mapping[str, Any] | None) -> str:
    return str(part["type"]) if part else "none"


def _whole_words(model: Any, vocabulary: Iterable[str], added: Container[str]) -> dict[str, int]:
    """The tokens that the model leaves whole when they come as a word, and their ids."""
    from tokenizers import Tokenizer

    tokens = [token for token in vocabulary if token not in added]
    encodings = Tokenizer(model).encode_batch_fast(tokens, add_special_tokens=False)
    return {
        token: encoding.ids[0]
        for token, encoding in zip(tokens, encodings, strict=True)
        if len(encoding.ids) == 1 and model.id_to_token(encoding.ids[0]) == token
    }


def _special_ids_around(tokenizer: "PreTrainedTokenizerFast") -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after every text."""
    # Not the Rust tokenizer alone, which also pads and truncates where its file says so.
    encoding = tokenizer("a").encodings[0]
    inside = [position for position, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
    if not inside:
        raise refusal("a tokenizer that finds no token in the text 'a'")
    return encoding.ids[: inside[0]], encoding.ids[inside[-1] + 1 :]
