"""Requests go through the graph together: sizes, times, queues, errors, and answers that stay each one's own."""

import asyncio
import contextlib
import dataclasses
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ConfigError, ServingError
from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED, BatchingParameters, read
from serving.server.batching.scheduler import BatchScheduler
from serving.server.status import StatusError

LENIENT = ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED
ONE_THREAD = BatchingParameters(num_batch_threads=1, max_batch_size=8)


@contextmanager
def scheduling(parameters: BatchingParameters) -> Iterator[BatchScheduler]:
    scheduler = BatchScheduler(parameters)
    try:
        yield scheduler
    finally:
        scheduler.close()


class Rows:
    """A task that remembers which rows it has."""

    def __init__(self, *rows: int) -> None:
        self.numbers = rows
        self.rows = len(rows)
        self.result: Future[Any] = Future()

    def split(self, rows: int) -> tuple["Rows", "Rows"]:
        return Rows(*self.numbers[:rows]), Rows(*self.numbers[rows:])


class Gate:
    """Work that waits at its first batch until it is let through, and notes the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, tasks: list[Rows]) -> None:
        self.batches.append([number for task in tasks for number in task.numbers])
        self.entered.set()
        assert self.open.wait(20)
        for task in tasks:
            task.result.set_result(task.numbers)

    def occupy(self, scheduler: BatchScheduler) -> None:
        """Keeps the only thread busy."""
        scheduler.submit("busy", Rows(-1), self)
        assert self.entered.wait(20)
        self.batches.clear()


def test_a_task_goes_at_once_and_those_that_wait_go_together() -> None:
    gate = Gate()
    with scheduling(ONE_THREAD) as scheduler:
        gate.occupy(scheduler)
        parts = [part for number in range(10) for part in scheduler.submit("a", Rows(number), gate)]
        scheduler.submit("b", Rows(99), gate)
        gate.open.set()
        assert [part.result.result(20) for part in parts] == [(number,) for number in range(10)]
    assert gate.batches == [list(range(8)), [8, 9], [99]]


def test_a_batch_waits_for_more_until_it_is_full() -> None:
    gate = Gate()
    gate.open.set()
    patient = dataclasses.replace(ONE_THREAD, batch_timeout_micros=60_000_000)
    with scheduling(patient) as scheduler:
        parts = [scheduler.submit("a", Rows(number, number), gate)[0] for number in range(4)]
        assert [part.result.result(20) for part in parts] == [(number, number) for number in range(4)]
    assert len(gate.batches) == 1


def test_a_batch_waits_no_longer_than_the_timeout() -> None:
    gate = Gate()
    gate.open.set()
    with scheduling(dataclasses.replace(ONE_THREAD, batch_timeout_micros=50_000)) as scheduler:
        began = time.monotonic()
        [part] = scheduler.submit("a", Rows(1), gate)
        assert part.result.result(20) == (1,)
        assert time.monotonic() - began >= 0.05


def test_a_full_queue_refuses() -> None:
    gate = Gate()
    with scheduling(dataclasses.replace(ONE_THREAD, max_enqueued_batches=2)) as scheduler:
        gate.occupy(scheduler)
        for _ in range(16):
            scheduler.submit("a", Rows(1), gate)
        with pytest.raises(StatusError, match=r"UNAVAILABLE.*full; currently 2"):
            scheduler.submit("a", Rows(1), gate)
        scheduler.submit("another queue", Rows(1), gate)
        with pytest.raises(StatusError, match="Task size 9 is larger than maximum input batch size 8"):
            scheduler.submit("a", Rows(*range(9)), gate)
        gate.open.set()


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 20), max_size=12), most=st.integers(1, 20), threads=st.integers(1, 3))
def test_every_row_is_worked_on_once_and_in_order(sizes: list[int], most: int, threads: int) -> None:
    parameters = BatchingParameters(
        max_batch_size=20,
        max_execution_batch_size=most,
        enable_large_batch_splitting=True,
        num_batch_threads=threads,
        max_enqueued_batches=1000,
    )
    batches: list[int] = []

    def work(tasks: list[Rows]) -> None:
        batches.append(sum(task.rows for task in tasks))
        for task in tasks:
            task.result.set_result(list(task.numbers))

    with scheduling(parameters) as scheduler:
        submitted = [scheduler.submit("a", Rows(*range(size)), work) for size in sizes]
        results = [[row for part in parts for row in part.result.result(20)] for parts in submitted]
    assert results == [list(range(size)) for size in sizes]
    assert all(size <= most for size in batches)


def test_work_that_fails_fails_its_tasks_only() -> None:
    def broken(tasks: list[Rows]) -> None:
        raise ZeroDivisionError

    gate = Gate()
    gate.open.set()
    with scheduling(ONE_THREAD) as scheduler:
        [part] = scheduler.submit("a", Rows(1), broken)
        with pytest.raises(ZeroDivisionError):
            part.result.result(20)
        assert scheduler.submit("a", Rows(1), gate)[0].result.result(20) == (1,)
    with pytest.raises(StatusError, match="shutting down"):
        scheduler.submit("a", Rows(1), gate)


def test_a_file_is_read_as_tensorflow_serving_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "batching.pbtxt"
    path.write_text(
        "max_batch_size { value: 8 }  # rows\nbatch_timeout_micros { value: 5 }\nallowed_batch_sizes: 4\n"
        'allowed_batch_sizes: 8\nthread_pool_name { value: "mine" }\npad_variable_length_inputs: true\n'
    )
    assert read(path) == BatchingParameters(
        max_batch_size=8,
        batch_timeout_micros=5,
        allowed_batch_sizes=(4, 8),
        thread_pool_name="mine",
        pad_variable_length_inputs=True,
    )
    own = read(Path(__file__).parents[4] / "serving/graph/batching_params.pbtxt")
    assert own.max_batch_size == LENIENT.max_batch_size
    assert own.max_enqueued_batches == LENIENT.max_enqueued_batches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 8", r"batching.pbtxt:1:"),
        ("max_batch { value: 8 }", r'no field named "max_batch"'),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "the last one must be the largest batch"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 4, 8]", "allowed_batch_sizes must rise"),
        ("max_execution_batch_size { value: 8 }", "must come with enable_large_batch_splitting"),
        (
            "max_batch_size { value: 2 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 8 }",
            "at most max_batch_size",
        ),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "batching.pbtxt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(path)


class WatchedScheduler(BatchScheduler):
    """Tells when a task has been queued or refused."""

    def __init__(self, parameters: BatchingParameters) -> None:
        super().__init__(parameters)
        self.decided = threading.Semaphore(0)

    def submit(self, *arguments: Any) -> list[Any]:
        try:
            return super().submit(*arguments)
        finally:
            self.decided.release()


class Example(NamedTuple):
    """A server of the example model, and what batches its calls."""

    client: httpx.Client
    scheduler: WatchedScheduler


@contextmanager
def serving_example(version: Path, parameters: BatchingParameters) -> Iterator[Example]:
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    scheduler = WatchedScheduler(parameters)
    model = load(version.parent, scheduler=scheduler)
    try:
        with (
            running([model], Limits()) as at,
            httpx.Client(base_url=at.rest, trust_env=False, timeout=60) as client,
        ):
            yield Example(client, scheduler)
    finally:
        model.close()
        scheduler.close()


def ask(client: httpx.Client, body: Any) -> tuple[int, Any]:
    response = client.post("/v1/models/m:predict", content=json.dumps(body))
    return response.status_code, response.json()


def wait_for(scheduler: WatchedScheduler, tasks: int) -> None:
    """Waits until so many more tasks have been queued or refused."""
    for _ in range(tasks):
        assert scheduler.decided.acquire(timeout=60)


def together(example: Example, bodies: list[Any]) -> list[tuple[int, Any]]:
    """Sends requests that meet in a queue: the only thread is busy until all have come."""
    gate = Gate()
    gate.occupy(example.scheduler)
    while example.scheduler.decided.acquire(blocking=False):
        pass  # those of earlier requests, and the gate's own
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = pool.map(lambda body: ask(example.client, body), bodies)
        wait_for(example.scheduler, len(bodies))
        gate.open.set()
        return list(answers)


LENIENT_THREAD = dataclasses.replace(LENIENT, num_batch_threads=1)


def test_batched_answers_are_each_one_s_own(example_version: Path) -> None:
    with serving_example(example_version, LENIENT_THREAD) as example:
        bodies = [{"inputs": [number] * (1 + number % 3)} for number in range(30)]
        answers = together(example, bodies)
        assert answers == [(200, {"outputs": [n / 2 + 2.0] * (1 + n % 3)}) for n in range(30)]
        rows = [{"a": float(n), "i": n, "s": str(n)} for n in range(10)]
        answers = together(example, [{"signature_name": "three", "instances": [row]} for row in rows])
        expected = [{"doubled": 2.0 * n, "next": n + 1, "upper": str(n)} for n in range(10)]
        assert answers == [(200, {"predictions": [one]}) for one in expected]


def test_without_strictness_everything_is_answered_as_it_is_alone(example_version: Path) -> None:
    from serving.server.models.served_models import load
    from serving.server.server import running

    bodies = [
        {"inputs": 3},
        {"inputs": []},
        {"inputs": [[1, 2]]},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": [1] * 100},
        {"inputs": [5]},
        {"signature_name": "scalar", "inputs": [1, 2]},
        {"signature_name": "scalar", "inputs": [3]},
        {"signature_name": "uneven", "inputs": [1]},
        {"signature_name": "uneven", "inputs": [2]},
        {"signature_name": "matmul", "inputs": [[1, 2, 3]]},
        {"signature_name": "matmul", "inputs": [[1, 2]]},
        {"signature_name": "matmul", "inputs": [[1, 2, 4]]},
        {"signature_name": "three", "inputs": {"a": [1], "i": [1, 2], "s": "x"}},
    ]
    model = load(example_version.parent)
    with running([model]) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        alone = [ask(client, body) for body in bodies]
    model.close()
    with serving_example(example_version, LENIENT_THREAD) as example:
        assert together(example, bodies) == alone
        assert [ask(example.client, body) for body in bodies] == alone


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": [1] * 9}, "Task size 9 is larger than maximum input batch size 8"),
        ({"inputs": 3}, "Batching Run() input tensors must have at least one dimension"),
        ({"signature_name": "three", "inputs": {"a": [1], "i": [1, 2], "s": ["x"]}}, "must have equal 0th-dimension"),
        ({"signature_name": "scalar", "inputs": [3]}, "Batched output tensor has 0 dimensions"),
        ({"signature_name": "uneven", "inputs": [3]}, "does not equal the sum of the 0th dimension sizes"),
    ],
)
def test_strict_errors(strict: Example, body: Any, message: str) -> None:
    code, answer = ask(strict.client, body)
    assert code == 400
    assert message in answer["error"]
    assert ask(strict.client, {"inputs": [1]}) == (200, {"outputs": [2.5]})


@pytest.fixture(scope="module")
def strict(example_version: Path) -> Iterator[Example]:
    with serving_example(example_version, ONE_THREAD) as example:
        yield example


def test_other_inner_shapes_fail_the_whole_batch(strict: Example) -> None:
    answers = together(strict, [{"inputs": [[1]]}, {"inputs": [[1, 2]]}])
    for code, answer in answers:
        assert code == 400
        assert "Tensors with name 'serving_default_x:0' from different tasks have different shapes" in answer["error"]


def test_no_rows_do_not_hang(strict: Example) -> None:
    assert ask(strict.client, {"inputs": []}) == (200, {"outputs": []})


def test_padding_and_allowed_sizes(example_version: Path) -> None:
    parameters = dataclasses.replace(ONE_THREAD, allowed_batch_sizes=(4, 8), pad_variable_length_inputs=True)
    with serving_example(example_version, parameters) as example:
        assert ask(example.client, {"inputs": [2, 4]}) == (200, {"outputs": [3.0, 4.0]})
        answers = together(example, [{"inputs": [[6]]}, {"inputs": [[1, 2]]}])
        assert answers == [(200, {"outputs": [[5.0, 5.0]]}), (200, {"outputs": [[2.5, 3.0]]})]


def test_a_split_request_comes_back_whole(example_version: Path) -> None:
    parameters = dataclasses.replace(ONE_THREAD, enable_large_batch_splitting=True, max_execution_batch_size=3)
    with serving_example(example_version, parameters) as example:
        assert ask(example.client, {"inputs": list(range(8))}) == (200, {"outputs": [n / 2 + 2 for n in range(8)]})
        code, answer = ask(example.client, {"signature_name": "uneven", "inputs": [1] * 8})
        assert code == 400, answer


def test_a_request_that_waits_too_long_gets_429(example_version: Path) -> None:
    from serving.server.models.batched_model import BatchedModel
    from serving.server.models.saved_model import SavedModel

    loaded, row = SavedModel(example_version), {"x": np.ones(1, np.float32)}
    with scheduling(ONE_THREAD) as scheduler:
        with pytest.raises(StatusError, match="timeout exceeded while waiting in batching queue") as caught:
            asyncio.run(BatchedModel(loaded, scheduler, timeout_seconds=0).call("serving_default", row))
        assert caught.value.code.http == 429
        patient = BatchedModel(loaded, scheduler, timeout_seconds=60)
        assert asyncio.run(patient.call("serving_default", row))["y"].tolist() == [2.5]
    loaded.close()


def test_a_full_queue_gets_503(example_version: Path) -> None:
    parameters = dataclasses.replace(ONE_THREAD, max_batch_size=1, max_enqueued_batches=1)
    with serving_example(example_version, parameters) as example:
        codes = [code for code, _ in together(example, [{"inputs": [1]}] * 12)]
        assert sorted(codes) == [200] + [503] * 11
        assert ask(example.client, {"inputs": [1]}) == (200, {"outputs": [2.5]})


def test_a_row_that_fails_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    from serving.server.models.batched_model import BatchedModel
    from serving.server.models.saved_model import SavedModel
    from tests.serving.server.example_model import save_classifier

    loaded = SavedModel(save_classifier(tmp_path / "1"))
    # Both rows make a full batch, which waits for them.
    scheduler = BatchScheduler(dataclasses.replace(LENIENT_THREAD, max_batch_size=2, batch_timeout_micros=600_000_000))
    model = BatchedModel(loaded, scheduler, 60.0)

    async def ask_both() -> list[Any]:
        rows = (np.array([b"no example"], object), serialized(0.25))
        calls = (model.call("serving_default", {"inputs": row}) for row in rows)
        return await asyncio.gather(*calls, return_exceptions=True)

    bad, good = asyncio.run(ask_both())
    assert good["scores"].tolist() == [[0.25, 0.75]]
    assert isinstance(bad, StatusError)
    assert "INVALID_ARGUMENT" in str(bad)
    model.close()
    scheduler.close()


def serialized(value: float) -> np.ndarray:
    from serving.server.rest.examples import serialize

    return np.array([serialize({"x": [value]})], object)


def test_a_version_has_sizes_of_its_own_and_is_not_batched_without(example_version: Path, tmp_path: Path) -> None:
    from serving.server.models.served_models import load

    base = tmp_path / "m"
    for version in (1, 2, 3):
        shutil.copytree(example_version, base / str(version))
    (base / "1/batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    (base / "3/batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    scheduler = BatchScheduler(ONE_THREAD, reads_versions=True)
    with contextlib.ExitStack() as ending:
        ending.callback(scheduler.close)
        for version, largest in ((1, 2), (2, None)):
            model = load(base / str(version), scheduler=scheduler)
            ending.callback(model.close)
            with model.use() as (_, lent):
                for rows in (2, 3, 9):
                    call = lent.call("serving_default", {"x": np.ones(rows, np.float32)})
                    if largest is None or rows <= largest:
                        assert asyncio.run(call)["y"].tolist() == [2.5] * rows
                    else:
                        with pytest.raises(StatusError, match=f"{rows} is larger than maximum input batch size 2"):
                            asyncio.run(call)
        with pytest.raises(ServingError, match=r"version 3 .*max_batch_size must be at least 1"):
            load(base / "3", scheduler=scheduler)
