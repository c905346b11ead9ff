"""Token ids to text in the graph."""

import numpy as np
import pytest
import tensorflow as tf

from serving.graph.tokenizers.decoder import Decoder

FIRST = [None, b"<s>", b"the", b" sky", b"\xc3", b"\xa9", b"is", b" .", b""]
REST = [None, b"<s>", b" the", b" sky", b"\xc3", b"\xa9", b"##is", b" .", b"x"]


@pytest.mark.parametrize("rest", [FIRST, REST], ids=["alike everywhere", "other at the start"])
@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("byte_ids", [set(), {4, 5}], ids=["without byte tokens", "with byte tokens"])
def test_a_candidate_in_its_place_is_decoded_as_the_whole_sequence_is(
    rest: list[bytes | None], clean_up: bool, byte_ids: set[int]
) -> None:
    decoder = Decoder(FIRST, rest, special_ids={1}, clean_up=clean_up, byte_ids=byte_ids)
    random = np.random.default_rng(0)
    rows, length, count = 200, 5, 6
    ids = random.integers(0, len(FIRST), (rows, length)).astype(np.int32)
    kept = random.random((rows, length)) < 0.7
    place = random.integers(0, length, rows)
    candidates = random.integers(0, len(FIRST), (rows, count)).astype(np.int32)
    kept_candidates = random.random((rows, count)) < 0.8
    skip = random.random(rows) < 0.5
    found = decoder.with_each(*map(tf.constant, (ids, kept, place, candidates, kept_candidates, skip)))
    for number in range(count):
        filled, kept_then = ids.copy(), kept.copy()
        filled[np.arange(rows), place] = candidates[:, number]
        kept_then[np.arange(rows), place] = kept_candidates[:, number]
        whole = decoder(*map(tf.constant, (filled, kept_then, skip)))
        assert found[:, number].numpy().tolist() == whole.numpy().tolist()
