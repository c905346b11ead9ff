"""A checkpoint as people name it: a folder however written, a run, an artifact, a page of the Hub."""

import json
from pathlib import Path

import pytest

from components.config.command_line import config_of, parse
from components.config.config_files import config_path
from foundation.errors import ConfigError
from runners.command_line.options import build_parser


def read(*arguments, config="quickstart"):
    options = parse(build_parser(), ["--ingest.path", "notes.txt", *arguments], config_path(config))
    return config_of(options), options.notes


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that is the home too, with a checkpoint, and a root with a run that trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    key = Path("root/artifacts/train/0a1b")
    for folder in ("model", key / "model", key / "initial", "split", "root/serving/fill_mask/1", "root/runs/2026-aa"):
        Path(folder).mkdir(parents=True)
    for folder in ("model", key / "model", key / "initial", "split"):
        Path(folder, "config.json").write_text("{}")
    for folder in ("model", key / "model"):
        Path(folder, "tokenizer.json").write_text("{}")
    Path("split/tokenizer").mkdir()
    Path("split/tokenizer/tokenizer.json").write_text("{}")
    Path("root/serving/fill_mask/1/saved_model.pb").write_text("")
    step = {"name": "train", "artifact": "artifacts/train/0a1b"}
    Path("root/runs/2026-aa/run.json").write_text(json.dumps({"steps": [{"name": "ingest", "artifact": None}, step]}))
    Path("root/runs/latest").symlink_to("2026-aa")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model", "model"),
        ("model/", "model/"),
        ("./model", "./model"),
        (" model ", "model"),
        ("~/model", "{here}/model"),
        ("{here}/model", "{here}/model"),
        ("root/artifacts/train/0a1b", "root/artifacts/train/0a1b/model"),
        ("root/artifacts/train/0a1b/model", "root/artifacts/train/0a1b/model"),
        ("root/runs/2026-aa", "{here}/root/artifacts/train/0a1b/model"),
        ("root/runs/latest", "{here}/root/artifacts/train/0a1b/model"),
        ("2026-aa", "{here}/root/artifacts/train/0a1b/model"),
        ("latest", "{here}/root/artifacts/train/0a1b/model"),
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("https://huggingface.co/google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("https://huggingface.co/google-bert/bert-base-uncased/tree/main", "google-bert/bert-base-uncased"),
        ("nowhere", "nowhere"),
    ],
)
def test_a_checkpoint_and_its_own_tokenizer(here, typed, meant):
    typed, meant = typed.format(here=here), meant.format(here=here)
    config, notes = read("--root", "root", "--train.pretrained", typed)
    assert config.train.pretrained == config.tokenizer.pretrained == meant
    stands_for = [note for note in notes if "stands for" in note]
    assert bool(stands_for) == (meant.endswith("0a1b/model") and not typed.endswith("model"))


@pytest.mark.parametrize("typed", ["2026-aa", "latest", "small-1", "root/runs/2026-aa"])
def test_a_training_to_go_on_from_is_named_by_its_run(here, typed):
    rename(here, "small-1")
    config, notes = read("--root", "root", "--train.continue_from", typed)
    assert config.train.continue_from == f"{here}/root/artifacts/train/0a1b"
    assert notes == [f"{typed} stands for the training {here}/root/artifacts/train/0a1b"]


@pytest.mark.parametrize("typed", ["auto", "root/artifacts/train/0a1b", "nowhere"])
def test_any_other_training_stays_as_it_is_typed(here, typed):
    assert read("--root", "root", "--train.continue_from", typed)[0].train.continue_from == typed


def test_a_misspelt_run_is_answered_with_the_nearest(here):
    rename(here, "small-1")
    config, notes = read("--root", "root", "--train.pretrained", "smal-1")
    assert config.train.pretrained == "smal-1"
    assert "smal-1 is looked for on the Hub: no run here has that name; one is called small-1" in notes
    assert "on the Hub" not in str(read("--root", "root", "--train.pretrained", "bert-base-uncased")[1])


def rename(here, name):
    """Gives the run a name."""
    record = here / "root/runs/2026-aa/run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "name": name}))


def test_a_page_of_the_hub_names_its_revision(here):
    config, _ = read("--train.pretrained", "https://huggingface.co/google-bert/bert-base-uncased/tree/v2")
    assert (config.train.pretrained, config.train.revision) == ("google-bert/bert-base-uncased", "v2")
    assert config.tokenizer.revision == "v2"


@pytest.mark.parametrize("key", ["train", "tokenizer"])
def test_a_folder_has_no_revision(here, key):
    with pytest.raises(ConfigError, match=rf"{key}.revision must be given only with a model on the Hub.*v2.*model"):
        read(f"--{key}.pretrained", "model", f"--{key}.revision", "v2")


def test_a_tokenizer_in_a_folder_within(here):
    config, _ = read("--train.pretrained", "split/")
    assert (config.train.pretrained, config.tokenizer.pretrained) == ("split/", "split/tokenizer")
    assert read("--train.pretrained", "split", "--tokenizer.pretrained", "model")[0].tokenizer.pretrained == "model"


@pytest.mark.parametrize("served", ["root/serving/fill_mask", "root/serving/fill_mask/1"])
def test_what_is_served_is_no_checkpoint(here, served):
    with pytest.raises(ConfigError, match=rf"weights to go on from\. Received: {served}, a model that is exported"):
        read("--train.pretrained", served)


def test_a_file_of_a_checkpoint_is_answered_with_its_folder(here):
    Path("model/model.safetensors").write_text("")
    with pytest.raises(ConfigError, match=r"a file\. Way out: write --train\.pretrained model\."):
        read("--train.pretrained", "model/model.safetensors")
    Path("model/vocab.txt").write_text("a")
    config, _ = read("--train.pretrained", "model", "--tokenizer.pretrained", "model/vocab.txt")
    assert config.tokenizer.pretrained == "model/vocab.txt", "a tokenizer may be a file"


def test_a_run_without_a_model_is_no_name_of_the_hub(here):
    Path("root/runs/2026-aa").rename("root/runs/20261128T000000Z-00aa")
    Path("root/runs/20261129T000000Z-00aa").mkdir()
    for typed, said in (
        ("20261129T000000Z-00aa", "trained no model"),
        ("root/runs/20261129T000000Z-00aa", "trained no model"),
        ("20261129T000000Z-00ab", "does not exist"),
    ):
        way_out = r"Way out: write --train\.pretrained 20261128T000000Z-00aa, the newest run"
        with pytest.raises(ConfigError, match=rf"train\.pretrained must name .* run .* {said}\. {way_out}"):
            read("--root", "root", "--train.pretrained", typed)
    with pytest.raises(ConfigError, match=r"latest, and other/runs/latest does not exist.*no run here"):
        read("--root", "other", "--evaluate.baseline", "latest")


def test_home_in_a_file_and_behind_an_equals_sign(here):
    Path("job.yaml").write_text("ingest: {path: ~/notes.txt}\ntrain: {pretrained: ~/model}\n")
    config = config_of(parse(build_parser(), ["--evaluate.baseline=~/model"], Path("job.yaml")))
    assert config.ingest.path == f"{here}/notes.txt"
    assert config.train.pretrained == config.tokenizer.pretrained == config.evaluate.baseline == f"{here}/model"


def test_sentences_of_a_configuration_belong_to_its_source():
    assert read(config="eli5")[0].export.example is None
    assert read()[0].export.example is None
    assert read("--export.example", "A <mask>.")[0].export.example == "A <mask>."
    options = parse(build_parser(), [], config_path("quickstart"))
    assert config_of(options).export.example == "Return a <mask> of all the keys."
