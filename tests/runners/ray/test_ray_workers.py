"""Workers on Ray, on this machine: what they give back, in which order, and what is said of an error."""

import functools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.config.pipeline_config import Config
from components.config.runner_settings import RayParams
from foundation.errors import ConfigError, DamagedArtifact, DataError
from runners.choice import chosen_workers
from runners.ray import cluster
from runners.ray.process import WorkerFailed
from runners.ray.workers import RayWorkers
from tests.runners.ray import tasks

FAILURES = 2


@pytest.fixture(scope="module")
def workers() -> Iterator[RayWorkers]:
    # A program may have imported Ray before, which then reads the environment.
    import ray  # noqa: F401

    with RayWorkers(RayParams(workers=2, max_failures=FAILURES)) as workers:
        yield workers


def test_results_come_in_order_until_an_item_is_refused_in_the_steps_own_words(
    workers: RayWorkers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "prepared"
    results = workers.map(functools.partial(tasks.prepared, log), tasks.arrays_until_ten, iter(range(12)))
    came = []
    with pytest.raises(DataError) as caught:
        came.extend(results)
    assert [int(array[0]) for _, array in came] == list(range(10))
    assert all(array.dtype == np.float64 and array.flags["W"] for _, array in came)
    assert str(caught.value) == str(tasks.not_ten())
    # Each process prepared once, and none of them was this one.
    prepared = [int(line) for line in log.read_text("utf-8").splitlines()]
    assert len(prepared) == len(set(prepared)) == workers.count
    assert {pid for pid, _ in came} <= set(prepared)
    assert os.getpid() not in prepared
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.slow
def test_workers_together_know_each_other_and_are_set_up_as_the_command_line_is(
    workers: RayWorkers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workers.together(functools.partial(tasks.writes, tmp_path))
    said = [json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2)]
    assert [(each["rank"], each["index"], each["count"]) for each in said] == [(0, 0, 2), (1, 1, 2)]
    assert said[0]["addresses"] == said[1]["addresses"]
    assert all(address.startswith("127.0.0.1:") for address in said[0]["addresses"])
    assert len({os.getpid(), said[0]["pid"], said[1]["pid"]}) == 3
    assert {each["directory"] for each in said} == {os.getcwd()}
    assert {each["keras"] for each in said} == {"tf_keras"}
    assert {each["threads"] for each in said} == {"1"}
    assert not any(each["early"] for each in said)
    assert tuple(capfd.readouterr()) == ("", "")


def test_nothing_to_do_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.Cluster, "_start", lambda _: pytest.fail("it started Ray"))
    with RayWorkers(RayParams()) as workers:
        assert list(workers.map(tasks.nothing, tasks.squared, [])) == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'masked-lm-pipeline\[ray\]'"), chosen_workers("ray", Config()):
        pytest.fail("it began")


@pytest.mark.slow
def test_items_of_a_worker_that_is_killed_are_done_again(workers: RayWorkers, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    results = workers.map(functools.partial(Path, killed), tasks.kills_once, range(20))
    assert list(results) == [number * number for number in range(20)]
    assert killed.exists()


@pytest.mark.slow
def test_an_item_that_kills_every_worker_ends_the_step(workers: RayWorkers, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerFailed) as caught:
        list(workers.map(tasks.nothing, tasks.deadly, range(5)))
    assert f"{FAILURES + 1} in all" in caught.value.received
    assert "its last lines: a last word" in caught.value.received
    assert "on 127.0.0.1" in caught.value.received
    assert len(str(caught.value)) < 700
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [tasks.nothing, tasks.broken_preparation])
def test_an_error_that_no_step_foresaw_says_where_it_was_raised(workers: RayWorkers, prepare) -> None:
    with pytest.raises(WorkerFailed, match="ZeroDivisionError") as caught:
        list(workers.map(prepare, tasks.broken, range(5)))
    assert "in a worker (process " in caught.value.received
    assert "tasks.py:" in caught.value.received


@pytest.mark.slow
def test_results_that_nobody_takes_are_not_made(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """160 results of 16 MB are more than what Ray may hold, so workers stop before they have made all."""
    results = workers.map(functools.partial(Path, tmp_path), tasks.sixteen_megabytes, range(160))
    next(results)
    tasks.wait_until_still(lambda: len(list(tmp_path.iterdir())), 3.0)
    assert len(list(tmp_path.iterdir())) < 120
    results.close()
    # And the workers are free for others.
    assert [square for square, _ in workers.map(tasks.nothing, tasks.squared, [3])] == [9]


@pytest.mark.slow
def test_a_worker_killed_while_all_work_has_all_begin_anew(workers: RayWorkers, tmp_path: Path) -> None:
    workers.together(functools.partial(tasks.counts_on, tmp_path, 10, 5))
    assert (tmp_path / "killed").exists()
    assert [(tmp_path / f"{rank}.count").read_text() for rank in range(2)] == ["10", "10"]


@pytest.mark.slow
def test_an_error_of_one_ends_the_work_of_all_at_once(workers: RayWorkers, tmp_path: Path) -> None:
    with pytest.raises(DamagedArtifact, match="a byte is another") as caught:
        workers.together(functools.partial(tasks.second_refuses, tmp_path))
    assert caught.value.directory == tmp_path
    assert [len((tmp_path / f"{rank}.starts").read_text().splitlines()) for rank in range(2)] == [1, 1]


@pytest.mark.slow
def test_workers_together_that_die_every_time_end_the_step(
    workers: RayWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerFailed, match=r"worker .*died.*a last word") as caught:
        workers.together(tasks.dies)
    assert f"{FAILURES + 1} in all" in caught.value.received
    assert len(str(caught.value)) < 700
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("part", ["ray", "ray.train"])
def test_a_ray_that_can_not_be_imported_is_refused_with_the_reason(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(ConfigError, match=f"--runner ray must be able to import {part}") as caught:
        RayWorkers(RayParams()).require()
    assert f"Received: import of {part} halted" in str(caught.value)


def test_a_signal_while_ray_starts_does_what_it_always_does() -> None:
    def started_and_ended() -> None:
        with cluster._own_signals():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with pytest.raises(KeyboardInterrupt):
            started_and_ended()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_where_ray_can_not_write_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TEMPORARY", tmp_path / "missing")
    with pytest.raises(ConfigError, match="Ray must be able to write to") as caught:
        cluster.Cluster(RayParams()).ensure()
    assert "No such file or directory" in str(caught.value)
