"""What is said of workers' errors and deaths, and which of them end a step."""

import pytest

from components.config.runner_settings import RayParams
from foundation.errors import DataError, PipelineError
from runners.ray.deaths import death_of
from runners.ray.process import WorkerFailed, WorkerLeft, said_of
from runners.ray.together import _said, final_error

KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: MapWorker(MapBatches(MapWorker))
\tactor_id: 5b2f7c0cd8e9d2b2ce5ae0cb01000000
\tpid: 987654
\tnamespace: 4f0e
\tip: 10.0.0.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed \
by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly.
"""
MEMORY = """Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.7, ID: 4a6f) where the task (actor ID: 5b2f, pid=987654, memory used=2.31GB) was \
running was 59.05GB / 62.06GB (0.951), which exceeds the memory usage threshold of 0.95.
"""


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (KILLED, "Worker unexpectedly exits with a connection error code 2. End of file"),
        (MEMORY, "Task was killed due to the node running low on memory"),
    ],
)
def test_a_death_is_told_in_a_sentence(said: str, detail: str) -> None:
    error = death_of(RuntimeError(said), RayParams(max_failures=0), "worker 1")
    assert error.received == f"worker 1 (process 987654 on 10.0.0.7) died; {detail}"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_error_of_a_step_is_sent_as_it_is_and_any_other_with_its_place() -> None:
    own = DataError("a rule", received="something", remedy="a way out")
    assert said_of(raised(own), "worker 1") is own
    other = said_of(raised(ValueError("two\nlines")), "worker 1 (process 7 on 10.0.0.7)")
    assert type(other) is WorkerFailed
    assert other.received.startswith("ValueError: two lines, in worker 1 (process 7 on 10.0.0.7), at test_errors_of_wo")


def test_errors_of_workers_whose_fellow_is_gone_are_told_from_others() -> None:
    import tensorflow as tf

    for error in (ConnectionResetError(), tf.errors.UnavailableError(None, None, "connection reset by peer")):
        assert type(said_of(raised(error), "worker 0")) is WorkerLeft
    for error in (ValueError(), tf.errors.ResourceExhaustedError(None, None, "out of memory")):
        assert type(said_of(raised(error), "worker 0")) is WorkerFailed


ERROR = WorkerFailed("a rule", received="something", remedy="a way out")
LEFT = WorkerLeft("a rule", received="something that follows", remedy="a way out")


def test_only_an_error_that_would_come_again_is_final() -> None:
    assert final_error({0: LEFT, 1: ERROR}) is ERROR
    assert final_error({0: LEFT, 1: LEFT}) is None
    assert final_error({0: ERROR, 1: RuntimeError("it died")}) is None


def failed(failures: dict[int, Exception]) -> Exception:
    error = RuntimeError("Training failed due to worker errors")
    error.worker_failures = failures
    return error


def test_a_death_is_named_before_what_follows_from_it() -> None:
    said = _said(failed({0: LEFT, 1: RuntimeError(KILLED)}), RayParams(max_failures=2))
    assert said.received.startswith("worker 1 (process 987654 on 10.0.0.7) died, and those in its place, 3 in all")
    assert _said(failed({0: LEFT, 1: LEFT}), RayParams()) is LEFT


def test_what_ray_train_itself_says_is_short() -> None:
    said = _said(RuntimeError("no\n" * 1000), RayParams())
    assert isinstance(said, PipelineError)
    assert "must start all workers together" in str(said)
    assert len(str(said)) < 800
