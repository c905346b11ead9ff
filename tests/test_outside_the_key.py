"""A field that is no part of its step's key leaves nothing in the step's artifact."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from components.blocks.params import PreprocessParams
from components.contract import manifest
from components.contract.artifacts import Artifact, Blocks, Checkpoint, Corpus, Tokenizer
from components.contract.component import Component
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate
from components.evaluation.baseline import Baseline
from components.evaluation.params import EvaluateParams
from components.export import Export
from components.ingest import Ingest
from components.preprocess import Preprocess
from components.push import Push
from components.tokenizer import PrepareTokenizer, TokenizerParams
from components.train import Train
from components.training.inputs import PlannedInputs
from components.validate import Validate
from tests.publishing.test_push import make_push
from tests.training.tiny_training import TIMES, small_step, weights_of, write_blocks, write_tokenizer

STEPS = (Ingest, PrepareTokenizer, Preprocess, Train, Evaluate, Export, Validate, Push)
REASONS = {
    "PreprocessParams.characters_at_once": "a record is cut where its tokens are those of the whole record",
    "Train.planned": "read by the preflight alone, before there are blocks",
    "Train.observer": "is called while training runs, and gives nothing back",
    "Train.trainings": "what is found there is in the key through `sources`",
    "TrainParams.continue_from": "what it finds is in the key through `sources`",
    "TrainParams.checkpoint_every_steps": "training ends with the same weights wherever it was cut off",
    "TrainParams.logging_steps": "read when the report's page is written",
    "TrainParams.peak_tflops": "read by the terminal and when the report's page is written",
    "PushParams.keep_versions": "removes earlier versions, and says so on the terminal alone",
    "PushParams.lock_timeout_seconds": "only how long a push waits for another",
    "Push.root": "a relative place is below it, and stays relative in what the step writes",
    "Evaluate.pushed_to": "what is found there, its digest and its name, is in the key through `sources`",
}
"""Why a field is no part of a key. Each has a test below."""


def params_of(step: type[Component[Artifact]]) -> type | None:
    """The class of a step's params."""
    kinds = {field.name: field.type for field in dataclasses.fields(step)}
    return kinds.get("params")  # type: ignore[return-value]


def test_every_field_outside_of_its_key_has_a_reason():
    found = set()
    for step in STEPS:
        for owner in (step, params_of(step)):
            assert dataclasses.is_dataclass(owner), (step, owner)
            found |= {
                f"{owner.__name__}.{field.name}"
                for field in dataclasses.fields(owner)
                if not field.metadata.get("key", True)
            }
    assert found == REASONS.keys()


@dataclasses.dataclass(frozen=True)
class Watching:
    """An observer that leaves its name wherever it may."""

    name: str = "sentinel-observer"

    def preflight(self) -> None:
        pass

    def training_begins(self, training):
        training.scratch.mkdir(parents=True)
        (training.scratch / self.name).write_text(self.name)
        return self

    def epoch_ends(self, epoch, is_last):
        pass

    def training_ends(self):
        pass

    def training_is_cached(self):
        return self.name


def content_of(directory: Path) -> dict[str, object]:
    """What an artifact holds, without what is another in each run: times, and the bytes of files that hold some."""
    content: dict[str, object] = {}
    for path in manifest.files_below(directory, ["checkpoints"]):
        name = path.relative_to(directory).as_posix()
        if name.startswith("logs/"):
            name, content[path.parent.name] = "logs", True
        elif path.suffix == ".json" and not name.startswith(("initial/", "model/")):
            content[name] = without_times(json.loads(path.read_text()))
            if name.startswith("state/"):  # TensorFlow numbers the objects of a checkpoint anew each time
                content[name] = {key: value for key, value in content[name].items() if key not in ("digest", "files")}
        else:
            content.setdefault(name, True)
    return content


def without_times(value):
    if isinstance(value, dict):
        return {
            name: without_times(item)
            for name, item in value.items()
            if name not in (*TIMES, "untimed_seconds", "measured_peak_tflops", "created", manifest.OWN_DIGEST)
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_blocks_are_the_same_however_much_is_tokenized_at_once(tmp_path):
    words = [" ".join(f"word{number}" for number in range(count)) for count in (3, 4000, 9)]
    for split in ("train", "test"):
        Dataset.from_dict({"text": words}).save_to_disk(tmp_path / "corpus/dataset" / split)
    corpus, made = Corpus(tmp_path / "corpus"), {}
    (tmp_path / "tokenizer").mkdir()
    PrepareTokenizer(corpus, "text", TokenizerParams(vocab_size=300)).run(tmp_path / "tokenizer")
    for characters in (4096, 1 << 18):
        params = PreprocessParams(text_column="text", block_size=8, characters_at_once=characters)
        step = Preprocess(corpus, Tokenizer(tmp_path / "tokenizer"), params)
        (tmp_path / str(characters)).mkdir()
        step.run(tmp_path / str(characters))
        made[characters] = manifest.describe_files(tmp_path / str(characters))
    assert len(words[1]) > 8 * 4096
    assert made[4096] == made[1 << 18]


@pytest.mark.slow
def test_a_training_leaves_nothing_of_them(tmp_path):
    (tmp_path / "blocks").mkdir()
    blocks = write_blocks(tmp_path / "blocks", train=42, test=9)
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    plain = small_step(blocks, tokenizer)
    settings = {"checkpoint_every_steps": 7919, "logging_steps": 7907, "peak_tflops": 79.1875, "continue_from": "auto"}
    other = dataclasses.replace(
        plain,
        params=dataclasses.replace(plain.params, **settings),
        planned=PlannedInputs(7901, "sentinel-packing", "sentinel-tokenizer", "sentinel-revision"),
        observer=Watching(),
        trainings=tmp_path / "sentinel-trainings",
    )
    changed = {f"TrainParams.{name}" for name in settings} | {"Train.planned", "Train.observer", "Train.trainings"}
    assert changed == {name for name in REASONS if name.startswith("Train")}
    assert plain != other
    assert plain.key({}) == other.key({})
    for step, name in ((plain, "plain"), (other, "other")):
        (tmp_path / name).mkdir()
        step.run(tmp_path / name)
        (tmp_path / name / "settings.json").write_text(manifest.canonical_json(step.settings))
    assert content_of(tmp_path / "plain") == content_of(tmp_path / "other")
    for model in ("initial", "model"):
        first, second = (weights_of(tmp_path / name / model) for name in ("plain", "other"))
        assert all(np.array_equal(one, another) for one, another in zip(first, second, strict=True))
    files = [path.read_bytes() for path in manifest.files_below(tmp_path / "other", ["checkpoints"])]
    assert not any(b"sentinel" in content for content in files)


def test_a_push_is_the_same_below_another_root(tmp_path):
    pushed = {}
    for name in ("one", "another"):
        step = dataclasses.replace(make_push(tmp_path, serving_dir="serving"), root=str(tmp_path / name))
        (tmp_path / f"out-{name}").mkdir()
        step.run(tmp_path / f"out-{name}")
        assert (tmp_path / name / "serving/fill_mask/1/saved_model.pb").is_file()
        pushed[name] = step.key({}), content_of(tmp_path / f"out-{name}")
    assert pushed["one"] == pushed["another"]
    assert str(tmp_path) not in json.dumps(pushed["one"][1])


def test_a_push_leaves_nothing_of_what_it_does_to_other_versions_and_for_how_long_it_waits(tmp_path):
    pushed = {}
    for name, settings in (("one", {}), ("another", {"keep_versions": 7919, "lock_timeout_seconds": 7907.0})):
        assert {f"PushParams.{setting}" for setting in settings} <= REASONS.keys()
        step = dataclasses.replace(make_push(tmp_path, serving_dir="serving", **settings), root=str(tmp_path / name))
        (tmp_path / f"out-{name}").mkdir()
        step.run(tmp_path / f"out-{name}")
        (tmp_path / f"out-{name}/settings.json").write_text(manifest.canonical_json(step.settings))
        pushed[name] = step.key({}), content_of(tmp_path / f"out-{name}")
    assert pushed["one"] == pushed["another"]
    written = [path.read_text() for path in (tmp_path / "out-another").iterdir()]
    assert not any(number in text for text in written for number in ("7919", "7907"))


def evaluate_at(places: PushedTo, baseline: Baseline | None) -> Evaluate:
    checkpoint = Checkpoint(Path("anywhere"))
    step = Evaluate(Corpus(None), Blocks(None), Tokenizer(None), checkpoint, places, 0.15, EvaluateParams())
    vars(step)["baseline"] = baseline
    return step


def test_an_evaluation_hangs_on_what_was_found_and_not_on_where():
    """All that an evaluation has of a baseline is a source, and so in the key."""
    first = Baseline("the last blessed model (version 3 in one)", "digest", saved_model=Path("one/3"))
    renamed = dataclasses.replace(first, name="the last blessed model (version 4 in one)")
    places = PushedTo("one"), PushedTo("another", "me/model")
    nowhere = [evaluate_at(place, None) for place in places]
    assert nowhere[0].settings == nowhere[1].settings
    assert nowhere[0].sources() == nowhere[1].sources() == {}
    found = [evaluate_at(place, first) for place in places]
    assert found[0].sources() == found[1].sources() == {"baseline": "digest", "baseline_name": first.name}
    assert evaluate_at(places[0], renamed).sources() != found[0].sources()
