"""Uploads during training: the final weights always arrive, no step waits, and no failure ends the training."""

import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from transformers import AutoTokenizer

from components.hub.access import HubTarget, TrainingUploads
from components.hub.repository import HubRepository
from components.hub.seal import SEAL, seal
from components.modeling.checkpoint import load_masked_lm
from components.modeling.pytorch_weights import pytorch_weights
from components.publishing.git_uploads import GitUploads, has_git_lfs
from components.publishing.uploads_during_training import FINAL_MESSAGE, UploadDuringTraining
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.fixtures import TOKEN, running_hub  # noqa: F401 (a fixture)
from tests.loopback_hub.made import make

EPOCHS = 3
needs_git_lfs = pytest.mark.skipif(not has_git_lfs(), reason="git-lfs is not installed")


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


def train(made, tmp_path, *others, private=None, transport="http", epochs=EPOCHS):
    """Trains the small model with uploads and other callbacks; the model and the callback that uploads."""
    model = load_masked_lm(made.checkpoint.model_directory)
    tokenizer = AutoTokenizer.from_pretrained(made.checkpoint.model_directory)
    target = HubTarget("answers", private=private)
    repository = HubRepository(target, attempts=2, first_pause_seconds=0.05)
    uploads = GitUploads(repository, tmp_path / "scratch/clone") if transport == "git" else repository
    callback = UploadDuringTraining(
        model, tokenizer, TrainingUploads(target, "mit", ("en",)), tmp_path / "scratch", uploads
    )
    callback.http = repository
    ids = np.random.default_rng(0).integers(5, 250, (16, 8)).astype(np.int32)
    batches = tf.data.Dataset.from_tensor_slices({"input_ids": ids, "labels": ids}).batch(8)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(1e-2))
    model.fit(batches, epochs=epochs, callbacks=[callback, *others], verbose=0)
    return model, callback


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
    model, callback = train(made, tmp_path, epochs=2)
    assert callback.failures == []
    assert subjects(hub) == ["initial commit", "Training in progress, epoch 1", FINAL_MESSAGE]
    check_final_weights(hub, model, tmp_path)
    assert "is trained and not evaluated yet" in hub.repositories["ada/answers"].read("README.md").decode()
    assert {"tokenizer.json", "README.md", "push.json"} <= hub.repositories["ada/answers"].files().keys()


def test_an_upload_that_outlasts_the_training_neither_blocks_a_step_nor_loses_the_final_model(hub, made, tmp_path):
    last_epoch = AtTheLastEpoch()
    hub.faults.add(Fault("^/lfs/", "PUT", until=last_epoch.event))
    model, callback = train(made, tmp_path, last_epoch)
    assert callback.failures == []
    assert subjects(hub)[-1] == FINAL_MESSAGE
    assert "Training in progress, epoch 2" not in subjects(hub)  # epoch 1 was still on its way
    check_final_weights(hub, model, tmp_path)


def test_a_failed_upload_is_told_and_the_next_one_goes_on(hub, made, tmp_path, caplog):
    hub.faults.add(Fault("/commit/", status=403))
    model, callback = train(made, tmp_path)
    assert len(callback.failures) == 1
    assert "write permission" in caplog.text
    assert subjects(hub)[-1] == FINAL_MESSAGE
    check_final_weights(hub, model, tmp_path)


def test_a_final_upload_that_fails_is_tried_again(hub, made, tmp_path):
    hub.faults.add(Fault("/commit/", status=500, times=3))
    model, callback = train(made, tmp_path, epochs=1)
    assert len(callback.failures) == 1
    check_final_weights(hub, model, tmp_path)


def test_no_upload_at_all_ends_no_training(hub, made, tmp_path, caplog):
    hub.accounts.clear()
    model, callback = train(made, tmp_path)
    assert callback.commits == []
    assert len(model.history.history["loss"]) == EPOCHS
    assert "training goes on" in caplog.text
    assert TOKEN not in caplog.text


def test_private(hub, made, tmp_path):
    train(made, tmp_path, private=True, epochs=1)
    assert hub.repositories["ada/answers"].private


@needs_git_lfs
def test_git_pushes_the_same_and_keeps_the_token_to_itself(hub, made, tmp_path):
    model, callback = train(made, tmp_path, transport="git", private=True, epochs=2)
    assert callback.failures == []
    assert subjects(hub) == ["initial commit", "Training in progress, epoch 1", FINAL_MESSAGE]
    assert hub.repositories["ada/answers"].private
    check_final_weights(hub, model, tmp_path)
    assert "lfs" in hub.repositories["ada/answers"].files()["model.safetensors"]
    assert hub.sent("git-receive-pack")
    kept = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    assert any(path.name == "config" for path in kept)
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


@needs_git_lfs
def test_git_takes_off_what_an_earlier_push_left_and_nothing_else(hub, tmp_path):
    repository = HubRepository(HubTarget("answers"), attempts=2, first_pause_seconds=0.05)
    outside = tmp_path / "scratch/outside.txt"
    for moment, names in (("earlier", ["model.safetensors", "tf_model.h5", "saved_model/1/ä.pb"]), ("now", ["new"])):
        (tmp_path / moment).mkdir()
        for name in names:
            (tmp_path / moment / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / moment / name).write_text(moment)
        seal(tmp_path / moment, {})
    repository.upload(tmp_path / "earlier", "earlier")
    held = hub.repositories["ada/answers"]
    # A seal that names a path outside of the repository, and one that isn't in it.
    forged = json.loads(held.read(SEAL))
    forged["files"] |= {"../outside.txt": "", "gone.txt": ""}
    held.commit("by hand", {"notes.txt": b"precious", SEAL: json.dumps(forged).encode()}, [])
    outside.parent.mkdir()
    outside.write_text("not ours")
    GitUploads(repository, tmp_path / "scratch/clone").upload(tmp_path / "now", "now")
    assert held.files().keys() == {".gitattributes", "notes.txt", "new", SEAL}
    assert outside.exists()


@needs_git_lfs
def test_git_that_fails_gives_way_to_http(hub, made, tmp_path, caplog):
    hub.faults.add(Fault("git-receive-pack", status=500, times=99))
    model, callback = train(made, tmp_path, transport="git")
    assert len(callback.failures) == 1
    assert "over HTTP from now on" in caplog.text
    assert TOKEN not in caplog.text
    check_final_weights(hub, model, tmp_path)


def test_without_git_lfs_it_is_said_before_training(hub, monkeypatch, tmp_path, caplog):
    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training.params import TrainParams

    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_git_lfs()
    uploads = TrainingUploads(HubTarget("answers"), "mit")
    step = Train(Blocks(None), Tokenizer(None), TrainParams(model_type="roberta"), uploads)
    step.preflight()
    assert "git-lfs is not installed" in caplog.text


def test_where_it_is_uploaded_to_is_no_part_of_the_key():
    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training.params import TrainParams

    uploads = TrainingUploads(HubTarget("answers"), "mit")
    params = TrainParams(model_type="roberta")
    steps = [Train(Blocks(None), Tokenizer(None), params, how) for how in (None, uploads)]
    assert steps[0].settings == steps[1].settings
