"""Masking for masked language modeling, on whole batches at once.

The rule is that of BERT (Devlin et al. 2019, section 3.1) and of `DataCollatorForLanguageModeling`: of the chosen
tokens 80% become the mask token, 10% a random token, 10% stay; special tokens are never chosen.

The collator chooses each token by its own coin (Bernoulli), so a row's number of masks varies; here a row of n
maskable tokens gets floor(n·p) or ceil(n·p) of them, at random so that n·p is their mean. Each token is still
chosen with probability p, every batch has its share of labels (the loss varies less, and no row goes without),
and the head needs ceil(block_size·p) slots a row, which are never short and hardly ever idle, where coins would
need about twice as many to be safe. Whole words are chosen so that this stays true: see
`components.masking.whole_words`. What becomes of a chosen token is drawn for each token by itself, in whole words
too, as in BERT's code and the collator.
"""

import dataclasses
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.masking.shares import Share
from components.masking.whole_words import WordBoundaries, choose_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100
"""The label of a position that no prediction is asked for, as everywhere in transformers."""


def max_predictions(block_size: int, probability: float) -> int:
    """The most tokens of a row that `draw_masks` chooses; at least 1."""
    # Rounded first, because 0.07 * 100 is 7.000000000000001.
    return max(1, math.ceil(round(block_size * probability, 6)))


@dataclasses.dataclass(frozen=True)
class Masks:
    """The chosen tokens of some blocks.

    Attributes:
        positions: (blocks, predictions) int32. Slots beyond a row's number of masks hold some other position.
        labels: (blocks, predictions) int32, the true tokens; `IGNORED_LABEL` in such slots.
        input_ids: (blocks, block_size), what the model sees; same dtype as the true tokens.
    """

    positions: np.ndarray
    labels: np.ndarray
    input_ids: np.ndarray

    @property
    def dense_labels(self) -> np.ndarray:
        """(blocks, block_size) int32, the true tokens where chosen, else `IGNORED_LABEL`."""
        dense = np.full(self.input_ids.shape, IGNORED_LABEL, np.int32)
        np.put_along_axis(dense, self.positions, self.labels, axis=1)
        return dense


def draw_masks(
    input_ids: np.ndarray,
    *,
    special_ids: Collection[int],
    vocabulary_size: int,
    mask_token_id: int,
    probability: float | Sequence[float],
    random: np.random.Generator | Sequence[np.random.Generator],
    slots: int | None = None,
    words: WordBoundaries | None = None,
    share: Share | None = None,
    replace_rate: float = 0.8,
    random_rate: float = 0.1,
) -> Masks:
    """Chooses tokens, or whole words, and masks them.

    Args:
        input_ids: (blocks, block_size) integers, the true tokens.
        special_ids: Tokens never chosen.
        vocabulary_size: Random tokens are drawn from 0 to this, exclusive, as the collator does.
        mask_token_id: The mask token.
        probability: Share of the maskable tokens that are chosen, from 0 to 1; or those of equal parts of the blocks.
        random: Where the chance comes from; or that of each part, which then gets what it would get alone.
        slots: The most tokens of a row that are chosen; None for as many as the probability asks for.
        words: Where words begin and end, to choose whole ones; None to choose each token by itself.
        share: Which rows of each part the blocks are; they get what they would get among all. None for all.
        replace_rate: Share of the chosen that become the mask token.
        random_rate: Share of the chosen that become a random token. The rest stays.
    """
    blocks, block_size = input_ids.shape
    generators = [random] if isinstance(random, np.random.Generator) else random
    part = blocks // len(generators)
    rates = np.broadcast_to(np.asarray(probability, np.float64), len(generators)).repeat(part)  # (blocks,)
    if slots is None:
        slots = max_predictions(block_size, float(rates.max(initial=0.0)))

    whole, rows = (part, slice(None)) if share is None else (share.size, share.rows)

    def uniform(*shape: int) -> np.ndarray:
        if share is not None:
            return np.concatenate([share.random(generator, *shape) for generator in generators])
        return np.concatenate([generator.random((part, *shape)) for generator in generators])

    is_special = np.zeros(max(vocabulary_size, int(input_ids.max(initial=0)) + 1), np.bool_)
    is_special[[token for token in special_ids if token < len(is_special)]] = True
    maskable = ~is_special[input_ids]  # (blocks, block_size)

    if words is None:
        positions, counts = _choose_tokens(maskable, rates, slots, uniform(), uniform(block_size))
    else:
        starts = words.starts(input_ids, maskable)
        chosen = choose_words(starts, maskable, rates, slots, uniform(), uniform(block_size), uniform())
        positions, counts = np.argsort(~chosen, axis=1, kind="stable")[:, :slots].astype(np.int32), chosen.sum(axis=1)
    counted = np.arange(slots) < counts[:, None]  # (blocks, slots)

    true_ids = np.take_along_axis(input_ids, positions, axis=1)  # (blocks, slots)
    kind = np.concatenate([generator.random((whole, slots), np.float32)[rows] for generator in generators])
    anything = np.concatenate(
        [generator.integers(0, vocabulary_size, (whole, slots), input_ids.dtype)[rows] for generator in generators]
    )
    seen = np.where(kind < replace_rate, mask_token_id, np.where(kind < replace_rate + random_rate, anything, true_ids))
    masked = input_ids.copy()
    np.put_along_axis(masked, positions, np.where(counted, seen, true_ids).astype(input_ids.dtype), axis=1)
    return Masks(positions, np.where(counted, true_ids, IGNORED_LABEL).astype(np.int32), masked)


def _choose_tokens(
    maskable: np.ndarray, rates: np.ndarray, slots: int, rounding: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses among maskable tokens (blocks, block_size) bool at rates (blocks,).

    The chance is in numbers from 0 to 1: `rounding` (blocks,) and `keys` (blocks, block_size).

    Returns:
        positions (blocks, slots) int32, of which the first ones count, and how many do, (blocks,).
    """
    wanted = maskable.sum(axis=1) * rates  # (blocks,)
    counts = np.minimum(np.floor(wanted + rounding), np.ceil(np.round(wanted, 6)))
    # The tokens with the smallest keys are a uniform choice without repetition; special ones come last.
    # In float64 no two keys are equal, so that the choice doesn't hang on how a CPU's sort breaks ties.
    keys = np.where(maskable, keys, 2.0)
    smallest = np.argpartition(keys, slots - 1, axis=1)[:, :slots]  # (blocks, slots), in any order
    order = np.argsort(np.take_along_axis(keys, smallest, axis=1), axis=1)
    return np.take_along_axis(smallest, order, axis=1).astype(np.int32), counts


@dataclasses.dataclass(frozen=True)
class MaskingRate:
    """The share of tokens that is masked, over the batches of a training: constant, on a straight line, or by steps.

    Decreasing rates: Ankner et al. 2023, "Dynamic Masking Rate Schedules for MLM Pretraining"
    (https://arxiv.org/abs/2305.15096); by steps, from 30% to 15% and 5%, in Marone et al. 2025, "mmBERT"
    (https://arxiv.org/abs/2509.06888).

    Attributes:
        start: Of the first batch, from 0 to 1.
        end: Of the last batch; None for the same.
        batches: How many there are; later ones have the last one's rate.
        changes: Batches, from 0, and the rate that holds from each of them on; none with an `end`.
    """

    start: float
    end: float | None = None
    batches: int = 1
    changes: tuple[tuple[int, float], ...] = ()

    @property
    def largest(self) -> float:
        """The rate that the slots for predictions must suffice for."""
        return max(self.start, self.start if self.end is None else self.end, *(rate for _, rate in self.changes))

    def at(self, batch: int) -> float:
        """The rate of a batch, by its number from 0."""
        if self.end is None:
            return next((rate for first, rate in reversed(self.changes) if first <= batch), self.start)
        passed = min(batch / max(self.batches - 1, 1), 1.0)
        return self.start * (1 - passed) + self.end * passed


class MaskingCollator:
    """Turns rows of blocks into a masked batch: a `collate_fn` for `prepare_tf_dataset`.

    A batch has what the rows have, with `input_ids` masked, and `labels` (batch, block_size) int32, the true tokens
    where masked and -100 elsewhere: what `DataCollatorForLanguageModeling` gives, in a fraction of its time.

    Args:
        tokenizer: Gives the mask token, the special tokens and the vocabulary's size.
        probability: Share of the tokens that are masked, from 0 to 1; or a rate that differs from batch to batch.
        seed: A whole number from 0.
        words: Where words begin and end, to mask whole ones; None to mask each token by itself.
        share: Which rows of each batch it is given, whose masks are those that they have among all; None for all.
        frozen: Whether the masks of a batch depend on the seed and its content only, so that a batch always has the
            same masks; else on the seed and the number of the call, so that every call draws new ones.
        first_batch: The number of the first call, from 0: the batches made before, where training goes on.
        replace_rate: Share of the chosen that become the mask token.
        random_rate: Share of the chosen that become a random token.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        probability: float | MaskingRate,
        seed: int,
        *,
        words: WordBoundaries | None = None,
        share: Share | None = None,
        frozen: bool = False,
        first_batch: int = 0,
        replace_rate: float = 0.8,
        random_rate: float = 0.1,
    ) -> None:
        self.special_ids = tuple(tokenizer.all_special_ids)
        self.vocabulary_size = len(tokenizer)
        self.mask_token_id = int(tokenizer.mask_token_id)
        self.rate = probability if isinstance(probability, MaskingRate) else MaskingRate(probability)
        self.words = words
        self.share = share
        self.replace_rate = replace_rate
        self.random_rate = random_rate
        self.seed = seed
        self.frozen = frozen
        self.first_batch = self.next_batch = first_batch

    def restart(self) -> None:
        """Makes the next call the first."""
        self.next_batch = self.first_batch

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Collates rows of equal length."""
        return self.mask({name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]})

    def mask(self, columns: Mapping[str, np.ndarray], batches: int = 1) -> dict[str, np.ndarray]:
        """Masks the next batches, which are equal parts of columns (blocks, block_size): faster than one by one."""
        input_ids = columns["input_ids"]  # (blocks, block_size)
        numbers = range(self.next_batch, self.next_batch + batches)
        self.next_batch += batches
        sources: Sequence[int] = numbers
        if self.frozen:
            sources = [zlib.crc32(np.ascontiguousarray(part).data) for part in np.split(input_ids, batches)]
        # The library tries a collator out on a single row.
        is_share = self.share is not None and len(input_ids) == batches * len(self.share.rows)
        masks = draw_masks(
            input_ids,
            special_ids=self.special_ids,
            vocabulary_size=self.vocabulary_size,
            mask_token_id=self.mask_token_id,
            probability=[self.rate.at(number) for number in numbers],
            random=[np.random.default_rng([self.seed, source]) for source in sources],
            slots=max_predictions(input_ids.shape[1], self.rate.largest),
            words=self.words,
            share=self.share if is_share else None,
            replace_rate=self.replace_rate,
            random_rate=self.random_rate,
        )
        return {**columns, "input_ids": masks.input_ids, "labels": masks.dense_labels}
