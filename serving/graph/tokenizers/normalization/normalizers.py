"""The normalizers of a `tokenizer.json` in the graph: text to normal text."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.added_tokens import AddedTokens
from serving.graph.tokenizers.in_graph import PieceTokenizer
from serving.graph.tokenizers.literals import WHITE_SPACE_CLASS, literal
from serving.graph.tokenizers.normalization import charsmap
from serving.graph.tokenizers.normalization.character_normalizer import (
    CharacterNormalizer,
    bert_normal_forms,
    normal_forms,
)
from serving.graph.tokenizers.normalization.composition import NFC, Composition
from serving.graph.tokenizers.normalization.precompiled import Precompiled
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import segment_ids, splits_of

# Each looks at one character at a time, except that decomposition also orders marks.
_BY_CHARACTER = ("NFD", "NFKD", "StripAccents", "Lowercase")
_BLANKS = {"Regex": " {2,}"}
_COMPOSITION = {"type": "Composition"}
# Nothing decomposes into a character for private use.
_SEPARATOR = "\ue000"

CharacterStage = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class Normalizer(tf.Module):
    """Runs one normalizer after the other.

    Args:
        settings: `normalizer` of a `tokenizer.json`; None for no normalizer.

    Raises:
        ModelError: If a normalizer is of a kind that isn't known.
    """

    def __init__(self, settings: Mapping[str, Any] | None) -> None:
        super().__init__()
        # Kept as attributes, so that the tables are saved with the module.
        self._stages: list[Callable[[tf.Tensor], tf.Tensor]] = []
        by_character: list[str] = []
        for part in [*(step for whole in _flat(settings) for step in _composed(whole)), None]:
            if part is not None and part["type"] in _BY_CHARACTER:
                by_character.append(part["type"])
                continue
            if by_character:
                self._stages.append(_by_character(by_character))
                by_character = []
            if part is not None:
                self._stages.append(_stage(part))

    def __call__(self, pieces: tf.Tensor) -> tf.Tensor:
        """Normalizes pieces (pieces,) string, valid UTF-8; the same shape."""
        for stage in self._stages:
            pieces = stage(pieces)
        return pieces


class InNormalText(tf.Module):
    """Normalizes pieces of text, finds the added tokens that are looked for in normal text, and tokenizes the rest.

    Args:
        normalizer: Normalizes text.
        added_tokens: Finds added tokens by their normal form.
        pieces: Tokenizes what stands between them.
    """

    def __init__(self, normalizer: Normalizer, added_tokens: AddedTokens, pieces: PieceTokenizer) -> None:
        super().__init__()
        self.normalizer, self.added_tokens, self.pieces = normalizer, added_tokens, pieces

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token found already.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        normal = self.normalizer(tf.where(is_added, "", pieces))
        parts, part_is_added, piece_of_part = self.added_tokens(normal)
        was_added = tf.gather(is_added, piece_of_part)
        parts = tf.where(was_added, tf.gather(pieces, piece_of_part), parts)
        ids, part_of = self.pieces(parts, part_is_added | was_added)
        return ids, tf.gather(piece_of_part, part_of)


class _OnCharacters(tf.Module):
    """Runs a normalizer of characters on strings."""

    def __init__(self, stage: CharacterStage) -> None:
        super().__init__()
        self._stage = stage

    def __call__(self, pieces: tf.Tensor) -> tf.Tensor:
        points, splits = code_points.decode(pieces)
        points, piece_of = self._stage(points, segment_ids(splits))
        return code_points.encode(points, splits_of(piece_of, tf.size(pieces, tf.int64)))


class _Replace(tf.Module):
    """Replaces every match of an expression."""

    def __init__(self, pattern: str, content: str) -> None:
        super().__init__()
        self._pattern, self._content = pattern, content.replace("\\", "\\\\")

    def __call__(self, pieces: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.StaticRegexReplace(input=pieces, pattern=self._pattern, rewrite=self._content)


def _flat(settings: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if settings is None:
        return []
    if settings["type"] == "Sequence":
        return [part for inner in settings["normalizers"] for part in _flat(inner)]
    return [settings]


def _composed(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """NFKC as its two halves."""
    return [{"type": "NFKD"}, _COMPOSITION] if part["type"] == "NFKC" else [part]


def _by_character(kinds: list[str]) -> _OnCharacters:
    from tokenizers import normalizers

    together = normalizers.Sequence([getattr(normalizers, kind)() for kind in kinds])
    return _everywhere(CharacterNormalizer(normal_forms(together, _SEPARATOR)))


def _everywhere(normalizer: CharacterNormalizer) -> _OnCharacters:
    return _OnCharacters(lambda points, piece_of: normalizer(points, piece_of, tf.zeros_like(points, tf.bool)))


def _stage(settings: Mapping[str, Any]) -> Callable[[tf.Tensor], tf.Tensor]:
    kind = settings["type"]
    if kind == "Precompiled":
        try:
            replacements = charsmap.read(base64.b64decode(settings["precompiled_charsmap"]))
        except ValueError as error:
            raise refusal(f"a character map that can't be read: {error}") from error
        return _OnCharacters(Precompiled(replacements))
    if kind == "BertNormalizer":
        return _everywhere(CharacterNormalizer(bert_normal_forms(settings)))
    if kind == "Strip":
        left = [f"^{WHITE_SPACE_CLASS}+"] if settings["strip_left"] else []
        right = [f"{WHITE_SPACE_CLASS}+$"] if settings["strip_right"] else []
        return _Replace("|".join([*left, *right]) or "^", "")
    if kind == "NFC":
        return _OnCharacters(NFC())
    if kind == _COMPOSITION["type"]:
        return _OnCharacters(Composition())
    if kind == "Replace" and settings["pattern"] == _BLANKS:
        return _Replace("  +", settings["content"])
    if kind == "Replace" and settings["pattern"].get("String"):
        return _Replace(literal(settings["pattern"]["String"]), settings["content"])
    raise refusal(f"the normalizer {kind}" + (f" of {settings['pattern']}" if kind == "Replace" else ""))
