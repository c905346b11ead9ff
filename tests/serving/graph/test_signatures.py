"""The signatures answer what transformers' fill-mask pipeline answers, whatever stands beside a text."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.modeling.library.adapter import LibraryMaskedLM
from serving.graph import masks
from serving.graph.batching import InGraphBatching
from serving.graph.signatures import TextSignatures
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.server.batching.parameters import BatchingParameters
from serving.server.batching.scheduler import BatchScheduler
from serving.server.limits.answer_size import USUAL_TOP_K, actual, column_bytes, memory_bytes, message_bytes, row_bytes
from serving.server.models import large_requests
from serving.server.models.batched_model import BatchedModel
from serving.server.models.saved_model import SavedModel
from serving.server.status import StatusError

LONGEST = 48
TOP_K = 3


def small_model(tokenizer, seed=0):
    from transformers import RobertaConfig, TFRobertaForMaskedLM

    tf.keras.utils.set_random_seed(seed)
    config = RobertaConfig(
        # More ids than the tokenizer has, as in models whose vocabulary is padded to a round number.
        vocab_size=len(tokenizer) + 3,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LONGEST + 2,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    model = TFRobertaForMaskedLM(config)
    model.build_in_name_scope()
    return model


class Served:
    """A model in both forms: saved and loaded again, and in the library's pipeline."""

    def __init__(self, tokenizer, directory, batching=None, **options):
        from transformers import FillMaskPipeline

        model = small_model(tokenizer)
        self.tokenizer = tokenizer
        self.pipeline = FillMaskPipeline(model=model, tokenizer=tokenizer, framework="tf", top_k=TOP_K)
        in_graph = build_in_graph_tokenizer(tokenizer, model.config.vocab_size)
        module = TextSignatures(
            LibraryMaskedLM(model),
            in_graph,
            top_k=TOP_K,
            max_top_k=8,
            max_sequence_length=LONGEST,
            batching=batching,
            **options,
        )
        module.save(directory)
        self.directory = directory
        self._loaded = tf.saved_model.load(str(directory))
        self.signatures = self._loaded.signatures

    def ask(self, texts, **more):
        name = "fill_mask" if more else "serving_default"
        texts = [text.encode() if isinstance(text, str) else text for text in texts]
        inputs = {"text": texts, **more}
        types = {"text": tf.string, "top_k": tf.int32, "targets": tf.string}
        outputs = self.signatures[name](**{key: tf.constant(value, types[key]) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    def expected(self, text, **more):
        answer = self.pipeline(text, **more)
        return answer if isinstance(answer[0], list) else [answer]


def assert_answers(outputs, row, expected, status=b"ok"):
    """The row holds the pipeline's answer, and padding after it."""
    assert outputs["status"][row] == status
    assert outputs["num_masks"][row] == len(expected)
    for mask, candidates in enumerate(expected):
        for rank, candidate in enumerate(candidates):
            place = (row, mask, rank)
            assert outputs["token"][place] == candidate["token"]
            assert outputs["score"][place] == pytest.approx(candidate["score"], abs=1e-5)
            assert outputs["token_str"][place] == candidate["token_str"].encode()
            assert outputs["sequence"][place] == candidate["sequence"].encode()
        assert_padding(outputs, (row, mask, slice(len(candidates), None)))
    assert_padding(outputs, (row, slice(len(expected), None)))


def assert_padding(outputs, place):
    assert (outputs["token"][place] == -1).all()
    assert (outputs["score"][place] == 0).all()
    assert (outputs["token_str"][place] == b"").all()
    assert (outputs["sequence"][place] == b"").all()


@pytest.fixture(
    scope="module", params=["byte_level_tokenizer", pytest.param("wordpiece_tokenizer", marks=pytest.mark.slow)]
)
def served(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved_model")
    # One of them batches in its graph, and one doesn't.
    batching = InGraphBatching() if request.param == "byte_level_tokenizer" else None
    return Served(request.getfixturevalue(request.param), directory, batching)


@pytest.fixture(scope="module")
def texts(served):
    special = served.tokenizer
    return [
        text.replace("<mask>", special.mask_token).replace("</s>", special.sep_token or special.eos_token)
        for text in (
            "The sky is <mask>.",
            "<mask> and <mask>  <mask>.",
            "<mask>",
            "Naïve </s> 日本 😀 <mask>\n it's <mask>",
            "x" * 20 + " <mask>",
        )
    ]


def test_answers_are_the_pipelines(served, texts):
    outputs = served.ask(texts)
    for row, text in enumerate(texts):
        assert_answers(outputs, row, served.expected(text))
    assert outputs["num_tokens"].tolist() == [len(ids) for ids in served.tokenizer(texts)["input_ids"]]


@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_answers_to_any_text(served, data):
    part = st.sampled_from([served.tokenizer.mask_token, " ", "the", "sky's"]) | st.text(max_size=3)
    texts = data.draw(st.lists(st.lists(part, max_size=8).map("".join), min_size=1, max_size=4))
    outputs = served.ask(texts)
    for row, text in enumerate(texts):
        if served.tokenizer.mask_token in text:
            assert_answers(outputs, row, served.expected(text))
        else:
            assert outputs["status"][row] == b"no_mask"


def test_texts_that_cannot_be_answered_do_not_disturb_their_neighbours(served, texts):
    mask = served.tokenizer.mask_token
    good = texts[0]
    bad = {
        b"": b"no_mask",
        b"no mask": b"no_mask",
        f"{mask} {'word ' * 100_000}".encode(): b"too_many_tokens",
        (mask * 64).encode(): b"too_many_tokens",
        b"\x00": b"no_mask",
        b"\xff\xfe": b"no_mask",
    }
    rows = [line for text in bad for line in (text, good)]
    outputs = served.ask(rows)
    expected = served.expected(good)
    for row, text in enumerate(rows):
        if text == good:
            assert_answers(outputs, row, expected)
        else:
            assert outputs["status"][row] == bad[text]
            assert outputs["num_masks"][row] == 0
            assert_padding(outputs, row)


def test_invalid_utf8_and_nul_beside_a_mask(served):
    mask = served.tokenizer.mask_token
    raw = [b"a\xff\xc3 " + mask.encode(), b"a\x00b " + mask.encode()]
    outputs = served.ask(raw)
    for row, text in enumerate(raw):
        assert_answers(outputs, row, served.expected(text.decode("utf-8", "replace")))


def test_the_longest_text_is_answered_and_one_token_more_is_not(served):
    mask = served.tokenizer.mask_token
    around = len(served.tokenizer("")["input_ids"])
    longest, longer = mask * (LONGEST - around), mask * (LONGEST - around + 1)
    outputs = served.ask([longest, longer])
    assert outputs["num_tokens"].tolist() == [LONGEST, LONGEST + 1]
    assert outputs["status"].tolist() == [b"ok", b"too_many_tokens"]
    assert_answers(outputs, 0, served.expected(longest))


def test_masks_are_worked_on_in_turns(served, monkeypatch):
    """More masks than one turn takes give the same answers."""
    text = served.tokenizer.mask_token * 40
    outputs = served.ask([text] * 4)
    assert masks.MASKS_A_TURN < 4 * 40
    for row in range(4):
        assert_answers(outputs, row, served.expected(text))


def test_a_turn_is_smaller_where_each_mask_has_much_to_decode():
    """Hundreds of masks with a hundred candidates each in a long text take no more memory at once than a few."""
    found = {}
    for cells in (1, masks.CELLS_A_TURN // 3, 2 * masks.CELLS_A_TURN):
        sizes = []

        def turn(numbers, sizes=sizes):
            count = tf.py_function(lambda some: sizes.append(len(some)) or 0, [numbers], tf.int64)
            with tf.control_dependencies([count]):
                return (tf.identity(numbers)[:, None],)

        (numbers,) = masks.in_turns(tf.constant(70, tf.int64), turn, (tf.int64,), tf.constant(cells, tf.int64))
        assert numbers[:, 0].numpy().tolist() == list(range(70))
        found[cells] = max(sizes)
    assert list(found.values()) == [masks.MASKS_A_TURN, 3, 1]


def test_no_text(served):
    outputs = served.ask([])
    assert {len(value) for value in outputs.values()} == {0}


@pytest.mark.parametrize(
    ("signature", "inputs", "rule"),
    [
        ("serving_default", {"text": [[b"x"], [b"y"]]}, "not compatible with expected shape"),
        ("fill_mask", {"text": [b"x"], "top_k": [[1]], "targets": [b""]}, "not compatible with expected shape"),
        ("tokens", {"input_ids": [[-1]], "attention_mask": [[1]]}, "input_ids must be from 0 to"),
        ("tokens", {"input_ids": [[10**6]], "attention_mask": [[1]]}, "input_ids must be from 0 to"),
        ("logits", {"input_ids": [[1, 2]], "attention_mask": [[1, 7]]}, "attention_mask must be 1 at tokens"),
        ("logits", {"input_ids": [1, 2], "attention_mask": [1, 1]}, "not compatible with expected shape"),
    ],
)
def test_what_no_row_can_be_made_of_is_refused(session, signature, inputs, rule):
    """Through a session, as a server asks: it doesn't hold requests to the signature's shapes."""
    types = {"text": object, "targets": object}
    tensors = {name: np.array(value, types.get(name, np.int32)) for name, value in inputs.items()}
    with pytest.raises(StatusError, match=rule):
        session.run(signature, tensors)


def test_top_k_and_targets(served, texts):
    text = texts[0]
    words = ["sky", "the", "zebra", ""]
    rows = [(2, ""), (8, "\n".join(words)), (1, "\n".join(words)), (0, ""), (9, ""), (3, "\n"), (3, "the\nthe")]
    outputs = served.ask([text] * len(rows), top_k=[top_k for top_k, _ in rows], targets=[target for _, target in rows])
    assert outputs["status"].tolist() == [b"ok"] * 3 + [b"invalid_top_k"] * 2 + [b"no_target", b"ok"]
    assert_answers(outputs, 0, served.expected(text, top_k=2))
    assert_answers(outputs, 1, served.expected(text, top_k=8, targets=words))
    assert_answers(outputs, 2, served.expected(text, top_k=1, targets=words))
    assert_answers(outputs, 6, served.expected(text, top_k=3, targets=["the"]))
    for row in (3, 4, 5):
        assert_padding(outputs, row)


@pytest.mark.parametrize(("top_ks", "targets"), [(1, 1), (3, 1), (1, 3)])
def test_one_top_k_or_targets_is_every_texts(served, texts, top_ks, targets):
    outputs = served.ask(texts[:3], top_k=[2] * top_ks, targets=[""] * targets)
    for row, text in enumerate(texts[:3]):
        assert_answers(outputs, row, served.expected(text, top_k=2))


@pytest.mark.parametrize(
    ("rows", "top_ks", "targets"),
    [(1, 100_000, 1), (1, 1, 100_000), (3, 2, 3), (3, 3, 2), (3, 4, 3), (3, 3, 4), (3, 0, 3), (3, 3, 0), (0, 2, 0)],
)
def test_other_numbers_of_top_k_or_targets_are_refused(served, texts, rows, top_ks, targets):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have one value for each text, or a single one"):
        served.ask(texts[:rows], top_k=[2] * top_ks, targets=[""] * targets)


def test_each_target_that_is_no_single_token_has_a_note(served):
    """With the token that stands for it, and the form that is one token."""
    text, tokenizer = f"The sky is {served.tokenizer.mask_token}.", served.tokenizer
    is_blanked = len(tokenizer.tokenize(" the")) == 1 and len(tokenizer.tokenize("the")) > 1
    several = next(word for word in ("sky", "zebra") if len(tokenizer.tokenize(word)) > 1)
    token = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    notes = served.ask([text] * 4, top_k=[1], targets=["", token, f"{several}\n{token}", "qqqqzzzz\nthe"])[
        "target_notes"
    ]
    assert notes[:2].tolist() == [b"", b""]
    first = tokenizer.decode(tokenizer(several, add_special_tokens=False)["input_ids"][:1])
    assert notes[2].decode().startswith(f"`{several}` isn't one token:")
    assert f"ts first, `{first}`, stands for it" in notes[2].decode()
    assert "\n" not in notes[2].decode()
    assert notes[3].decode().startswith("`qqqqzzzz` isn't ")
    if is_blanked:
        assert "`the` isn't one token: did you mean ` the`? Its first" in notes[3].decode()


def test_targets_with_several_masks(served):
    """The library's own pipeline fails on this with TensorFlow; each mask is answered like any other."""
    mask = served.tokenizer.mask_token
    outputs = served.ask([f"{mask} is {mask}"], top_k=[5], targets=["the\nsky"])
    assert outputs["num_masks"].tolist() == [2]
    vocabulary = served.signatures["logits"].structured_outputs["logits"].shape[-1]
    everything = served.ask([f"{mask} is {mask}"], top_k=[8], targets=[""])
    assert vocabulary > 8
    for at in range(2):
        targets = outputs["token"][0, at][:2]
        assert sorted(targets) == sorted(set(targets))
        assert (outputs["token"][0, at][2:] == -1).all()
        for token, score in zip(everything["token"][0, at], everything["score"][0, at], strict=True):
            if token in targets:
                assert score == pytest.approx(outputs["score"][0, at][list(outputs["token"][0, at]).index(token)])


def test_tokens_and_logits(served, texts):
    encoded = served.tokenizer(texts, padding=True, return_tensors="np")
    ids, attention_mask = encoded["input_ids"].astype(np.int32), encoded["attention_mask"].astype(np.int32)
    inputs = {"input_ids": tf.constant(ids), "attention_mask": tf.constant(attention_mask)}
    logits = served.signatures["logits"](**inputs)["logits"].numpy()
    dense = served.pipeline.model(inputs).logits.numpy()
    np.testing.assert_allclose(logits, dense, atol=1e-4)

    outputs = {name: value.numpy() for name, value in served.signatures["tokens"](**inputs).items()}
    text_outputs = served.ask(texts)
    np.testing.assert_array_equal(outputs["token"], text_outputs["token"])
    np.testing.assert_allclose(outputs["score"], text_outputs["score"], atol=1e-5)
    for row, positions in enumerate(outputs["position"]):
        expected = np.flatnonzero(ids[row] == served.tokenizer.mask_token_id).tolist()
        assert positions.tolist() == expected + [-1] * (len(positions) - len(expected))


@pytest.mark.parametrize("signature", ["tokens", "logits"])
def test_more_tokens_than_the_model_takes_are_refused(served, signature):
    fits, too_many = (tf.ones([1, length], tf.int32) for length in (LONGEST, LONGEST + 1))
    served.signatures[signature](input_ids=fits, attention_mask=fits)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {LONGEST} tokens"):
        served.signatures[signature](input_ids=too_many, attention_mask=too_many)


def test_a_mask_in_the_padding_is_no_mask(served):
    mask = served.tokenizer.mask_token_id
    outputs = served.signatures["tokens"](
        input_ids=tf.constant([[5, mask, 6, mask]]), attention_mask=tf.constant([[1, 1, 1, 0]])
    )
    assert outputs["position"].numpy().tolist() == [[1]]


def test_the_graph_keeps_one_copy_of_the_weights(served):
    weights = served.pipeline.model.weights
    assert len(served._loaded.weights) == len(weights)
    assert not [name for name in dir(served._loaded) if name.startswith("keras_api")]


@pytest.fixture(scope="module")
def session(served):
    """The model as the embedded server loads it, with its tokenizer's facts beside it."""
    served.tokenizer.save_pretrained(served.directory / "assets.extra/tokenizer")
    model = SavedModel(served.directory)
    yield model
    model.close()


def asked(texts, top_k=None):
    texts = np.array([text.encode() for text in texts], object)
    if top_k is None:
        return "serving_default", {"text": texts}
    top_k = np.array(top_k, np.int32)
    return "fill_mask", {"text": texts, "top_k": top_k, "targets": np.array([b""], object)}


@pytest.mark.parametrize("top_k", [None, [2], [1, 5, 8, 3, 4]])
def test_a_server_tells_the_shapes_of_answers_from_the_texts(served, texts, session, top_k):
    """Exactly where the request says how many candidates, and how long strings are nearly."""
    name, tensors = asked(texts, top_k)
    outputs = session.run(name, tensors)
    told, true = session.sizes.expected(name, tensors), actual(outputs)
    for part in told:
        shape = outputs[part.name].shape
        # By default there may be 5, or as many as there ever were; here there are 3.
        assert part.shape == (shape if top_k or len(shape) < 3 else (*shape[:2], USUAL_TOP_K))
    for measure in (row_bytes, column_bytes, message_bytes, memory_bytes):
        assert 0.5 * measure(true) <= measure(told) <= 5 * measure(true)


def test_texts_without_an_answer_take_no_room(served, session):
    """Those with more masks than the model takes tokens, and those that ask for more candidates than there are."""
    mask, longest = served.tokenizer.mask_token, served.tokenizer.model_max_length
    for texts, top_k in (([mask * (longest + 1), "x"], [5]), ([mask], [10**9]), ([mask, mask], [2**31 - 1, 0])):
        name, tensors = asked(texts, top_k)
        outputs = session.run(name, tensors)
        shapes = {part.name: part.shape for part in session.sizes.expected(name, tensors)}
        assert {key: value.shape for key, value in outputs.items()} == shapes


@pytest.mark.parametrize("spelling", [str, str.upper, str.lower])
def test_masks_are_counted_in_any_spelling(served, session, spelling):
    mask = spelling(served.tokenizer.mask_token)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in mask)
    for text in (f"a {mask}{mask} b", f"é {mask} {mask}", f"{wide}{wide}"):
        name, tensors = asked([text])
        assert session.sizes.count_masks(text.encode()) == 2
        assert session.run(name, tensors)["num_masks"].tolist()[0] <= 2


def test_a_text_with_many_masks_is_not_batched_with_others(served, session):
    """Each would be answered with as many places as it has."""
    mask = served.tokenizer.mask_token
    # One thread, and a batch that waits for a second request.
    parameters = BatchingParameters(
        max_batch_size=2, batch_timeout_micros=300_000, num_batch_threads=1, is_strict=False
    )
    scheduler = BatchScheduler(parameters)
    model = BatchedModel(session, scheduler, 60.0)

    async def ask(*requests):
        return await asyncio.gather(*(model.call(*asked([text], top_k)) for text, top_k in requests))

    fat, thin = asyncio.run(ask((mask * 40, [8]), (f"a {mask}", [1])))
    assert fat["score"].shape == (1, 40, 8)
    assert thin["score"].shape == (1, 1, 1)
    # Those that are alike still share one.
    one, other = asyncio.run(ask((f"a {mask} and {mask}", [2]), (f"a {mask}", [1])))
    assert one["score"].shape == other["score"].shape == (1, 2, 2)
    scheduler.close()


def in_pieces(monkeypatch, session, name, tensors, rows):
    """The answer to some rows at a time, and how many pieces there were."""
    count = 0

    def run(*arguments):
        nonlocal count
        count += 1
        return session._run(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(large_requests, "ROWS_AT_ONCE", rows)
        whole = SimpleNamespace(sizes=session.sizes, _run=run, _timeout_milliseconds=60_000)
        return SavedModel.run(whole, name, tensors), count


@pytest.mark.parametrize("top_k", [None, [2], [1, 5, 8, 3, 4]])
def test_rows_some_at_a_time_are_answered_as_all_together(served, texts, session, monkeypatch, top_k):
    name, tensors = asked(texts, top_k)
    assert_equal_outputs(in_pieces(monkeypatch, session, name, tensors, 2), session.run(name, tensors), 3)
    ids = served.tokenizer(texts, padding=True, return_tensors="np")
    tensors = {key: ids[key].astype(np.int32) for key in ("input_ids", "attention_mask")}
    for name in ("tokens", "logits"):
        assert_equal_outputs(in_pieces(monkeypatch, session, name, tensors, 2), session.run(name, tensors), 3)


def assert_equal_outputs(found, expected, count):
    outputs, pieces_run = found
    assert pieces_run == count
    assert outputs.keys() == expected.keys()
    for key, value in outputs.items():
        assert value.dtype == expected[key].dtype
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(value, expected[key])


def test_long_texts_go_fewer_at_a_time_and_very_long_ones_are_refused(served, session, monkeypatch):
    monkeypatch.setattr(large_requests, "TEXT_BYTES_AT_ONCE", 300)
    mask = served.tokenizer.mask_token
    name, tensors = asked([f"{mask} {'a' * 80}"] * 7)
    outputs, count = in_pieces(monkeypatch, session, name, tensors, 64)
    assert (len(outputs["score"]), count) == (7, 3)
    # The words of one row are every row's.
    name, tensors = asked([mask] * 7, [1])
    tensors["targets"] = np.array([b"a\n" * 100], object)
    outputs, count = in_pieces(monkeypatch, session, name, tensors, 64)
    assert (len(outputs["score"]), count) == (7, 7)
    name, tensors = asked([mask, "x" * 301])
    with pytest.raises(
        StatusError, match="INVALID_ARGUMENT: A string must have at most 300 bytes, and one of text has"
    ):
        session.run(name, tensors)


def test_many_rows_of_unlike_numbers_are_refused(served, session):
    name, tensors = asked([served.tokenizer.mask_token] * 100, [1, 2, 3])
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: The inputs must have 1 dimensions each, and equally many"):
        session.run(name, tensors)


def test_a_model_that_runs_in_pieces_has_the_same_time_as_one_that_does_not(served, session, monkeypatch):
    monkeypatch.setattr(session, "_timeout_milliseconds", 0)
    name, tensors = asked([served.tokenizer.mask_token] * 100)
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
        session.run(name, tensors)


def test_a_call_ends_with_its_time_wherever_its_operations_run(served, session, monkeypatch):
    """Those of a model that batches run in other threads than those of one that doesn't."""
    monkeypatch.setattr(session, "_timeout_milliseconds", 1)
    name, tensors = asked([f"{served.tokenizer.mask_token} {'word ' * 30}"] * 60)
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
        session.run(name, tensors, ("num_masks",))  # outputs that no other test asks alone
