"""Turns texts into token ids, batch by batch, while the next batch is read."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import PreTrainedTokenizerFast

CHARACTERS_A_BATCH = 1 << 18
"""The text that the tokenizer gets at once. While it is tokenized, it takes about 100 bytes a token."""
BATCHES_AT_ONCE = 2
"""While Rust threads tokenize one batch, Python converts the other's ids; more would only cost memory."""


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


def encode(backend: "RustTokenizer", batches: Iterable[list[str]]) -> Iterator[Encoded]:
    """Each batch of texts as tokens, in order.

    Args:
        backend: A tokenizer that neither truncates nor pads, as `untruncated` returns it.
        batches: Lists of texts. At most `BATCHES_AT_ONCE` of them are read ahead.

    Yields:
        The tokens of each batch.
    """
    import numpy as np

    def encode_batch(texts: list[str]) -> Encoded:
        encodings = backend.encode_batch_fast(texts, add_special_tokens=True)
        pieces = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        lengths = (map(len, pieces), map(len, texts), (len(text.encode("utf-8", "surrogatepass")) for text in texts))
        return Encoded(np.concatenate(pieces), *(np.fromiter(each, np.int32, len(texts)) for each in lengths))

    pending: collections.deque[Future[Encoded]] = collections.deque()
    with ThreadPoolExecutor(BATCHES_AT_ONCE) as executor:
        for texts in batches:
            pending.append(executor.submit(encode_batch, texts))
            if len(pending) > BATCHES_AT_ONCE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def untruncated(tokenizer: "PreTrainedTokenizerFast") -> "RustTokenizer":
    """The Rust tokenizer, without the truncation and padding that a `tokenizer.json` may ask for."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend
