"""Tokenizes texts word by word, each different word once, where that gives the tokens of the whole texts.

Most words of a text were seen before. Where a tokenizer is known to treat each word by itself, the tokens of a text are
those of its words, one after the other, and finding a word again is several times as fast as tokenizing it again. A
text is cut only at white space, at places of which the tokenizer's own description says that its words end there, and
of which the bytes around say that they are such a place for certain. A cut that is left out costs time, not tokens.
"""

import re
import threading
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from components.blocks.cutting import BLANK_RUNS, WORDS, elements

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

MOST_WORDS = 1 << 17
"""So many different words are remembered; then all are forgotten, so that memory doesn't grow with the corpus."""
MOST_CHARACTERS = 1 << 22
"""The characters of these words together, at most. Text without blanks comes in very long words."""
BEFORE, AFTER = 0, 1
"""The numbers of two words that are in no text: the special tokens before and after each."""
BLANK = ord(" ")
SPACES = b" \n\t\r"
WORDS_WITH_BLANKS = WORDS - {r"\w+|[^\w\s]+"}
"""The regular expressions whose words have no white space after another character, and lose no characters."""
DIVIDERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
"""The pre-tokenizers that end words at all white space, which then is in no word."""
UNMOVED = {"Lowercase", "NFC", "NFD"}
"""Normalizers that leave white space where it is, and look across none."""
UNMOVED_AROUND_LETTERS = {*UNMOVED, "NFKC", "NFKD", "Nmt", "Precompiled", "Strip", "StripAccents"}
"""The same where the white space is between two letters."""
UNMOVED_BETWEEN_WORDS = {*UNMOVED, "NFKC", "NFKD", "StripAccents", "Strip", "BertNormalizer"}
"""The same where white space is in no word, so that there may be more of it, or less at the ends of a text."""
ASCII = np.array([0x21 <= byte <= 0x7E for byte in range(256)])
"""Which bytes are a printing character of ASCII."""
PLAIN = ASCII | np.array([byte in (0xC3, 0xC4, 0xC5, 0xD0, 0xD1) for byte in range(256)])
"""These and the bytes that begin a letter of the Latin or Cyrillic alphabet."""
LEADS = np.array([byte in range(0xC3, 0xE0) or byte == 0xE0 or byte in range(0xE4, 0xF5) for byte in range(256)])
"""Which bytes begin a character of several bytes that is no white space, whatever follows."""


class Cuts(NamedTuple):
    """Where a tokenizer's words end for certain.

    Attributes:
        spaces: The bytes of white space before which a text may be cut.
        where: The places of such a byte. It may be anywhere; beside a character that is no white space, which stands
            before, or, at a blank, after; or between letters or other characters that every normalizer leaves in place.
    """

    spaces: bytes
    where: Literal["anywhere", "beside", "between"]


class Words(dict[str, int]):
    """The number of each word, by which its tokens are found. A new word gets the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self) + len((BEFORE, AFTER))
        self.new.append(word)
        return number


class Table:
    """The tokens of numbered words.

    Attributes:
        ids: (tokens,) int32, those of all words, one word after the other.
        starts: (words,) int64, where each word's tokens begin in `ids`.
        lengths: (words,) int64, how many tokens each has.
        special: (words,) bool, whether an added token stands in the word, so that a text with it must be taken whole.
    """

    def __init__(self) -> None:
        self.ids = np.empty(0, np.int32)
        self.starts = self.lengths = np.empty(0, np.int64)
        self.special = np.empty(0, np.bool_)

    def add(self, tokens: Sequence[Sequence[int]], special: np.ndarray) -> None:
        """Adds the tokens of the next words. The arrays are made anew: whoever holds the old ones may read on."""
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        added = np.fromiter(chain.from_iterable(tokens), np.int32, int(lengths.sum()))
        starts = len(self.ids) + np.cumsum(lengths) - lengths
        self.ids = np.concatenate([self.ids, added])
        self.starts = np.concatenate([self.starts, starts])
        self.lengths = np.concatenate([self.lengths, lengths])
        self.special = np.concatenate([self.special, special])


class WordTokens:
    """Tokenizes texts by their words. Several threads may use one at the same time.

    Args:
        backend: A tokenizer that neither truncates nor pads.
        cuts: Where its words end, as `cuts_of` finds it.
        around: The special tokens before and after every text.

    Example:
        cuts = cuts_of(backend)
        if cuts is not None:
            token_ids, tokens = WordTokens(backend, cuts, ([0], [2])).encode(["Blue light.", "Why?"])
    """

    def __init__(self, backend: "RustTokenizer", cuts: Cuts, around: tuple[list[int], list[int]]) -> None:
        self._backend = backend
        self._cuts = cuts
        self._around = around
        added = backend.get_added_tokens_decoder().values()
        contents = {token.content for token in added} - {""}
        self._added = re.compile("|".join(map(re.escape, sorted(contents))) or r"(?!)")
        normal = {self._normal(token.content) for token in added if token.normalized} - {""}
        self._added_normal = re.compile("|".join(map(re.escape, sorted(normal))) or r"(?!)") if normal else None
        self._lock = threading.Lock()
        self._forget()

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of some texts, as the tokenizer gives them, special tokens included.

        Args:
            texts: At least one text.

        Returns:
            token_ids: (all tokens,) int32, the texts one after the other.
            tokens: (texts,) int32, how many of them each text became.
        """
        array = pa.array(texts, pa.large_string())
        content = array.buffers()[2] or pa.py_buffer(b"")
        ends = np.frombuffer(array.buffers()[1], np.int64)[1 : len(texts) + 1]
        data = np.frombuffer(content, np.uint8)[: ends[-1]]
        starts = self._word_starts(data, ends)  # (words,)
        bounds = np.append(starts, len(data))
        pieces = pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(bounds), content)
        found = pieces.dictionary_encode()
        different = found.dictionary.to_pylist()
        with self._lock:
            words, table = self._words, self._table
            numbers = np.fromiter(map(words.__getitem__, different), np.int64, len(different))
            if words.new:
                self._add(words, table)
            ids, begins, lengths, special = table.ids, table.starts, table.lengths, table.special
            if len(words) > MOST_WORDS or self._characters > MOST_CHARACTERS:
                self._forget()
        words_of_texts = numbers[found.indices.to_numpy()]  # (words,)
        firsts = np.searchsorted(starts, np.append(0, ends))  # (texts + 1,), the first word of each, and the end
        # Each text is between two words of its own: the special tokens before and after it.
        sequence = np.empty(len(words_of_texts) + 2 * len(texts), np.int64)
        edges = firsts + 2 * np.arange(len(texts) + 1)
        is_word = np.ones(len(sequence), np.bool_)
        is_word[edges[:-1]] = is_word[edges[1:] - 1] = False
        sequence[edges[:-1]], sequence[edges[1:] - 1], sequence[is_word] = BEFORE, AFTER, words_of_texts
        sizes = lengths[sequence]
        tokens = np.add.reduceat(sizes, edges[:-1]).astype(np.int32)
        after = np.cumsum(sizes)
        token_ids = ids[np.arange(after[-1]) + np.repeat(begins[sequence] - after + sizes, sizes)]
        if special[numbers].any():
            return self._with_whole_texts(texts, token_ids, tokens, np.add.reduceat(special[sequence], edges[:-1]) > 0)
        return token_ids, tokens

    def _word_starts(self, data: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Where words begin (words,) int64 in the bytes of texts: at the beginning of each text, and at each cut."""
        spaces = data == BLANK
        for other in self._cuts.spaces:
            if other != BLANK:
                spaces |= data == other
        places = np.flatnonzero(spaces)
        if self._cuts.where != "anywhere":
            after = data[np.minimum(places + 1, max(0, len(data) - 1))]
            # White space at the very end of a text has nothing after it, but the next text.
            is_last = np.zeros(len(data) + 1, np.bool_)
            is_last[ends - 1] = True
            if self._cuts.where == "beside":
                begins = (data[places] == BLANK) & (ASCII | LEADS)[after] & ~is_last[places]
                places = places[begins | follows_character(data, places)]
            else:
                places = places[PLAIN[after] & ~is_last[places] & follows_plain(data, places)]
        is_start = np.zeros(len(data) + 1, np.bool_)
        is_start[places] = True
        is_start[0] = True
        is_start[ends] = True
        return np.flatnonzero(is_start[:-1])

    def _add(self, words: Words, table: Table) -> None:
        """Tokenizes the new words."""
        encodings = self._backend.encode_batch_fast(words.new, add_special_tokens=False)
        special = np.zeros(len(words.new), np.bool_)
        if self._has_added_token("\n".join(words.new)):
            special[:] = [self._has_added_token(word) for word in words.new]
        table.add([encoding.ids for encoding in encodings], special)
        self._characters += sum(map(len, words.new))
        words.new.clear()

    def _has_added_token(self, text: str) -> bool:
        normal = self._added_normal
        return bool(self._added.search(text) or (normal and normal.search(self._normal(text))))

    def _normal(self, text: str) -> str:
        return text if self._backend.normalizer is None else self._backend.normalizer.normalize_str(text)

    def _forget(self) -> None:
        """Begins anew."""
        self._words, self._table, self._characters = Words(), Table(), 0
        self._table.add(self._around, np.zeros(len(self._around), np.bool_))

    def _with_whole_texts(
        self, texts: list[str], token_ids: np.ndarray, tokens: np.ndarray, special: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `encode` returns, with the texts that hold added tokens tokenized whole."""
        pieces = np.split(token_ids, np.cumsum(tokens)[:-1])
        rows = np.flatnonzero(special)
        encodings = self._backend.encode_batch_fast([texts[row] for row in rows], add_special_tokens=True)
        for row, encoding in zip(rows, encodings, strict=True):
            pieces[row] = np.array(encoding.ids, np.int32)
        return np.concatenate(pieces), np.fromiter(map(len, pieces), np.int32, len(pieces))


def follows_character(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whether a character that is no white space ends before each place (places,) in the bytes of UTF-8.

    Where a character of several bytes may be white space by its first bytes, the answer may be no nevertheless.
    """
    last = data[np.maximum(places - 1, 0)]
    found = ASCII[last]
    rest = np.flatnonzero(last >= 0x80)
    if len(rest):
        fourth, third, second, first = (data[np.maximum(places[rest] - back, 0)] for back in (4, 3, 2, 1))
        of_three = (second & 0xC0) == 0x80
        dashes_and_quotes = (second == 0x80) & (first >= 0x90) & (first <= 0xA7)
        found[rest] = np.where(
            ~of_three,
            LEADS[second] | ((second == 0xC2) & (first > 0xA0)),
            LEADS[third]
            | ((third == 0xE1) & (second != 0x9A) & (second != 0xA0))
            | ((third == 0xE2) & ((second > 0x81) | dashes_and_quotes))
            | ((third == 0xE3) & (second != 0x80))
            | (((third & 0xC0) == 0x80) & LEADS[fourth]),
        )
    return found


def follows_plain(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whether a character that begins with a byte of `PLAIN` ends before each place (places,)."""
    last, second = (data[np.maximum(places - back, 0)] for back in (1, 2))
    return ASCII[last] | ((last >= 0x80) & PLAIN[second] & ~ASCII[second])


def cuts_of(backend: "RustTokenizer") -> Cuts | None:
    """Where a tokenizer's words end for certain; None where it isn't known to tokenize each word by itself.

    Args:
        backend: A tokenizer that neither truncates nor pads.
    """
    from tokenizers.models import BPE, Unigram, WordLevel, WordPiece

    model = backend.model
    if not isinstance(model, BPE | Unigram | WordLevel | WordPiece) or getattr(model, "dropout", None):
        return None
    try:
        normalizers = elements(backend.normalizer, "normalizers")
        pre_tokenizers = elements(backend.pre_tokenizer, "pretokenizers")
    except Exception:  # the Rust library raises bare Exception for parts that are written in Python
        return None
    has_runs = False
    for token in backend.get_added_tokens_decoder().values():
        forms = [token.content]
        if token.normalized and backend.normalizer is not None:
            forms.append(backend.normalizer.normalize_str(token.content))
        if all(re.fullmatch(" {2,}", form) for form in forms):
            has_runs = True
        elif any(re.search(r"[\s▁]", form) for form in forms):  # a normalizer may put the mark for a blank
            return None
    kinds = {each["type"] for each in normalizers}
    spaces = spaces_of_bytes(pre_tokenizers) if kinds <= UNMOVED else b""
    if has_runs:
        # A single blank between two characters is in no run of blanks.
        return Cuts(b" ", "between") if spaces else None
    if is_divided(pre_tokenizers) and kinds <= UNMOVED_BETWEEN_WORDS:
        return Cuts(SPACES, "anywhere")
    for ends_words, blanks in ((is_divided(pre_tokenizers), " "), (is_marked(pre_tokenizers, kinds), " ▁")):
        if ends_words and all(keeps_blanks(each, blanks) for each in normalizers):
            return Cuts(b" ", "between")
    return Cuts(spaces, "beside") if spaces else None


def is_divided(pre_tokenizers: list[dict[str, Any]]) -> bool:
    """Whether white space is in no word, and what comes after sees each word by itself."""
    first, *others = pre_tokenizers or [{"type": None}]
    if first["type"] not in DIVIDERS:
        return False
    return not others or (
        len(others) == 1 and others[0]["type"] == "Metaspace" and others[0].get("prepend_scheme") == "always"
    )


def is_marked(pre_tokenizers: list[dict[str, Any]], normalizers: set[str]) -> bool:
    """Whether a mark stands for each blank and begins a word.

    Args:
        pre_tokenizers: The descriptions of a tokenizer's pre-tokenizers.
        normalizers: The names of its normalizers.
    """
    if [each["type"] for each in pre_tokenizers] != ["Metaspace"]:
        return False
    marks = pre_tokenizers[0]
    schemes = {"always"} if "Strip" in normalizers else {"always", "first"}
    return marks["replacement"] == "▁" and marks.get("split", True) and marks.get("prepend_scheme") in schemes


def keeps_blanks(normalizer: dict[str, Any], blanks: str) -> bool:
    """Whether a normalizer leaves a blank between two characters of `PLAIN` where it is, and looks not across it.

    Args:
        normalizer: Its description.
        blanks: What may stand for a blank, so that words end at it nevertheless.
    """
    if normalizer["type"] != "Replace":
        return normalizer["type"] in UNMOVED_AROUND_LETTERS
    pattern = normalizer["pattern"]
    if "String" in pattern:
        # Without the characters between two blanks, the blanks become one run, or the end of a text.
        is_seen = normalizer["content"].isascii() and normalizer["content"].isprintable() and normalizer["content"]
        return bool(is_seen) and not re.search(r"[\w\s]", pattern["String"] + normalizer["content"])
    return pattern.get("Regex") in BLANK_RUNS and normalizer["content"] in list(blanks)


def spaces_of_bytes(pre_tokenizers: list[dict[str, Any]]) -> bytes:
    """The white space before which words end, where words become bytes with the blank before them; else empty."""
    if not pre_tokenizers or pre_tokenizers[-1]["type"] != "ByteLevel":
        return b""
    *first, last = pre_tokenizers
    if not first and last.get("use_regex", True):
        # A blank is put before a text that begins otherwise, and so before such a word.
        return b" " if last["add_prefix_space"] else SPACES
    if len(first) != 1 or last["add_prefix_space"] or last.get("use_regex", True) or first[0]["type"] != "Split":
        return b""
    inverted, behavior = first[0].get("invert", False), first[0]["behavior"]
    keeps_words = (behavior == "Isolated" and not inverted) or (behavior == "Removed" and inverted)
    pattern = first[0]["pattern"].get("Regex")
    return b" " if keeps_words and pattern in WORDS_WITH_BLANKS else b""
