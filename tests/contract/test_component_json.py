"""A component that travels as JSON is the same one on the other side."""

from pathlib import Path

import pytest

from components.blocks.params import PreprocessParams
from components.config.pipeline_config import Config
from components.contract.artifacts import Artifact, Blocks, Corpus, Tokenizer
from components.contract.component import Component
from components.contract.component_json import as_json, from_json
from components.preprocess import Preprocess
from foundation.errors import PipelineError
from pipeline import for_root, pipeline
from runners.run import drive
from tests.runners.small_steps import FirstLetter, Text, WordParams

ROOT = Path("/somewhere/root")


def components_of(config: Config) -> dict[str, Component]:
    """Every step of the pipeline, its inputs where a runner would have them."""
    found: dict[str, Component] = {}

    def run(component: Component) -> Artifact:
        found[component.name] = component
        return component.at(ROOT / component.name)

    drive(lambda run: pipeline(run, for_root(config, ROOT, wait=True), str(ROOT)), run)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "push": {"hub_model_id": "me/model", "during_training": True, "license": "mit", "language": "en"},
            "ingest": {"columns": "a,b.c", "time_column": "when"},
            "train": {"model_config": {"hidden_size": 64}, "continue_from": "auto"},
        },
    ],
)
def test_every_step_comes_back_equal(changes) -> None:
    steps = components_of(Config().replace(**changes))
    assert len(steps) == 8
    for component in steps.values():
        back = from_json(as_json(component))
        assert back == component
        assert type(back.params) is type(component.params)
        assert as_json(back) == as_json(component)


def test_a_step_of_somebody_else_comes_back_equal() -> None:
    step = FirstLetter(Text(Path("/a/text")), WordParams("cloud"))
    assert from_json(as_json(step)) == step


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "not JSON",
        '{"$class": "components.preprocess:Nothing"}',
        '{"$class": "no.such.module:Thing"}',
        '{"$class": "os:system", "command": "true"}',
        '{"$class": "components.preprocess:Preprocess", "corpus": 1}',
        '{"$class": "components.blocks.params:PreprocessParams", "block_size": 8}',
    ],
)
def test_what_is_no_component_is_refused(text: str) -> None:
    with pytest.raises(PipelineError, match="same version of the program"):
        from_json(text)


def test_what_json_cannot_say_is_refused() -> None:
    step = Preprocess(Corpus(None), Tokenizer(None), PreprocessParams(block_size=8))
    object.__setattr__(step, "params", lambda: None)
    with pytest.raises(TypeError, match="can't be told to another process"):
        as_json(step)


def test_a_path_that_is_a_placeholder_stays_one() -> None:
    placeholder = "{{$.inputs.artifacts['corpus'].path}}"
    step = Preprocess(Corpus(Path(placeholder)), Tokenizer(None), PreprocessParams(block_size=8))
    assert placeholder in as_json(step)
    assert Blocks(Path(placeholder)).path == Path(placeholder)
