"""Documents in blocks: nothing is lost, none is torn, and little is padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.blocks.packing import Concatenated, Packed, best_fit, layout_of, pieces_of

PAD = 1


def fill_all(layout, documents, batches=3):
    """The blocks of documents that come in some batches, and which document each token is of."""
    filled = []
    for start in range(0, len(documents), max(1, -(-len(documents) // batches))):
        batch = documents[start : start + max(1, -(-len(documents) // batches))]
        lengths = np.array([len(document) for document in batch], np.int32)
        filled.append(layout.add(np.concatenate(batch).astype(np.int32), lengths))
    filled.append(layout.finish())
    assert all(each.input_ids.shape == each.document_ids.shape for each in filled)
    return np.concatenate([each.input_ids for each in filled]), np.concatenate([each.document_ids for each in filled])


def documents_of(lengths):
    """Documents whose tokens are all different, so that a torn or lost one shows."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) + 10 for length, end in zip(lengths, ends, strict=True)]


def pieces_in(input_ids, document_ids):
    """What stands in the blocks, document by document."""
    return [
        tuple(row[numbers == number].tolist())
        for row, numbers in zip(input_ids, document_ids, strict=True)
        for number in range(1, numbers.max(initial=0) + 1)
    ]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(8, 20), st.sampled_from(["documents", "packed"]))
@settings(deadline=None)
def test_every_document_is_there_once_and_whole(lengths, block_size, packing):
    documents = documents_of(lengths)
    input_ids, document_ids = fill_all(layout_of(packing, block_size, PAD), documents)
    whole = [
        tuple(document[start : start + block_size].tolist())
        for document in documents
        for start in range(0, len(document), block_size)
    ]
    found = pieces_in(input_ids, document_ids)
    assert sorted(found) == sorted(whole)
    assert (input_ids[document_ids == 0] == PAD).all()
    for numbers in document_ids:  # each stands in one run, padding at the end
        used = numbers[numbers > 0]
        assert len(used)
        assert (numbers[: len(used)] > 0).all()
        assert (np.diff(used) >= 0).all()
    if packing == "documents":
        assert found == whole
        assert document_ids.max(initial=0) <= 1


@given(st.lists(st.integers(1, 20), max_size=200))
@settings(deadline=None)
def test_best_fit(lengths):
    lengths = np.array(lengths, np.int32)
    blocks = best_fit(lengths, 20)
    filled = np.bincount(blocks, lengths)
    assert (filled <= 20).all()
    assert (filled > 0).all()
    for block in range(1, len(filled)):  # it was opened because its first piece, the longest, went nowhere else
        assert lengths[blocks == block].max() > (20 - filled[:block]).max()


def test_the_least_room_that_is_enough_is_taken():
    # 7 leaves 3, 6 leaves 4: both have room for the 3.
    assert best_fit(np.array([3, 7, 6]), 10).tolist() == [0, 0, 1]


def test_memory_is_bounded_by_the_window():
    layout = Packed(8, PAD, window_tokens=0)  # the least: 256 blocks
    given, blocks = 0, 0
    for _ in range(40):
        filled = layout.add(np.full(800, 9, np.int32), np.full(200, 4, np.int32))
        given += 800
        blocks += len(filled.input_ids)
        assert given - blocks * 8 < 256 * 8 + 800
    assert blocks + len(layout.finish().input_ids) == 40 * 100


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=150, max_size=400),
    ends=st.lists(st.integers(0, 400), max_size=8),
    restarts=st.booleans(),
)
def test_where_the_batches_end_changes_no_packed_block(lengths, ends, restarts):
    lengths = np.array(lengths, np.int32)
    token_ids = np.arange(lengths.sum(), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)])

    def blocks_of(batches):
        layout = Packed(8, PAD, window_tokens=0)  # the least: 256 blocks
        filled = []
        for low, high in itertools.pairwise([0, *batches, len(lengths)]):
            filled.append(layout.add(token_ids[starts[low] : starts[high]], lengths[low:high]))
            if restarts:
                held, layout = layout.held, Packed(8, PAD, window_tokens=0)
                layout.add(*held)
        filled.append(layout.finish())
        return [np.concatenate([getattr(each, name) for each in filled]) for name in ("input_ids", "document_ids")]

    whole, batched = blocks_of([]), blocks_of(sorted(end for end in ends if end < len(lengths)))
    np.testing.assert_array_equal(whole[0], batched[0])
    np.testing.assert_array_equal(whole[1], batched[1])
    assert sorted(whole[0][whole[1] > 0].tolist()) == token_ids.tolist()


def test_little_is_padding():
    """Answers' lengths are about log-normal."""
    lengths = np.minimum(np.random.default_rng(0).lognormal(4, 0.8, 5_000).astype(np.int32) + 2, 2_000)
    pieces = pieces_of(lengths, 128)
    assert pieces.sum() == lengths.sum()
    blocks = best_fit(pieces, 128).max() + 1
    assert lengths.sum() / (blocks * 128) > 0.99


def test_concatenating_is_untouched():
    layout = layout_of("concatenate", 8, None)
    filled = layout.add(np.arange(21, dtype=np.int32), np.array([5, 16], np.int32))
    assert filled.document_ids is None
    assert filled.input_ids.tolist() == np.arange(16).reshape(2, 8).tolist()
    assert len(layout.finish().input_ids) == 0
    assert layout.dropped == 5


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 17))
def test_concatenated_blocks_and_remainder_are_the_stream_wherever_its_batches_end(lengths, block_size):
    stream = np.arange(sum(lengths), dtype=np.int32)
    layout = layout_of("concatenate", block_size, None)
    batches = np.split(stream, np.cumsum(lengths)[:-1]) if lengths else []
    filled = [layout.add(batch, np.array([len(batch)])).input_ids for batch in batches]
    assert all(blocks.shape[1] == block_size for blocks in filled)
    kept = np.concatenate([np.empty(0, np.int32), *(blocks.ravel() for blocks in filled)])
    assert layout.dropped == len(stream) - len(kept) < block_size
    np.testing.assert_array_equal(kept, stream[: len(kept)])


def test_the_remainder_does_not_keep_its_batch_alive():
    layout = Concatenated(8)
    layout.add(np.arange(1_000_003, dtype=np.int32), np.array([1_000_003]))
    assert layout._remainder.base is None


def test_a_padding_token_is_needed():
    with pytest.raises(ValueError, match="padding token"):
        layout_of("packed", 8, None)
