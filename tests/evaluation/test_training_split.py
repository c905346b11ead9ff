"""Contamination: shared runs of tokens, against the plain way."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.training_split import contaminated_blocks


def plainly(test, train, ngram):
    stream = [int(token) for batch in train for token in batch.reshape(-1)]
    runs = {tuple(stream[start : start + ngram]) for start in range(len(stream) - ngram + 1)}
    return [
        any(tuple(block[start : start + ngram]) in runs for start in range(len(block) - ngram + 1))
        for block in test.tolist()
    ]


@given(
    test=st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=8),
    train=st.lists(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), max_size=3), max_size=4),
    ngram=st.integers(2, 8),
)
@settings(deadline=None)
def test_it_is_what_comparing_every_run_gives(test, train, ngram):
    test = np.array(test, np.int32)
    batches = [np.array(batch, np.int32).reshape(-1, 6) for batch in train]
    whole = np.ones_like(test)
    found = contaminated_blocks(test, whole, iter(batches), ngram=ngram, vocabulary_size=4)
    assert found.tolist() == plainly(test, batches, ngram)

    whole[::2, 4:] = 0
    found = contaminated_blocks(test, whole, iter(batches), ngram=ngram, vocabulary_size=4)
    cut = [plainly(row[None, : mask.sum()], batches, ngram)[0] for row, mask in zip(test, whole, strict=True)]
    assert found.tolist() == cut


def test_a_copied_block_is_found_across_the_ends_of_train_blocks():
    random = np.random.default_rng(0)
    train = random.integers(0, 50_000, (100, 64), np.int32)
    test = random.integers(0, 50_000, (3, 64), np.int32)
    test[1, :40] = train.reshape(-1)[64 * 10 - 20 : 64 * 10 + 20]
    whole = np.ones_like(test)
    found = contaminated_blocks(test, whole, [train[:7], train[7:]], ngram=32, vocabulary_size=50_000)
    assert found.tolist() == [0, 1, 0]
