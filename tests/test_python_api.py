"""The functions for programs and notebooks: they return, raise and leave the process as it was."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from foundation.errors import ArtifactError, ConfigError, DataError, PipelineError
from foundation.process_lock import LockHeld
from masked_lm_pipeline import FinishedRun, load_run, plan, run, run_step
from tests.runners.small_steps import Double, Failing, FirstLetter, Stoppable, Text, WordParams, Write

ROOT = Path(__file__).resolve().parent.parent


def words(run, config, root):
    text = run(Write(WordParams("sea")))
    return run(Double(run(FirstLetter(text))))


def failing(run, config, root):
    run(Write(WordParams("sea")))
    run(Failing())


def test_a_run_gives_its_artifacts_and_the_second_finds_them(tmp_path, capfd):
    first = run(root=tmp_path, graph=words)
    assert first.steps == {"write": "ran", "first": "ran", "double": "ran"}
    assert first.artifact("double", Text).text == "ss"
    assert (first.status, first.error, first.metrics) == ("succeeded", None, {})
    assert first.report_page.is_file()
    assert first.root == tmp_path
    said = capfd.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["write", "first", "double"]

    second = run(root=tmp_path, graph=words, quiet=True)
    assert set(second.steps.values()) == {"cached"}
    assert second.id != first.id
    assert load_run(root=tmp_path) == load_run(second.id, root=tmp_path) == load_run(second.directory) == second
    assert run(root=tmp_path, graph=words, quiet=True, force="first").steps["first"] == "ran"
    assert run(root=tmp_path, graph=words, quiet=True, until="first").steps == {"write": "cached", "first": "cached"}
    assert plan(root=tmp_path, graph=words) == dict.fromkeys(("write", "first", "double"), "cached")
    assert capfd.readouterr() == ("", "")


def test_a_failure_is_raised_and_what_was_finished_is_there(tmp_path, capfd):
    with pytest.raises(DataError, match="a rule must hold"):
        run(root=tmp_path, graph=failing, quiet=True)
    failed = load_run("latest", root=tmp_path)
    assert (failed.status, failed.steps) == ("failed", {"write": "ran", "failing": "failed"})
    assert "a rule must hold" in failed.error
    assert failed.artifact("write", Text).text == "sea"
    with pytest.raises(ArtifactError, match=r"finished train .* write ran, failing failed"):
        _ = failed.checkpoint
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_is_raised_and_the_same_call_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(root=tmp_path, graph=lambda run, config, root: run(Stoppable(stop_at=5)), quiet=True)
    interrupted = load_run(root=tmp_path)
    assert interrupted.status == "interrupted"
    assert "goes on with counting from 5" in interrupted.error
    done = run(root=tmp_path, graph=lambda run, config, root: run(Stoppable()), quiet=True)
    assert done.artifact("counting", Text).text == "from 5"


def test_names_that_nothing_has_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nearest: train"):
        run(root=tmp_path, until="trian")
    with pytest.raises(ConfigError, match=r"evaluat.*nearest: evaluate"):
        plan(root=tmp_path, force=["evaluat"])
    with pytest.raises(ConfigError, match=r"name the root that has"):
        load_run("latest", root=tmp_path)
    assert not (tmp_path / "runs").exists()
    first = run(root=tmp_path, graph=words, quiet=True)
    with pytest.raises(ConfigError, match=f"use one of {first.id}"):
        load_run("yesterday", root=tmp_path)


def test_a_step_of_ones_own_runs_alone(tmp_path, capfd):
    text = run_step(Write(WordParams("sea")), root=tmp_path, quiet=True)
    assert isinstance(text, Text)
    assert run_step(FirstLetter(text), root=tmp_path).text == "s"
    assert "first" in capfd.readouterr().out
    assert run_step(FirstLetter(text), root=tmp_path, quiet=True) == run_step(
        FirstLetter(text), root=tmp_path, quiet=True, force=True
    )
    with pytest.raises(DataError):
        run_step(Failing(), root=tmp_path, quiet=True)


def state():
    return [signal.getsignal(number) for number in signal.valid_signals()], sys.unraisablehook, dict(os.environ)


def test_nothing_is_left_behind_in_the_process(tmp_path, monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    run(root=tmp_path, graph=words, quiet=True)
    before = state()
    assert "TRANSFORMERS_VERBOSITY" not in before[2]
    run(root=tmp_path, graph=words, quiet=True, force="write")
    with pytest.raises(PipelineError):
        run(root=tmp_path, graph=failing, quiet=True)
    assert state() == before


def test_it_works_in_a_thread_and_under_an_event_loop(tmp_path):
    done: list[FinishedRun] = []
    thread = threading.Thread(target=lambda: done.append(run(root=tmp_path, graph=words, quiet=True)))
    thread.start()
    thread.join(60)

    async def in_a_loop():
        done.append(run(root=tmp_path, graph=words, quiet=True))
        done.append(await asyncio.to_thread(run, root=tmp_path, graph=words, quiet=True))

    asyncio.run(in_a_loop())
    assert [set(each.steps.values()) for each in done] == [{"ran"}, {"cached"}, {"cached"}]


def test_a_process_runs_one_pipeline_at_a_time(tmp_path):
    began, go_on = threading.Event(), threading.Event()

    def waiting(run, config, root):
        began.set()
        assert go_on.wait(60)
        run(Write())

    thread = threading.Thread(target=run, kwargs={"root": tmp_path, "graph": waiting, "quiet": True})
    thread.start()
    try:
        assert began.wait(60)
        with pytest.raises(LockHeld, match="one pipeline at a time"):
            run(root=tmp_path, graph=words, quiet=True, wait=False)
    finally:
        go_on.set()
        thread.join(60)
    assert run(root=tmp_path, graph=words, quiet=True, wait=False).status == "succeeded"


def python(code):
    unset = {name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS",)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=unset, capture_output=True, text=True, timeout=240
    )


@pytest.mark.slow
def test_keras_3_in_use_is_refused_and_tensorflow_alone_is_not():
    choose = (
        "from foundation.keras_choice import choose_keras\nchoose_keras()\n"
        "print(tf.keras.Model.__module__.split('.')[0])"
    )
    imported = python(f"import tensorflow as tf\n{choose}")
    assert imported.stdout == "tf_keras\n", imported.stderr
    used = python(f"import tensorflow as tf\ntf.keras.Model\n{choose}")
    assert used.returncode == 1
    last = used.stderr.strip().splitlines()[-1]
    assert "ConfigError: tf.keras must be Keras 2" in last
    assert "restart it (in a notebook, the kernel)" in last
