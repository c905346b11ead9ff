"""What each of several processes has of a batch is what one process would have had there."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from components.contract.artifacts import Blocks, Tokenizer
from components.contract.component_json import as_json, from_json
from components.contract.workers import Member
from components.hub.access import HubTarget
from components.masking.masking import IGNORED_LABEL, MaskingCollator, MaskingRate
from components.masking.whole_words import WordBoundaries
from components.modeling.library.dropout import derived_key, dropped, step_key
from components.publishing.uploads_during_training import UploadsDuringTraining
from components.train import Train
from components.training.batches import batches
from components.training.devices import Devices
from components.training.execution import choose_execution
from components.training.inputs import PlannedInputs
from components.training.members import Members, cores_of_each
from components.training.params import TrainParams, training_steps
from components.training.sharing import require_shareable
from foundation.errors import ConfigError
from tests.modeling.tiny_models import random_model
from tests.training.tiny_training import VOCABULARY, small_step, write_blocks, write_tokenizer

BLOCKS, BATCH = 42, 12
GANGS = [(2, 1), (3, 1), (3, 2)]
"""Processes, and replicas in each."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), train=BLOCKS, test=17)


@pytest.fixture(scope="module")
def model():
    return random_model("roformer")


def elements(dataset):
    """The elements as dictionaries of arrays."""
    return [{**inputs, "labels": labels} for inputs, labels in dataset.as_numpy_iterator()]


@pytest.mark.parametrize(("count", "local"), GANGS)
@pytest.mark.parametrize("whole_words", [False, True])
def test_shares_of_train_batches_make_up_those_of_one_process(blocks, tokenizer, model, count, local, whole_words):
    order = np.random.default_rng(0).permutation(BLOCKS)
    loaded = tokenizer.load()
    words = WordBoundaries(np.arange(VOCABULARY) % 3 > 0, np.zeros(VOCABULARY, bool)) if whole_words else None

    def drawn(members):
        rate = MaskingRate(0.4, 0.2, 3)
        share = members.share(BATCH)
        collator = MaskingCollator(loaded, rate, seed=3, words=words, share=share, first_batch=1)
        return elements(batches(model, blocks.split("train"), BATCH, collator, order, members=members))

    whole = drawn(Members())
    assert len(whole) == BLOCKS // BATCH - 1
    assert (whole[0]["labels"] != IGNORED_LABEL).any()
    shares = [drawn(Members(rank, count, local)) for rank in range(count)]
    for number, batch in enumerate(whole):
        parts = [share[number * local + replica] for share in shares for replica in range(local)]
        for name, rows in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), rows)


@pytest.mark.parametrize(("count", "local"), GANGS)
def test_shares_of_a_validation_have_each_label_once(blocks, tokenizer, model, count, local):
    """The last batch has 5 blocks, which no number of replicas divides."""

    def labeled(members):
        collator = MaskingCollator(tokenizer.load(), 0.3, seed=3, frozen=True)
        found = elements(batches(model, blocks.split("test"), BATCH, collator, members=members))
        rows = [row for batch in found for row in zip(batch["input_ids"], batch["labels"], strict=True)]
        counted = sorted((*ids.tolist(), *labels.tolist()) for ids, labels in rows if (labels != IGNORED_LABEL).any())
        return counted, [len(batch["labels"]) for batch in found]

    whole, _ = labeled(Members())
    shares = [labeled(Members(rank, count, local)) for rank in range(count)]
    assert sorted(row for rows, _ in shares for row in rows) == whole
    sizes = [BATCH // (count * local)] * local + [-(-5 // (count * local))] * local
    assert all(share_sizes == sizes for _, share_sizes in shares)


def test_dropout_is_a_function_of_the_row_in_the_whole_batch():
    values, key = tf.ones((6, 5, 7)), step_key(1, tf.constant(4))
    whole = dropped(values, 0.5, key, 2)
    for at, rows in ((0, 2), (2, 4)):
        # As `step_key` makes it on a replica: the first row there, and the rows.
        own = tf.concat([key, tf.constant([at, rows], tf.uint32)], axis=0)
        np.testing.assert_array_equal(dropped(values[at : at + rows], 0.5, own, 2), whole[at : at + rows])
        flat = tf.reshape(values[at : at + rows], (-1, 7))
        np.testing.assert_array_equal(dropped(flat, 0.5, own, 2), tf.reshape(whole[at : at + rows], (-1, 7)))
        assert derived_key(own, 3).numpy().tolist() == [*derived_key(key, 3).numpy().tolist(), at, rows]
    for part in range(3):
        own = step_key(1, tf.constant(4), part=part, parts=3, rows=2)
        np.testing.assert_array_equal(dropped(values[:2], 0.5, own, 2), whole[2 * part : 2 * part + 2])
    # Where 32 bits don't count the elements of a batch: 64 times as many rows are multiples of 2**32.
    beyond = [
        dropped(tf.ones((1, 64)), 0.5, tf.concat([key, tf.constant([row, 1], tf.uint32)], axis=0), 2).numpy().tobytes()
        for row in (0, 2**26, 2**27)
    ]
    assert len(set(beyond)) == 3


@pytest.mark.parametrize(
    ("params", "count", "devices", "message"),
    [
        ({}, 3, 1, r"batches of 4 blocks for 3 workers.*--ray\.workers 2.*multiple of 3"),
        ({}, 43, 1, r"batches of 4 blocks for 43 workers.*--ray\.workers 4\)"),
        ({}, 2, 4, r"batches of 4 blocks for 2 workers with 4 devices each.*--ray\.workers 1.*multiple of 8"),
        ({"batch_size": 100}, 4, 1, r"42 blocks \(the train split has no more blocks.*is 100\).*workers 3.*ingest"),
        (
            {"batch_size_start": 1, "batch_size_warmup_ratio": 0.5},
            2,
            1,
            r"train\.batch_size_start must.*batches of 1 blocks.*batch_size_start to a multiple of 2",
        ),
    ],
)
def test_batches_that_workers_cannot_share_are_refused(params, count, devices, message):
    params = TrainParams(**{"model_type": "bert", "batch_size": 4, **params})
    steps = training_steps(params, BLOCKS)
    config = random_model("bert").config
    gpus = Devices("GPU", tuple(f"GPU:{number}" for number in range(devices)), (9, 0))
    with pytest.raises(ConfigError, match=message):
        choose_execution(params, gpus, config, steps.batch_size, Members(0, count, devices))
    if devices == 1:  # as is known before there is any worker
        with pytest.raises(ConfigError, match=message):
            require_shareable(params, steps.batch_size, count)


def test_what_is_refused_leaves_what_was_there(blocks, tokenizer, tmp_path):
    """Before any work: also before debris goes."""

    class Three:
        count = 3

        def together(self, function):
            raise AssertionError("nothing is to be started")

    (tmp_path / "debris").touch()
    with pytest.raises(ConfigError, match="for 3 workers"):
        small_step(blocks, tokenizer).run_with(tmp_path, Three())
    assert [path.name for path in tmp_path.iterdir()] == ["debris"]


def test_cores_of_each(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    cluster = {"cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:2", "[::1]:2", "10.0.0.1:3"]}}
    assert [cores_of_each(cluster, rank) for rank in range(5)] == [2, 8, 2, 8, 2]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores_of_each(cluster, 0) == 3
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert cores_of_each(cluster, 0) == 5


def test_the_step_travels_as_json_with_all_its_fields(tmp_path):
    step = Train(
        Blocks(tmp_path / "blocks"),
        Tokenizer(tmp_path / "tokenizer"),
        TrainParams(model_type="bert", model_config={"a": [1, {"b": None}]}, mlm_probability_schedule=[[0.5, 0.1]]),
        PlannedInputs(128, "packed", "a/b", "main"),
        UploadsDuringTraining(HubTarget("me/model", private=True), "apache-2.0", ("en", "de"), "name", "link"),
        tmp_path / "artifacts" / "train",
    )
    assert all(getattr(step, field.name) != field.default for field in dataclasses.fields(Train))
    json.loads(as_json(step))
    assert from_json(as_json(step)) == step


class Both:
    """Two workers that are this process, one after the other."""

    count = 2

    def __init__(self):
        self.out = []

    def together(self, function):
        for rank in (1, 0):
            function(Member(rank, 2))
            self.out.append(sorted(path.name for path in function.out.iterdir()))


@pytest.mark.slow
def test_on_one_device_the_chief_trains_alone(blocks, tokenizer, tmp_path):
    workers = Both()
    small_step(blocks, tokenizer, strategy="one_device", max_steps=1).run_with(tmp_path, workers)
    assert workers.out[0] == []
    assert {"model", "initial", "report.json"} <= set(workers.out[1])
    execution = json.loads((tmp_path / "report.json").read_text())["execution"]
    assert (execution.get("workers", 1), execution["replicas"]) == (1, 1)
