"""What the train split says about the test blocks: how frequent their tokens are there, and what of them stands there.

The token frequencies are the unigram baseline: what can be guessed about a masked token from its frequency alone.

Contaminated are the test blocks that share a long run of tokens with the train split. Brown et al. 2020, "Language
Models are Few-Shot Learners", appendix C, looks for n-grams of words (https://arxiv.org/abs/2005.14165); here they are
n-grams of tokens, so that nothing has to be decoded.
"""

import dataclasses
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from components.contract.artifacts import Blocks
from components.evaluation.params import TOP_K
from components.evaluation.questions import Questions, read_blocks, special_ids_of
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from components.modeling.scoring import Scores

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no bit of an earlier token is lost; the golden ratio's bits (Knuth, volume 3, section 6.4)."""


@dataclasses.dataclass(frozen=True)
class Unigram:
    """Add-one smoothed token frequencies.

    Attributes:
        log_probabilities: (vocabulary_size,) float64, natural logarithms; minus infinity for special tokens, which
            are never masked and so never the answer.
        counts: (vocabulary_size,) int64, how often each stands in the text; 0 for special tokens.
    """

    log_probabilities: np.ndarray
    counts: np.ndarray

    @classmethod
    def count(cls, batches: Iterable[np.ndarray], *, vocabulary_size: int, special_ids: Collection[int]) -> "Unigram":
        """Counts tokens, and gives each of the vocabulary one more (Laplace).

        Args:
            batches: Arrays of token ids of any shape, below `vocabulary_size`.
            vocabulary_size: Number of tokens, special ones among them.
            special_ids: Left out.
        """
        counts = np.zeros(vocabulary_size, dtype=np.int64)
        for batch in batches:
            counts += np.bincount(batch.reshape(-1), minlength=vocabulary_size)
        smoothed = counts + 1
        counts[list(special_ids)] = smoothed[list(special_ids)] = 0
        with np.errstate(divide="ignore"):
            return cls(np.log(smoothed) - np.log(smoothed.sum()), counts)

    def answers(self, labels: np.ndarray) -> "Scores":
        """What it gives the true tokens (masked tokens,), and its guesses, which are the same everywhere."""
        from components.modeling.scoring import Scores

        top = self.top(TOP_K)
        return Scores(
            self.log_probabilities[labels],
            np.broadcast_to(top, (len(labels), TOP_K)),
            np.broadcast_to(self.log_probabilities[top[0]], len(labels)),
        )

    def top(self, k: int) -> np.ndarray:
        """(k,) int64, the most frequent tokens, the most frequent first; of equals the lower id first."""
        return np.argsort(-self.log_probabilities, kind="stable")[:k]


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


@dataclasses.dataclass(frozen=True)
class TrainSplit:
    """What the train split says about the test blocks.

    Attributes:
        unigram: Its token frequencies.
        contaminated: (blocks,) bool, the test blocks that share a run of tokens with it.
    """

    unigram: Unigram
    contaminated: np.ndarray


def read_train_split(
    blocks: Blocks, questions: Questions, tokenizer: "PreTrainedTokenizerFast", ngram: int
) -> TrainSplit:
    """Reads the train blocks, twice.

    Args:
        blocks: Whose train split is read.
        questions: About the test blocks.
        tokenizer: Gives the special tokens, which are never counted, and the vocabulary's size.
        ngram: Tokens a shared run.
    """
    train = blocks.split("train")
    with TERMINAL.progress("counting tokens", len(train), "blocks") as progress:
        unigram = Unigram.count(
            (ids for ids, _ in progress.watch(read_blocks(train), lambda batch: len(batch[0]))),
            vocabulary_size=len(tokenizer),
            special_ids=special_ids_of(tokenizer),
        )
    with TERMINAL.progress("comparing with the train split", len(train), "blocks") as progress:
        read = progress.watch(read_blocks(train), lambda batch: len(batch[0]))
        contaminated = contaminated_blocks(
            questions.input_ids,
            questions.attention_mask,
            (ids[attention_mask > 0] for ids, attention_mask in read),
            ngram=ngram,
            vocabulary_size=len(tokenizer),
        )
    return TrainSplit(unigram, contaminated)
