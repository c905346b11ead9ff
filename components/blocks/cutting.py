"""Cuts a long text at places where a tokenizer gives the pieces, one after the other, the tokens of the whole text.

A tokenizer takes about 100 bytes of memory for each character that it gets at once. Most tokenizers first divide a
text into words, and each word becomes tokens by itself; so between two words a text can be cut. Where words end for
certain is read from the tokenizer's own description: only normalizers and pre-tokenizers that are known to look no
further than a character's neighbors are trusted. What else could happen at a cut (a blank that is put before a text,
or taken from its end; an added token that takes the blanks around it) shows in the text around it: it is tokenized
whole and in two pieces, and where the tokens differ, another place is tried. A tokenizer with a part that is not known
gets every text whole.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as RustTokenizer

WINDOW_CHARACTERS = 64
"""The text on each side of a cut, at least, that is tokenized to try it."""
STRIDE_CHARACTERS = 1 << 12
"""The text in which places are looked for at once, from the last to the first."""
MOST_FAILURES = 64
"""So many places of a kind that prove wrong, one after the other, show that this tokenizer has none of that kind."""
MOST_TRIES_WITHIN_WORD = 8
WHITE_SPACE = " \t\n\r\u00a0\u2028\u3000"
IDEOGRAPH = "[\u3400-\u4dbf\u4e00-\u9fff]"
LETTER = r"[^\W\d_]"

NORMALIZERS = {
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "StripAccents",
    "Nmt",
    "Precompiled",
    "BertNormalizer",
    "Strip",
}
"""Those that look no further than a character's neighbors, or at the ends of a text."""
BLANK_RUNS = {" {2,}", " +", r"\s{2,}", r"\s+"}
WORDS = {
    r"\w+|[^\w\s]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    *(
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
        for numbers in (r"\p{N}{1,3}", r"\p{N}")
    ),
}
"""Regular expressions of words: `Whitespace`'s, GPT-2's, Llama 3's and Qwen 2's."""


class Cutter:
    """Cuts texts for one tokenizer.

    Args:
        backend: A tokenizer that neither truncates nor pads.
        within_words: Whether a long word may be cut too, between two of its tokens, where byte-pair encoding of bytes
            allows it. It must not where the words themselves are what matters, as in training a tokenizer.

    Example:
        cutter = Cutter(tokenizer.backend_tokenizer)
        pieces = list(cutter.pieces(text, characters=32_768))
        assert "".join(pieces) == text
    """

    def __init__(self, backend: "RustTokenizer", *, within_words: bool = True) -> None:
        self._backend = backend
        try:
            normalizers = elements(backend.normalizer, "normalizers")
            pre_tokenizers = elements(backend.pre_tokenizer, "pretokenizers")
        except Exception:  # the Rust library raises bare Exception for parts that are written in Python
            normalizers, pre_tokenizers = [], [{"type": "unknown"}]
        self._places = places_of(normalizers, pre_tokenizers, self._normal)
        if is_of_characters(backend):
            self._places = [Place(re.compile(r"(?<=\S)(?=\S)"), always), *self._places]
        added = [(token.content, token.normalized) for token in backend.get_added_tokens_decoder().values()]
        contents = {content for content, _ in added} | {self._normal(content) for content, normal in added if normal}
        contents.discard("")
        if any(re.search(r"\S[\s▁]", content) for content in contents):
            self._places = []
        self._added = re.compile("|".join(map(re.escape, sorted(contents))) or r"(?!)")
        self._reach = max(map(len, contents), default=0) + 2
        self._window = max(WINDOW_CHARACTERS, 2 * self._reach)
        self._within_words = within_words and is_byte_level(normalizers, pre_tokenizers) and is_plain_bpe(backend)

    def pieces(self, text: str, characters: int) -> Iterator[str]:
        """The pieces of a text, which give it when joined.

        Args:
            text: Any text.
            characters: The most that a piece has, if there are places enough to cut the text.
        """
        start = 0
        before = ""  # ends within a word, and is a piece only if the next one is no longer than asked
        while len(text) - start > characters:
            end = self._last_place(text, start + characters // 2, start + characters)
            inner = None if end else self._place_within_word(text, start, characters)
            end = end or inner or self._first_place(text, start + characters)
            if end is None:
                break
            if before and end - start <= characters:
                yield before
                before = ""
            piece, before = before + text[start:end], ""
            if inner:
                before = piece
            else:
                yield piece
            start = end
        if before and len(text) - start <= characters:
            yield before
            before = ""
        yield before + text[start:]

    def _place_within_word(self, text: str, start: int, characters: int) -> int | None:
        """The last place in a piece between two tokens of a word that stay the same when the word is cut there.

        The tokens of two strings, one after the other, are those of the strings joined, if the last token of the first
        and the first of the second are the tokens of these two joined. For where byte-pair encoding merges across the
        cut, it does so as well in the two tokens alone: there, the merges before are the same, in the same order.
        (The library `bpe` by GitHub rests on this, too.) Here the first string ends at one of its own tokens, so that
        the tokens before the cut are known; the second is the next piece, of which the tokens are computed. Tokens
        that are parts of one character are tried together.
        """
        if not self._within_words:
            return None
        encoding = self._encode(text[start : start + characters])
        ids, spans = encoding.ids, encoding.offsets
        tries = 0
        for place in range(len(ids) - 1, 0, -1):
            cut = start + spans[place][0]
            if not is_clean(spans, place) or not is_within_run(text, cut) or self._has_added_token(text, cut):
                continue
            after = self._encode(text[cut : cut + characters])
            if after.ids and after.offsets[0][0] == 0:
                first = next(number for number in range(place - 1, -1, -1) if is_clean(spans, number))
                others = after.offsets
                last = next(number for number in range(1, len(others) + 1) if is_clean(others, number))
                both = self._encode(text[start + spans[first][0] : cut + others[last - 1][1]])
                if both.ids == ids[first:place] + after.ids[:last]:
                    return cut
            tries += 1
            if tries == MOST_TRIES_WITHIN_WORD:
                break
        return None

    def _last_place(self, text: str, start: int, end: int) -> int | None:
        """The last place between two others."""
        for place in self._places:
            for high in range(end, start, -STRIDE_CHARACTERS):
                low = max(start, high - STRIDE_CHARACTERS)
                # The lookahead sees a few characters more.
                found = [match.start() for match in place.pattern.finditer(text, low, min(high + 4, len(text)))]
                for position in reversed(found):
                    if position < high and place.usable and self._holds(place, text, position):
                        return position
        return None

    def _first_place(self, text: str, start: int) -> int | None:
        """The first place from another one on."""
        best = None
        for place in self._places:
            for match in place.pattern.finditer(text, start, len(text) if best is None else best + 4):
                if not place.usable or (best is not None and match.start() >= best):
                    break
                if self._holds(place, text, match.start()):
                    best = match.start()
                    break
        return best

    def _holds(self, place: "Place", text: str, position: int) -> bool:
        """Whether a text can be cut at a place."""
        if not place.fits(text, position) or self._has_added_token(text, position):
            return False
        before = text[max(0, position - self._window) : position]
        after = text[position : position + self._window]
        equal = self._encode(before + after).ids == self._encode(before).ids + self._encode(after).ids
        place.failures = 0 if equal else place.failures + 1
        return equal

    def _has_added_token(self, text: str, position: int) -> bool:
        """Whether an added token stands so near to a place that it may go across it."""
        near = text[max(0, position - self._reach) : position + self._reach]
        return bool(self._added.search(near) or self._added.search(self._normal(near)))

    def _encode(self, text: str) -> "Encoding":
        return self._backend.encode(text, add_special_tokens=False)

    def _normal(self, text: str) -> str:
        return text if self._backend.normalizer is None else self._backend.normalizer.normalize_str(text)


class Place:
    """A kind of place at which a word ends.

    Attributes:
        pattern: Matches nothing, at such a place.
        fits: Says of a text and a position what the pattern can't.
        failures: How many of the last places proved wrong.
    """

    def __init__(self, pattern: re.Pattern[str], fits: Callable[[str, int], bool]) -> None:
        self.pattern = pattern
        self.fits = fits
        self.failures = 0

    @property
    def usable(self) -> bool:
        """Whether this tokenizer may have such places."""
        return self.failures < MOST_FAILURES


def elements(part: Any, name: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as the descriptions of its parts, in order."""

    def flat(description: dict[str, Any]) -> list[dict[str, Any]]:
        if description["type"] == "Sequence":
            return [element for inner in description[name] for element in flat(inner)]
        return [description]

    return [] if part is None else flat(json.loads(part.__getstate__()))


def places_of(
    normalizers: list[dict[str, Any]], pre_tokenizers: list[dict[str, Any]], normal: Callable[[str], str]
) -> list[Place]:
    """The kinds of places between words that a tokenizer has, those that most texts have first.

    Args:
        normalizers: The descriptions of its normalizers.
        pre_tokenizers: The descriptions of its pre-tokenizers.
        normal: Normalizes a text.
    """
    if not all(map(is_local, normalizers)):
        return []
    ends: set[str] = set()
    sees_the_text = True  # whether no pre-tokenizer before has put other characters for the blanks
    for each in pre_tokenizers:
        found = ends_of_words(each)
        if found is None:
            return []
        ends |= found if sees_the_text else set()
        sees_the_text &= each["type"] not in ("ByteLevel", "Metaspace")
    white = "".join(character for character in WHITE_SPACE if ends_a_word(normal(f"a{character}a"), ends))
    between = f"[{re.escape(white)}]"
    # A Split by a regular expression may join line ends to the punctuation before them.
    before = "LN" if any(each["type"] == "Split" for each in pre_tokenizers) else "LNPS"

    def is_between_words(text: str, position: int) -> bool:
        one, other = (unicodedata.category(text[place])[0] for place in (position - 1, position + 1))
        return one in before and other in "LNPS"

    places = []
    if white:
        places.append(Place(re.compile(rf"(?<=\S)(?={between}\S)"), is_between_words))
    if "punctuation" in ends:
        places.append(Place(re.compile(rf"(?<={LETTER})(?=[^\w\s])"), is_before_punctuation))
    if white and "dropped white space" in ends and not any(each["type"] == "Replace" for each in normalizers):
        places.append(Place(re.compile(rf"(?<={between})(?={between})"), always))
    if "white space" in ends and any(each.get("handle_chinese_chars") for each in normalizers):
        places.append(Place(re.compile(rf"(?<={IDEOGRAPH})(?={IDEOGRAPH})"), always))
    return places


def ends_a_word(normal: str, ends: set[str]) -> bool:
    """Whether a character between two letters ends a word, by their normal form.

    Args:
        normal: The normal form of the letter a, the character and the letter a.
        ends: Where pre-tokenizers end words, as `ends_of_words` says it.
    """
    if len(normal) != 3 or normal[0] + normal[2] != "aa":
        return False
    is_blank = normal[1] == " " and bool(ends & {"blank", "mark"})
    return is_blank or (normal[1] == "▁" and "mark" in ends) or (normal[1].isspace() and "white space" in ends)


def always(text: str, position: int) -> bool:
    """For a kind of place of which the pattern says all."""
    return True


def is_before_punctuation(text: str, position: int) -> bool:
    """Whether a letter, after which normalization leaves no mark, stands before punctuation."""
    last = unicodedata.normalize("NFKD", text[position - 1])[-1]
    return unicodedata.category(last)[0] == "L" and unicodedata.category(text[position])[0] == "P"


def is_local(normalizer: dict[str, Any]) -> bool:
    """Whether a normalizer is known to look no further than a character's neighbors, or at the ends of a text."""
    if normalizer["type"] != "Replace":
        return normalizer["type"] in NORMALIZERS
    pattern = normalizer["pattern"]
    if "String" not in pattern:
        return pattern.get("Regex") in BLANK_RUNS
    return pattern["String"] == " " or not re.search(r"[\w\s]", pattern["String"])


def ends_of_words(pre_tokenizer: dict[str, Any]) -> set[str] | None:
    """Where a pre-tokenizer is known to end a word.

    It is at a `blank`, at a blank or the `mark` that stands for it, at `white space` of any kind (or `dropped white
    space`, which becomes no token), before `punctuation`. None is for a pre-tokenizer that is not known; the empty set,
    for one that ends words elsewhere, or not for certain.
    """
    kind, behavior = pre_tokenizer["type"], pre_tokenizer.get("behavior")
    if kind in ("BertPreTokenizer", "Whitespace"):
        return {"white space", "dropped white space", "punctuation"}
    if kind == "WhitespaceSplit":
        return {"white space", "dropped white space"}
    if kind == "ByteLevel":
        return {"white space", "punctuation"} if pre_tokenizer.get("use_regex", True) else set()
    if kind == "Metaspace":
        marks = {"mark"} if pre_tokenizer["replacement"] == "▁" else {"blank"}
        return marks if pre_tokenizer.get("split", True) else set()
    if kind == "CharDelimiterSplit":
        return {"blank"} if pre_tokenizer["delimiter"] == " " else set()
    if kind == "Digits":
        return set()
    if kind == "Punctuation":
        return {"punctuation"} if behavior in ("Isolated", "Contiguous", "Removed") else set()
    if kind != "Split":
        return None
    pattern = pre_tokenizer["pattern"]
    inverted = pre_tokenizer.get("invert", False)
    if pattern.get("Regex") in WORDS and (behavior == "Isolated" or (inverted and behavior == "Removed")):
        return {"white space", "punctuation"}
    keeps_blanks_apart = behavior in ("Isolated", "Removed", "MergedWithNext") and not inverted
    if pattern == {"String": " "} and keeps_blanks_apart:
        return {"blank"}
    return {"white space"} if pattern.get("Regex") == r"\s+" and keeps_blanks_apart else None


def is_byte_level(normalizers: list[dict[str, Any]], pre_tokenizers: list[dict[str, Any]]) -> bool:
    """Whether words become bytes as they are, nothing is put before a text, and letters end no word."""
    if normalizers or not pre_tokenizers or pre_tokenizers[-1]["type"] != "ByteLevel":
        return False
    return all(
        not each["add_prefix_space"] if each["type"] == "ByteLevel" else each.get("pattern", {}).get("Regex") in WORDS
        for each in pre_tokenizers
    )


def is_within_run(text: str, position: int) -> bool:
    """Whether a place is within letters, or within one punctuation mark or symbol again and again.

    Within blanks it isn't: an added token that takes the blanks around it may stand at the other end of them.
    """
    around = text[position - 4 : position + 4]
    if len(around) < 8 or "'" in around:
        return False
    if all(unicodedata.category(character)[0] == "L" for character in around):
        return True
    return around.count(around[0]) == len(around) and unicodedata.category(around[0])[0] in "PS"


def is_clean(spans: list[tuple[int, int]], number: int) -> bool:
    """Whether a token begins where the one before it ends, rather than within a character; also at both ends."""
    return number in (0, len(spans)) or spans[number - 1][1] == spans[number][0]


def is_plain_bpe(backend: "RustTokenizer") -> bool:
    """Whether tokens come from merges alone, which join tokens that stand beside each other."""
    from tokenizers.models import BPE

    model = backend.model
    return isinstance(model, BPE) and not any(
        (model.dropout, model.ignore_merges, model.continuing_subword_prefix, model.end_of_word_suffix)
    )


def is_of_characters(backend: "RustTokenizer") -> bool:
    """Whether each character is a token, so that a text can be cut between any two."""
    from tokenizers.models import Unigram

    if not isinstance(backend.model, Unigram):
        return False
    special = backend.get_added_tokens_decoder().values()
    names = {token.content for token in special}
    return all(len(token) == 1 or token in names for token in backend.get_vocab())
