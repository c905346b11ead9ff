"""The stages of a training: batch sizes and masking rates by the step, what is refused, and going on within one."""

import json
import re

import numpy as np
import pytest

from components.masking.masking import IGNORED_LABEL, MaskingRate
from components.training.devices import Devices
from components.training.execution import Execution
from components.training.fit import Fit
from components.training.params import TrainParams, training_steps
from components.training.progress import Progress
from components.training.schedules import masking_changes
from components.training.stages import Stage, Stages, plan_stages
from components.training.starting_model import starting_model
from components.training.stopping import Interruption, StopAt
from foundation.errors import ConfigError
from tests.training.tiny_training import (
    BLOCK_SIZE,
    SMALL,
    equal,
    history_of,
    small_step,
    weights_of,
    write_blocks,
    write_tokenizer,
)


def params(**settings):
    return TrainParams(model_type="bert", **settings)


def sizes(blocks, **settings):
    return training_steps(params(**settings), blocks).batch_sizes


GROWING = {"batch_size": 16, "batch_size_start": 2, "batch_size_warmup_ratio": 0.3}


def test_batches_double_over_the_warmup():
    assert sizes(1600, epochs=1, **GROWING) == ((0, 2), (10, 4), (20, 8), (30, 16))
    assert sizes(1600, epochs=1, **{**GROWING, "batch_size_start": 5}) == ((0, 5), (15, 10), (30, 16))
    # Fewer steps than sizes: the smallest have none, and the batches never shrink.
    assert sizes(96, epochs=1, **GROWING) == ((0, 4), (1, 8), (2, 16))
    assert sizes(1600, epochs=1, batch_size=16) == ((0, 16),)
    # A batch is all there is.
    assert sizes(2, epochs=9, **GROWING) == ((0, 2),)


def test_a_growing_batch_changes_no_number_of_steps():
    plain = training_steps(params(batch_size=16, epochs=3, gradient_accumulation_steps=2, warmup_ratio=0.1), 330)
    growing = training_steps(params(epochs=3, gradient_accumulation_steps=2, warmup_ratio=0.1, **GROWING), 330)
    for name in ("steps", "steps_per_epoch", "warmup_steps", "decay_steps", "blocks_a_step"):
        assert getattr(growing, name) == getattr(plain, name)
    assert growing.blocks_by_step == ((0, 4), (3, 8), (6, 16), (9, 32))


def test_the_masking_rate_by_steps():
    changes = masking_changes([[0.6, 0.15], [0.95, 0.05]], 10)
    rate = MaskingRate(0.3, None, 10, changes)
    assert [rate.at(step) for step in range(10)] == [0.3] * 6 + [0.15] * 4  # the last change is after the last step
    assert rate.largest == 0.3
    assert masking_changes([[0.07, 0.5]], 100) == ((7, 0.5),)
    assert masking_changes(None, 100) == ()


def test_each_stage_has_the_places_that_its_rate_needs():
    rate = MaskingRate(0.3, None, 20, ((8, 0.15), (16, 0.05)))
    stages = plan_stages([(0, 4), (8, 8)], rate, 20, block_size=100)
    assert stages.stages == (Stage(0, 4, 30), Stage(8, 8, 15), Stage(16, 8, 5))
    assert [stages.at(step).first_step for step in (0, 7, 8, 15, 16, 40)] == [0, 0, 8, 8, 16, 16]
    # A change that changes no shape is none.
    assert plan_stages([(0, 4)], MaskingRate(0.3, None, 20, ((8, 0.299),)), 20, 100).stages == (Stage(0, 4, 30),)
    assert plan_stages([(0, 4)], MaskingRate(0.1, 0.3, 20), 20, 100).stages == (Stage(0, 4, 30),)


def test_the_time_left_is_that_of_the_steps_that_are_left():
    stages = Stages((Stage(0, 4, 2, flops=1.0), Stage(6, 8, 2, flops=2.0)))
    assert [stages.flops_before(step) for step in (0, 1, 6, 7, 10)] == [0, 1, 6, 8, 14]
    progress = Progress(10, 1, work_before=stages.flops_before)
    progress._start, progress._step, progress._time = (1, 0.0), 6, 50.0
    assert progress.remaining_seconds() == pytest.approx(80)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"batch_size_start": 4}, r"must be set together.*batch_size_start 4 and .*warmup_ratio 0.0"),
        ({"batch_size_warmup_ratio": 0.1}, r"must be set together.*batch_size_start null and .*warmup_ratio 0.1"),
        ({"batch_size_warmup_ratio": 1.0, "batch_size_start": 4}, r"batch_size_warmup_ratio must be from 0"),
        ({**GROWING, "batch_size_start": 16}, r"batch_size_start must be .*got: 16, and train.batch_size is 16.*to 4"),
        ({**GROWING, "batch_size_start": 0}, r"batch_size_start must be a whole number from 1"),
        ({**GROWING, "max_steps": 1}, r"warm-up must end before training does.*1 for 1 steps"),
        ({"mlm_probability_schedule": []}, r"must be a list of pairs.*got: \[\]"),
        ({"mlm_probability_schedule": [[0.5, 0.1, 0.2]]}, r"must be a list of pairs.*0.1, 0.2"),
        ({"mlm_probability_schedule": [[0.0, 0.1]]}, r"the first rate is train.mlm_probability.*got: 0 after 0"),
        ({"mlm_probability_schedule": [[0.5, 0.1], [0.5, 0.2]]}, r"the parts must rise.*got: 0.5 after 0.5"),
        ({"mlm_probability_schedule": [[0.5, 15.0]]}, r"a rate must be above 0 and at most 1.*got: 15"),
        ({"mlm_probability_schedule": [[0.5, 0.1]], "mlm_probability_end": 0.1}, r"only one of .*_end and"),
        ({"decay_type": "1-sqrt"}, r"decay_type must be set only with .*got: 1-sqrt with .* linear"),
        ({"weight_decay_excludes": "nothing", "weight_decay": 0.0}, r"weight_decay_excludes must be set only"),
    ],
)
def test_refused(settings, rule):
    with pytest.raises(ConfigError) as refused:
        params(**settings)
    received = f"{refused.value} got: {refused.value.received} {refused.value.remedy}"
    assert re.search(rule, received, re.DOTALL), received


ALL_OF_IT = {
    "epochs": 2,
    "batch_size": 8,
    "batch_size_start": 4,
    "batch_size_warmup_ratio": 0.25,
    "gradient_accumulation_steps": 2,
    "optimizer": "stable_adamw",
    "mlm_probability": 0.3,
    "mlm_probability_schedule": [[0.6, 0.1]],
    "lr_scheduler_type": "warmup_stable_decay",
    "warmup_ratio": 0.2,
    "decay_type": "1-sqrt",
    "decay_ratio": 0.4,
}
"""A modern encoder's recipe, in 8 steps: 2 of 8 blocks, 3 of 16, and 3 of 16 with fewer masks."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    return write_blocks(directory / "blocks", train=70, test=9), write_tokenizer(directory / "tokenizer")


def test_each_step_has_its_blocks_and_masks_wherever_training_goes_on(inputs, tmp_path):
    """Those of a step hang on its number alone, and those after the warm-up not on the warm-up."""
    blocks, tokenizer = inputs
    model = starting_model(TrainParams(**SMALL), blocks, tokenizer.load(), None).model

    def batches_of(first_step, **settings):
        chosen = TrainParams(**{**SMALL, **ALL_OF_IT, **settings})
        steps, execution = training_steps(chosen, 70), Execution("float32", False, ("CPU:0",), Devices.visible(), {})
        fit = Fit(model, tokenizer.load(), blocks, chosen, steps, execution, tmp_path, Interruption(""))
        order = fit.block_order()
        return fit, order, list(fit.train_batches(order, first_step).as_numpy_iterator())

    fit, order, whole = batches_of(0)
    assert [len(labels) for _, labels in whole] == [8] * 2 + [16] * 6
    shares = [round((labels != IGNORED_LABEL).mean(), 2) for _, labels in whole]
    assert min(shares[:5]) > 0.25 > 0.15 > max(shares[5:])
    true = [np.where(labels == IGNORED_LABEL, inputs["input_ids"], labels) for inputs, labels in whole]
    expected = blocks.split("train").with_format("numpy")["input_ids"]
    for step, ids in enumerate(true, start=1):
        np.testing.assert_array_equal(ids, expected[fit.blocks_of(step, order)])
    plain = batches_of(0, batch_size_start=None, batch_size_warmup_ratio=0.0)[2]
    for first_step, others in ((1, batches_of(1)[2]), (2, batches_of(2)[2]), (4, batches_of(4)[2]), (2, plain[2:])):
        assert len(others) == 8 - first_step
        for (inputs_, labels), (same, same_labels) in zip(others, whole[first_step:], strict=True):
            np.testing.assert_array_equal(labels, same_labels)
            np.testing.assert_array_equal(inputs_["input_ids"], same["input_ids"])


@pytest.mark.slow
def test_a_training_with_all_of_it_goes_on_exactly(inputs, tmp_path, monkeypatch):
    """Cut off after step 4, it goes on from step 3, within the second stage."""
    settings = {**ALL_OF_IT, "checkpoint_every_steps": 3}
    for name in ("alone", "cut"):
        (tmp_path / name).mkdir()
    small_step(*inputs, **settings).run(tmp_path / "alone")
    counts = StopAt.on_train_batch_end

    def cut_off(callback, *arguments):
        counts(callback, *arguments)
        if callback.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StopAt, "on_train_batch_end", cut_off)
        with pytest.raises(KeyboardInterrupt):
            small_step(*inputs, **settings).run(tmp_path / "cut")
    assert small_step(*inputs, **settings).resumes(tmp_path / "cut") == "step 3 of 8"
    small_step(*inputs, **settings).run(tmp_path / "cut")
    assert equal(weights_of(tmp_path / "alone" / "model"), weights_of(tmp_path / "cut" / "model"))
    for name in ("history.json", "history_steps.json"):
        assert history_of(tmp_path / "alone", name) == history_of(tmp_path / "cut", name)
    for name in ("alone", "cut"):
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["tokens_seen"] == BLOCK_SIZE * (2 * 8 + 6 * 16)
        assert (report["steps"], report["blocks_a_step"]) == (8, 16)
