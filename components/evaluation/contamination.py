"""Contamination: test blocks that share long runs of tokens with the train split.

Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C, does it by n-grams of words
(https://arxiv.org/abs/2005.14165); here they are n-grams of tokens, so that nothing has to be decoded.
"""

from collections.abc import Iterable

import numpy as np

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no bit of an earlier token is lost; the golden ratio's bits (Knuth, volume 3, section 6.4)."""


def contaminated_blocks(
    test: np.ndarray,
    attention_mask: np.ndarray,
    train: Iterable[np.ndarray],
    *,
    ngram: int,
    vocabulary_size: int,
) -> np.ndarray:
    """Which test blocks hold a run of tokens that stands in the train split too.

    Memory grows with the test blocks only: the train blocks stream by. Runs are told apart by 64-bit hashes; for a
    billion runs on either side the chance that any two different ones agree is about one in twenty.

    Args:
        test: (blocks, block_size) int32.
        attention_mask: (blocks, block_size), 0 for padding, which is at the end; a run with padding is none.
        train: Arrays of token ids of any shape, in the stream's order: runs go across the ends of blocks there.
        ngram: Tokens a run; blocks that are shorter have none.
        vocabulary_size: All ids are below it.

    Returns:
        (blocks,) bool.
    """
    blocks, block_size = test.shape
    if block_size < ngram:
        return np.zeros(blocks, bool)
    table = np.random.default_rng(0).integers(0, 2**64, vocabulary_size, np.uint64)
    hashes = run_hashes(test, table, ngram)  # (blocks, block_size - ngram + 1)
    whole = attention_mask[:, ngram - 1 :] > 0  # the same
    wanted = np.unique(hashes[whole])
    if not len(wanted):
        return np.zeros(blocks, bool)
    found = np.zeros(len(wanted), bool)
    carried = np.empty(0, np.int32)
    for batch in train:
        stream = np.concatenate([carried, batch.reshape(-1)])
        carried = stream[max(0, len(stream) - ngram + 1) :]
        if len(stream) >= ngram:
            runs = run_hashes(stream[None], table, ngram)[0]
            places: np.ndarray = np.minimum(np.searchsorted(wanted, runs), len(wanted) - 1)
            found[places[wanted[places] == runs]] = True
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    return np.any(found[places] & whole, axis=1)


def run_hashes(token_ids: np.ndarray, table: np.ndarray, ngram: int) -> np.ndarray:
    """A hash of every run of tokens.

    Args:
        token_ids: (rows, tokens) integers.
        table: (vocabulary_size,) uint64, a random number a token.
        ngram: Tokens a run.

    Returns:
        (rows, tokens - ngram + 1) uint64: polynomials modulo 2**64 of the tokens' random numbers.
    """
    numbers = table[token_ids]
    runs = token_ids.shape[1] - ngram + 1
    hashes = numbers[:, :runs].copy()
    for offset in range(1, ngram):
        hashes *= MULTIPLIER
        hashes += numbers[:, offset : offset + runs]
    return hashes
