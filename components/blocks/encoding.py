"""Turns texts into token ids, batch by batch, while the next batch is read: word by word where that is the same."""

import collections
import dataclasses
import functools
import itertools
import string
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from components.blocks.cutting import Cutter
from foundation import memory
from foundation.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import PreTrainedTokenizerFast

    from components.blocks.words import WordTokens

CHARACTERS_A_BATCH = 1 << 18
"""The text that is read and tokenized at once. While it is tokenized, it takes about 100 bytes a token."""
BYTES_A_CHARACTER = {True: 150, False: 300}
"""What the tokenizer takes for a text without a place to cut it, by whether it is ASCII."""
PIECES_AT_ONCE = 8
"""A long text is tokenized some pieces at a time, so that several processors have work."""
BATCHES_AT_ONCE = 2
"""While one batch is tokenized, the other's ids are converted; more would only cost memory."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A batch of texts as tokens.

    Attributes:
        token_ids: (all tokens,) int32, the texts one after the other, special tokens included.
        tokens: (texts,) int32, how many of them each text became.
        characters: (texts,) int32, how many characters each text has.
        bytes: (texts,) int32, how many bytes each text has in UTF-8.
    """

    token_ids: "np.ndarray"
    tokens: "np.ndarray"
    characters: "np.ndarray"
    bytes: "np.ndarray"


def encode(
    backend: "RustTokenizer", batches: Iterable[list[str]], characters_at_once: int = CHARACTERS_A_BATCH
) -> Iterator[Encoded]:
    """Each batch of texts as tokens, in order; see `TextEncoder`."""
    return TextEncoder(backend, characters_at_once).encode(batches)


class TextEncoder:
    """Turns texts into token ids, and keeps the tokens of the words that it has seen.

    Args:
        backend: A tokenizer that neither truncates nor pads, as `untruncated` returns it.
        characters_at_once: A longer text is cut, where the tokenizer has places at which its tokens stay the same.
    """

    def __init__(self, backend: "RustTokenizer", characters_at_once: int = CHARACTERS_A_BATCH) -> None:
        self._backend = backend
        self._characters_at_once = characters_at_once
        self._long_texts = LongTexts(backend, characters_at_once)
        self._word_tokens = word_tokens_of(backend)

    def encode(self, batches: Iterable[list[str]]) -> Iterator[Encoded]:
        """Each batch of texts as tokens, in order.

        Args:
            batches: Lists of texts. At most `BATCHES_AT_ONCE` of them are read ahead, and none while a long text is
                tokenized.

        Yields:
            The tokens of each batch.
        """
        pending: collections.deque[Future[Encoded]] = collections.deque()
        with ThreadPoolExecutor(BATCHES_AT_ONCE) as executor:
            for texts in batches:
                is_long = any(len(text) > self._characters_at_once for text in texts)
                pending.append(executor.submit(self._encode_batch, texts))
                del texts  # the executor keeps them as long as they are needed
                while len(pending) > (0 if is_long else BATCHES_AT_ONCE):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _encode_batch(self, texts: list[str]) -> Encoded:
        import numpy as np

        if self._word_tokens and max(map(len, texts)) <= self._characters_at_once:
            token_ids, tokens = self._word_tokens.encode(texts)
        else:
            if any(len(text) > self._characters_at_once for text in texts):
                pieces = [self._long_texts.encode(text) for text in texts]
            else:
                encodings = self._backend.encode_batch_fast(texts, add_special_tokens=True)
                pieces = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
            token_ids, tokens = np.concatenate(pieces), np.fromiter(map(len, pieces), np.int32, len(texts))
        lengths = (map(len, texts), map(utf8_bytes, texts))
        return Encoded(token_ids, tokens, *(np.fromiter(each, np.int32, len(texts)) for each in lengths))


class LongTexts:
    """Tokenizes texts piece by piece.

    Args:
        backend: A tokenizer that neither truncates nor pads.
        characters_at_once: How much of a text is tokenized at once.
    """

    def __init__(self, backend: "RustTokenizer", characters_at_once: int) -> None:
        self._backend = backend
        self._characters_a_piece = max(1, characters_at_once // PIECES_AT_ONCE)

    @functools.cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self._backend)

    def encode(self, text: str) -> "np.ndarray":
        """(tokens,) int32, those of the text with special tokens."""
        import numpy as np

        before, after = special_tokens_around(self._backend)
        found = [np.array(before, np.int32)]
        pieces = self._cutter.pieces(text, self._characters_a_piece)
        while group := list(itertools.islice(pieces, PIECES_AT_ONCE)):
            refuse_what_memory_cannot_hold(max(group, key=len))
            encodings = self._backend.encode_batch_fast(group, add_special_tokens=False)
            found += [np.array(encoding.ids, np.int32) for encoding in encodings]
        return np.concatenate([*found, np.array(after, np.int32)])


def special_tokens_around(backend: "RustTokenizer") -> tuple[list[int], list[int]]:
    """The special tokens before and after every text."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    # The tokenizer itself may have no token for any text that could be thought of here.
    letter = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    if backend.post_processor is not None:
        letter.post_processor = backend.post_processor
    encoding = letter.encode("a", add_special_tokens=True)
    place = encoding.special_tokens_mask.index(0)
    return encoding.ids[:place], encoding.ids[place + 1 :]


def word_tokens_of(backend: "RustTokenizer") -> "WordTokens | None":
    """What tokenizes texts by their words; None where a tokenizer isn't known to take each word by itself."""
    from components.blocks.words import WordTokens, cuts_of

    cuts = cuts_of(backend)
    if cuts is None:
        return None
    found = WordTokens(backend, cuts, special_tokens_around(backend))
    # What its description doesn't say shows with such texts.
    signs, letters = string.printable.strip(), [*map(chr, range(0xC0, 0x180)), *map(chr, range(0x400, 0x480))]
    texts = [f"a{sign} {sign}a b{sign}\n{sign} {sign} a {sign} b" for sign in signs]
    texts += [" ".join(f"a {letter} b{letter}" for letter in letters[first::16]) for first in range(16)]
    expected = [token for each in backend.encode_batch_fast(texts, add_special_tokens=True) for token in each.ids]
    return found if found.encode(texts)[0].tolist() == expected else None


def refuse_what_memory_cannot_hold(text: str) -> None:
    """Refuses a text that can't be cut and is too long for the memory, which would end the whole process.

    Raises:
        DataError: If it is. The message has both numbers.
    """
    needed, free = len(text) * BYTES_A_CHARACTER[text.isascii()], memory.free_bytes()
    if free is not None and needed > free:
        raise DataError(
            "a text must have places, such as blanks between words, at which it can be cut for the tokenizer, or the "
            "memory must hold all that the tokenizer makes of it",
            received=f"{len(text):,} characters without one, for which it takes about {needed:,} bytes; {free:,} are "
            "free",
            remedy="remove that record or divide it, choose another tokenizer, or run where there is more memory",
        )


def utf8_bytes(text: str) -> int:
    """How many bytes a text has in UTF-8."""
    if text.isascii():
        return len(text)
    slices = (text[start : start + CHARACTERS_A_BATCH] for start in range(0, len(text), CHARACTERS_A_BATCH))
    return sum(len(piece.encode("utf-8", "surrogatepass")) for piece in slices)


def untruncated(tokenizer: "PreTrainedTokenizerFast") -> "RustTokenizer":
    """The Rust tokenizer, without the truncation and padding that a `tokenizer.json` may ask for."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend
