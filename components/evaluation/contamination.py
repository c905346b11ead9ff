"""Contamination: test blocks that share long runs of tokens with the train split.

Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C, does it by n-grams of words
(https://arxiv.org/abs/2005.14165); here they are n-grams of tokens, so that nothing has to be decoded.
"""

from collections.abc import Iterable

import numpy

MULTIPLIER = numpy.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no bit of an earlier token is lost; the golden ratio's bits (Knuth, volume 3, section 6.4)."""


def contaminated_blocks(
    test: numpy.ndarray,
    attention_mask: numpy.ndarray,
    train: Iterable[numpy.ndarray],
    *,
    ngram: int,
    vocabulary_size: int,
) -> numpy.ndarray:
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
        return numpy.zeros(blocks, bool)
    table = numpy.random.default_rng(0).integers(0, 2**64, vocabulary_size, numpy.uint64)
    hashes = run_hashes(test, table, ngram)  # (blocks, block_size - ngram + 1)
    whole = attention_mask[:, ngram - 1 :] > 0  # the same
    wanted = numpy.unique(hashes[whole])
    if not len(wanted):
        return numpy.zeros(blocks, bool)
    found = numpy.zeros(len(wanted), bool)
    carried = numpy.empty(0, numpy.int32)
    for batch in train:
        stream = numpy.concatenate([carried, batch.reshape(-1)])
        carried = stream[max(0, len(stream) - ngram + 1) :]
        if len(stream) >= ngram:
            runs = run_hashes(stream[None], table, ngram)[0]
            places: numpy.ndarray = numpy.minimum(numpy.searchsorted(wanted, runs), len(wanted) - 1)
            found[places[wanted[places] == runs]] = True
    places = numpy.minimum(numpy.searchsorted(wanted, hashes), len(wanted) - 1)
    return numpy.any(found[places] & whole, axis=1)


def run_hashes(token_ids: numpy.ndarray, table: numpy.ndarray, ngram: int) -> numpy.ndarray:
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
