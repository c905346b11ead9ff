"""The traced pipeline: what is a task, where its inputs come from, and how it is told to its container."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contract.component_json import as_json, from_json
from foundation.errors import PipelineError
from runners.kubeflow.tracing import trace, without_placeholders
from tests.runners.kubeflow.parts import traced
from tests.runners.small_steps import Double, FirstLetter, Text, WordParams, Write

STEPS = ["ingest", "tokenizer", "preprocess", "train", "evaluate", "export", "validate", "push"]


def test_the_pipeline_is_traced_in_order():
    assert [task.name for task in traced()] == STEPS
    assert [task.name for task in traced(until="train")] == STEPS[:4]


@pytest.mark.parametrize("until", [*STEPS, None])
def test_every_input_is_what_an_earlier_task_makes(until):
    made = {}
    for task in traced(until):
        assert set(task.inputs) == set(task.component.inputs)
        for source in task.inputs.values():
            assert made[source.task] == (source.output, source.kind)
        made[task.name] = (task.output, task.component.output)


def test_only_steps_of_params_and_inputs_alone_may_be_reused():
    assert [task.name for task in traced() if not task.reads_outside] == ["preprocess", "export"]


@pytest.mark.parametrize("name", STEPS)
def test_a_task_is_told_with_its_inputs_places(name):
    """What a container does once Kubeflow has put paths in place of its placeholders."""
    task = next(task for task in traced() if task.name == name)
    told = re.sub(r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.path\}\}", r"/in/\1", task.told)
    paths = {
        field: dataclasses.replace(value, path=Path("/in") / field) for field, value in task.component.inputs.items()
    }
    assert from_json(told) == dataclasses.replace(task.component, **paths)
    assert "{{" not in told


@given(st.text(alphabet="{}()$.'[]\"\\ainputs", max_size=60))
def test_nothing_in_a_users_text_is_replaced(word):
    component = Write(WordParams(word))
    told = without_placeholders(as_json(component))
    assert not re.search(r"\{\{|\$\(|\$\$", told)
    assert from_json(told) == component


def test_a_users_text_that_looks_like_a_placeholder_stays():
    word = "{{$.inputs.artifacts['text'].path}} {\"$path\":\"{{$.inputs.artifacts['text'].path}}\"} {{workflow.name}}"

    def graph(run):
        return run(FirstLetter(run(Write(WordParams(word))), WordParams(word)))

    write, first = trace(graph)
    assert "{{" not in write.told
    assert first.told.count("{{") == 1
    replaced = first.told.replace("{{$.inputs.artifacts['text'].path}}", "/in")
    assert from_json(replaced) == FirstLetter(Text(Path("/in")), WordParams(word))
    assert json.loads(replaced)["params"]["word"] == word


def test_a_step_may_be_in_a_pipeline_twice():
    def graph(run):
        return run(Double(run(Double(run(Write())))))

    write, first, second = trace(graph)
    assert [write.name, first.name, second.name] == ["write", "double", "double-2"]
    assert [source.task for source in second.inputs.values()] == ["double"]


def test_an_artifact_from_elsewhere_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="earlier steps of the same pipeline"):
        trace(lambda run: run(FirstLetter(Text(tmp_path))))
