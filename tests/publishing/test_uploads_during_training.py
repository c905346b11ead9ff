"""Uploads during training: the final weights always arrive, no step waits, and no failure ends the training."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from transformers import AutoTokenizer

from components.hub.access import HubTarget
from components.hub.repository import HubRepository
from components.modeling.checkpoint import load_masked_lm
from components.modeling.pytorch_weights import pytorch_weights
from components.publishing.uploads_during_training import FINAL_MESSAGE, Uploading, UploadsDuringTraining
from components.training.observer import ObservedTraining
from components.training.observing import Observing
from foundation.errors import HubError
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.fixtures import TOKEN, running_hub  # noqa: F401 (a fixture)
from tests.loopback_hub.small_artifacts import make

EPOCHS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


class AtTheLastEpoch(tf.keras.callbacks.Callback):
    """Sets an event when the steps of the last epoch are done."""

    def __init__(self):
        super().__init__()
        self.event = threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.params["epochs"]:
            self.event.set()


def train(made, tmp_path, *others, private=None, epochs=EPOCHS):
    """Trains the small model with uploads and other callbacks; the model and what uploads."""
    model = load_masked_lm(made.checkpoint.model_directory)
    tokenizer = AutoTokenizer.from_pretrained(made.checkpoint.model_directory)
    target = HubTarget("answers", private=private)
    repository = HubRepository(target, attempts=2, first_pause_seconds=0.05)
    observed = ObservedTraining(model, tokenizer, tmp_path / "scratch")
    uploading = Uploading(UploadsDuringTraining(target, "mit", ("en",)), observed, repository)
    ids = np.random.default_rng(0).integers(5, 250, (16, 8)).astype(np.int32)
    batches = tf.data.Dataset.from_tensor_slices({"input_ids": ids, "labels": ids}).batch(8)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(1e-2))
    model.fit(batches, epochs=epochs, callbacks=[Observing(uploading), *others], verbose=0)
    return model, uploading


def check_final_weights(hub, model, tmp_path):
    """The hub's main branch holds the model as it is now, bit for bit, loadable by this project."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    repository = hub.repositories["ada/answers"]
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(repository.read(name))
    held, expected = pytorch_weights(load_masked_lm(folder))[0], pytorch_weights(model)[0]
    assert held.keys() == expected.keys()
    assert all(np.array_equal(held[name], expected[name]) for name in held)


def subjects(hub):
    return [subject for _, subject in hub.repositories["ada/answers"].log()][::-1]


def test_every_epoch_and_the_end(hub, made, tmp_path):
    hub.faults.clear()
    model, uploading = train(made, tmp_path, epochs=2)
    assert uploading.failures == []
    assert subjects(hub) == ["initial commit", "Training in progress, epoch 1", FINAL_MESSAGE]
    check_final_weights(hub, model, tmp_path)
    assert "is trained and not evaluated yet" in hub.repositories["ada/answers"].read("README.md").decode()
    assert {"tokenizer.json", "README.md", "push.json"} <= hub.repositories["ada/answers"].files().keys()


def test_an_upload_that_outlasts_the_training_neither_blocks_a_step_nor_loses_the_final_model(hub, made, tmp_path):
    last_epoch = AtTheLastEpoch()
    hub.faults.add(Fault("^/lfs/", "PUT", until=last_epoch.event))
    model, uploading = train(made, tmp_path, last_epoch)
    assert uploading.failures == []
    assert subjects(hub)[-1] == FINAL_MESSAGE
    assert "Training in progress, epoch 2" not in subjects(hub)  # epoch 1 was still on its way
    check_final_weights(hub, model, tmp_path)


def test_a_failed_upload_is_reported_and_the_next_one_goes_on(hub, made, tmp_path, caplog):
    hub.faults.add(Fault("/commit/", status=403))
    model, uploading = train(made, tmp_path)
    assert len(uploading.failures) == 1
    assert "write permission" in caplog.text
    assert subjects(hub)[-1] == FINAL_MESSAGE
    check_final_weights(hub, model, tmp_path)


def test_a_final_upload_that_fails_is_tried_again(hub, made, tmp_path):
    hub.faults.add(Fault("/commit/", status=500, times=3))
    model, uploading = train(made, tmp_path, epochs=1)
    assert len(uploading.failures) == 1
    check_final_weights(hub, model, tmp_path)


def test_no_upload_at_all_ends_no_training(hub, made, tmp_path, caplog):
    hub.accounts.clear()
    model, uploading = train(made, tmp_path)
    assert uploading.commits == []
    assert len(model.history.history["loss"]) == EPOCHS
    assert "training goes on" in caplog.text
    assert TOKEN not in caplog.text


def test_private(hub, made, tmp_path):
    train(made, tmp_path, private=True, epochs=1)
    assert hub.repositories["ada/answers"].private


def test_where_it_is_uploaded_to_is_no_part_of_the_key():
    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training.params import TrainParams

    uploads = UploadsDuringTraining(HubTarget("answers"), "mit")
    params = TrainParams(model_type="roberta")
    steps = [Train(Blocks(None), Tokenizer(None), params, observer=how) for how in (None, uploads)]
    assert steps[0].settings == steps[1].settings


def test_hopeless_uploads_are_refused_before_any_step(hub, monkeypatch):
    """The train step knows nothing of the Hub; its observer does."""
    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training.params import TrainParams

    def preflight(target):
        uploads = UploadsDuringTraining(target, "mit")
        Train(Blocks(None), Tokenizer(None), TrainParams(model_type="roberta"), observer=uploads).preflight()

    preflight(HubTarget("answers"))
    assert hub.sent() == []
    with pytest.raises(HubError, match="organizations are lovelace, readers"):
        preflight(HubTarget("others/answers"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="must have a token"):
        preflight(HubTarget("answers"))


def test_a_cached_training_says_that_nothing_was_uploaded(hub, tmp_path):
    """On the terminal, and in the run's record."""
    import json

    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training.params import TrainParams
    from runners.local import LocalRunner
    from tests.training.tiny_training import SMALL, write_blocks, write_tokenizer

    (tmp_path / "blocks").mkdir()
    blocks = write_blocks(tmp_path / "blocks", train=8, test=2)
    tokenizer = write_tokenizer(tmp_path / "tokenizer")

    def run(observer):
        params, lines = TrainParams(**{**SMALL, "epochs": 1}), []
        inputs = Blocks(blocks.path), Tokenizer(tokenizer.path)
        runner = LocalRunner(tmp_path / "root", show=lines.append)
        record = runner.execute(lambda run: run(Train(*inputs, params, observer=observer)), {})
        [step] = json.loads((record.directory / "run.json").read_text())["steps"]
        return step["status"], step["summary"], [line for line in lines if "nothing was uploaded" in line]

    uploads = UploadsDuringTraining(HubTarget("answers"), "mit")
    status, summary, told = run(uploads)
    assert (status, told) == ("ran", [])
    assert subjects(hub) == ["initial commit", FINAL_MESSAGE]
    status, cached_summary, told = run(uploads)
    note = (
        "nothing was uploaded while training: it is cached from an earlier run (--force train trains again); "
        "push uploads the final model"
    )
    assert (status, cached_summary) == ("cached", f"{summary}; {note}")
    assert len(told) == 1
    assert subjects(hub) == ["initial commit", FINAL_MESSAGE]
    assert run(None) == ("cached", summary, [])
