"""What containers don't see is refused before anything is written."""

import pytest

from foundation.errors import ConfigError
from runners.kubeflow.places import require_reachable, root_in_containers
from tests.runners.kubeflow.parts import configured

STEPS = {"ingest", "tokenizer", "preprocess", "train", "evaluate", "export", "validate", "push"}
VOLUME = {"volume": "claim"}


def notes(steps=STEPS, **sections):
    config, _ = configured(**sections)
    return require_reachable(config, steps)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"ingest": {"path": "notes.txt"}}, "ingest.path"),
        ({"ingest": {"path": "/home/me/notes.txt"}}, "ingest.path"),
        ({"ingest": {"path": "/data/../home/notes.txt"}}, "ingest.path"),
        ({"ingest": {"path": "/data/a.txt", "test_path": "/tmp/b.txt"}}, "ingest.test_path"),
        ({"ingest": {"path": "~/notes.txt"}}, "ingest.path"),
        ({"ingest": {"sources": ["/data/a.txt", {"path": "b.txt"}]}}, "ingest.sources"),
        ({"ingest": {"sources": ["a.txt", "/data/b.txt"]}}, "ingest.sources"),
        ({"tokenizer": {"add_tokens": "words.txt"}}, "tokenizer.add_tokens"),
        ({"tokenizer": {"pretrained": "./tokenizer"}}, "tokenizer.pretrained"),
        ({"train": {"pretrained": "/models/bert"}, "tokenizer": {"pretrained": "/data/bert"}}, "train.pretrained"),
        ({"train": {"continue_from": "pipeline_root/artifacts/train/0123456789abcdef"}}, "train.continue_from"),
        ({"evaluate": {"baseline": "../other"}}, "evaluate.baseline"),
        ({"push": {"serving_dir": "/srv/models"}}, "push.serving_dir"),
    ],
)
def test_what_is_not_below_the_volume(sections, key):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")) as caught:
        notes(**sections, kubeflow=VOLUME)
    assert "/data" in caught.value.remedy + caught.value.rule
    with pytest.raises(ConfigError, match=r"--kubeflow\.volume"):
        notes(**sections)


def test_what_is_below_the_volume_on_the_hub_or_of_no_step_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub = {"train": {"pretrained": "distilbert/distilroberta-base"}, "tokenizer": {"pretrained": "a/b"}}
    assert notes(ingest={"dataset": "dany0407/eli5_category"}, **hub, kubeflow=VOLUME) == []
    files = {"path": "/data/texts/*.txt", "test_path": "/data/test.txt"}
    assert notes(ingest=files, train={"pretrained": "/data/models/bert"}, kubeflow=VOLUME) == []
    assert notes(push={"serving_dir": "/data/serving"}, kubeflow=VOLUME) == []
    assert notes(train={"continue_from": "auto"}, kubeflow=VOLUME) == []
    assert notes({"ingest"}, train={"pretrained": "/models/bert"}) == []
    assert notes({"ingest"}) == []
    # A folder of this name is what the local runner would take.
    (tmp_path / "distilbert/distilroberta-base").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"train\.pretrained"):
        notes(**hub, kubeflow=VOLUME)


def test_push_needs_a_place_that_stays():
    with pytest.raises(ConfigError, match="outlasts its container") as caught:
        notes()
    assert "--until validate" in caught.value.remedy
    (note,) = notes(push={"hub_model_id": "me/model", "license": "mit"})
    assert "the Hub alone keeps the model" in note
    assert notes(push={"dry_run": True}) == []


def test_going_on_from_earlier_trainings_needs_a_volume():
    with pytest.raises(ConfigError, match="continue_from auto must be given with a volume"):
        notes({"train"}, train={"continue_from": "auto"})


def test_the_root_is_below_the_volume():
    (config, root), (other, _) = configured(kubeflow=VOLUME), configured()
    assert str(root) == "/data/pipeline_root"
    assert str(root_in_containers("/data/x/../y", config.kubeflow)) == "/data/y"
    for outside in ("/home/me/root", "../root", "/data/../root"):
        with pytest.raises(ConfigError, match="--root must be below"):
            root_in_containers(outside, config.kubeflow)
    for bucket in (config, other):
        with pytest.raises(ConfigError, match="--root must be a directory"):
            root_in_containers("s3://bucket/root", bucket.kubeflow)
    assert str(root_in_containers("/home/me/root", other.kubeflow)).startswith("/tmp/")


def test_a_trainings_uploads_and_pushes_are_below_the_root_of_containers():
    """So that the last blessed model is looked for where push puts it."""
    config, root = configured(kubeflow=VOLUME)
    assert str(config.push.pushed_to.below(str(root)).base_path) == "/data/pipeline_root/serving/fill_mask"
