"""Requests of many clients that the graph joins: each has its own answer or error, whoever asks beside it."""

import random
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.library.adapter import LibraryMaskedLM
from serving.graph.batching import InGraphBatching, RowBatcher, fit
from serving.graph.signatures import TextSignatures
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.server.models.saved_model import SavedModel
from serving.server.status import StatusError
from tests.serving.graph.test_signatures import small_model

LONGEST = 48


def batcher(calls, batching):
    """Doubles rows, in a graph, and writes down how many came together."""

    def double(rows):
        with tf.control_dependencies([tf.py_function(lambda count: calls.append(int(count)), [tf.shape(rows)[0]], [])]):
            return (rows * 2,)

    run = RowBatcher("double", batching)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def graph(rows):
        def keep(doubled):
            return (fit(doubled, tf.constant([2]), -1.0),)

        return run(double, [rows], keep, keep, [tf.zeros([0, 2])], lambda kept: (kept,))[0]

    return graph


def test_a_large_request_goes_in_pieces_and_one_of_no_rows_calls_nothing():
    calls, size = [], 4
    graph = batcher(calls, InGraphBatching(max_batch_size=size))
    rows = np.arange(3 * (2 * size + 1), dtype=np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(graph(rows).numpy(), 2 * rows[:, :2])
    assert calls == [size, size, 1]
    assert graph(rows[:0]).shape == (0, 2)
    assert len(calls) == 3


def test_requests_that_come_together_share_a_batch():
    calls = []
    graph = batcher(calls, InGraphBatching(max_batch_size=8, num_batch_threads=1, batch_timeout_micros=2_000_000))
    rows = [np.full((2, 3), number, np.float32) for number in range(4)]
    found = [None] * 4

    def ask(number):
        found[number] = graph(rows[number]).numpy()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert calls == [8]
    for number in range(4):
        np.testing.assert_array_equal(found[number], 2 * rows[number][:, :2])


def test_the_rest_of_a_large_request_shares_a_batch_with_small_ones():
    """They go two ways through the graph, and into the same queue."""
    calls = []
    graph = batcher(calls, InGraphBatching(max_batch_size=4, num_batch_threads=1, batch_timeout_micros=60_000_000))
    large = threading.Thread(target=graph, args=(np.ones((6, 3), np.float32),))
    large.start()
    while not calls and large.is_alive():
        time.sleep(0.01)
    np.testing.assert_array_equal(graph(np.full((2, 3), 3, np.float32)).numpy(), np.full((2, 2), 6))
    large.join(60)
    assert calls == [4, 4]


def test_rows_are_cut_or_padded():
    rows = tf.reshape(tf.range(6), [1, 2, 3])
    assert fit(rows, tf.constant([1, 4]), -1).numpy().tolist() == [[[0, 1, 2, -1]]]


@pytest.fixture(scope="module")
def model(byte_level_tokenizer, tmp_path_factory):
    """As a server loads it."""
    directory = tmp_path_factory.mktemp("saved_model")
    tokenizer = byte_level_tokenizer
    library = small_model(tokenizer)
    module = TextSignatures(
        LibraryMaskedLM(library),
        build_in_graph_tokenizer(tokenizer, library.config.vocab_size),
        top_k=3,
        max_top_k=8,
        max_sequence_length=LONGEST,
        batching=InGraphBatching(max_batch_size=16),
    )
    module.save(directory)
    loaded = SavedModel(directory, timeout_seconds=120)
    yield loaded
    loaded.close()


def strings(*texts):
    return np.array([text.encode() for text in texts], object)


def requests():
    """Each signature and its inputs: good ones of unlike lengths, ones of no rows, and malformed ones."""
    texts = ["The sky is <mask>.", "<mask>", "<mask> and the <mask> of <mask> with", "no mask", "word " * 60 + "<mask>"]
    for text in texts:
        yield "serving_default", {"text": strings(text)}
        yield (
            "fill_mask",
            {"text": strings(text, "a <mask>"), "top_k": np.array([2, 7], np.int32), "targets": strings("")},
        )
    yield "serving_default", {"text": strings(*texts * 5)}
    yield (
        "fill_mask",
        {"text": strings("a <mask>"), "top_k": np.array([5], np.int32), "targets": strings("the\n of\nsky")},
    )
    for length in (1, 7, 20, LONGEST):
        ids = np.full((2, length), 5, np.int32)
        ids[0, length // 2] = 4
        for signature in ("tokens", "logits"):
            yield signature, {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    none = np.zeros((0, 0), np.int32)
    yield "serving_default", {"text": strings()}
    yield "fill_mask", {"text": strings(), "top_k": np.zeros(0, np.int32), "targets": strings()}
    yield "tokens", {"input_ids": none, "attention_mask": none}
    yield "logits", {"input_ids": none, "attention_mask": none}
    yield "serving_default", {"text": strings("<mask>")[:, None]}
    yield "fill_mask", {"text": strings("<mask>", "<mask>"), "top_k": np.ones(3, np.int32), "targets": strings("")}
    yield "tokens", {"input_ids": np.full((1, 4), 10**6, np.int32), "attention_mask": np.ones((1, 4), np.int32)}
    yield "logits", {"input_ids": np.ones((2, 4), np.int32), "attention_mask": np.ones((3, 4), np.int32)}
    yield "tokens", {"input_ids": np.ones((1, LONGEST + 1), np.int32), "attention_mask": np.ones((1, 1), np.int32)}


def answer(model, request):
    try:
        return model.run(*request)
    except StatusError as error:
        return str(error)


def assert_alike(expected, found):
    if isinstance(expected, str):
        assert found == expected
        return
    assert not isinstance(found, str), found
    for name, value in expected.items():
        assert found[name].shape == value.shape
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(found[name], value)


def ask_at_once(model, clients, each):
    asked = list(requests())
    alone = [answer(model, request) for request in asked]
    assert sum(isinstance(one, str) for one in alone) == 5
    problems = []

    def client(seed):
        for number in random.Random(seed).choices(range(len(asked)), k=each):
            try:
                assert_alike(alone[number], answer(model, asked[number]))
            except AssertionError as error:
                problems.append((asked[number][0], error))

    threads = [threading.Thread(target=client, args=(seed,), daemon=True) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not any(thread.is_alive() for thread in threads)
    assert not problems


@pytest.mark.slow
def test_every_request_is_answered_as_alone_and_a_malformed_one_disturbs_nobody(model):
    ask_at_once(model, clients=8, each=12)


@pytest.mark.slow
def test_many_clients_for_long(model):
    ask_at_once(model, clients=32, each=150)


@pytest.mark.slow
def test_ten_thousand_texts_in_one_request(model):
    outputs = model._run("serving_default", {"text": strings(*["a <mask>"] * 10_000)})
    assert outputs["score"].shape == (10_000, 1, 3)
    assert (outputs["token"] == outputs["token"][:1]).all()
