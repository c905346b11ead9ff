"""A function in every process at the same time, by Ray Train, which starts all anew where one dies."""

import dataclasses
import json
import os
import pickle
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from components.config.runner_settings import RayParams
from components.contract.workers import Member
from foundation.errors import PipelineError
from runners.ray.deaths import death_of
from runners.ray.process import FAULT, ProcessSettings, WorkerFailed, WorkerLeft, said_of, this_process


@dataclasses.dataclass(frozen=True)
class Work:
    """What each process is given.

    Attributes:
        settings: How it is set up.
        function: The function, pickled.
    """

    settings: ProcessSettings
    function: bytes


def take_part(given: dict[str, Any]) -> None:
    """What one process does.

    Args:
        given: A `Work`, by the key `work`.

    Raises:
        PipelineError: What the function raised.
    """
    work: Work = given["work"]
    # Ray Train wrote it, and TensorFlow finds the others by it: its number is the one that counts.
    addresses = json.loads(os.environ["TF_CONFIG"])
    member = Member(addresses["task"]["index"], len(addresses["cluster"]["worker"]))
    try:
        work.settings.apply()
        pickle.loads(work.function)(member)
    except Exception as error:
        raise said_of(error, this_process(f"worker {member.rank}")) from None


def run_together(params: RayParams, settings: ProcessSettings, function: Callable[[Member], None]) -> None:
    """Calls the function in every process.

    Args:
        params: How many processes, with what each, and how often they may die.
        settings: How each process is set up.
        function: See `Workers.together`.

    Raises:
        PipelineError: See `Workers.together`.
    """
    from ray import cloudpickle
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    failures = FailureConfig(
        max_failures=params.max_failures,
        controller_failure_limit=params.max_failures,
        max_preemption_failures=params.max_failures,
    )
    resources = {"CPU": params.cpus_per_worker}
    if params.gpus_per_worker:
        resources["GPU"] = params.gpus_per_worker
    with tempfile.TemporaryDirectory(prefix="workers-", ignore_cleanup_errors=True) as storage:
        trainer = TensorflowTrainer(
            take_part,
            train_loop_config={"work": Work(settings, cloudpickle.dumps(function))},
            scaling_config=ScalingConfig(
                num_workers=params.workers, use_gpu=bool(params.gpus_per_worker), resources_per_worker=resources
            ),
            run_config=RunConfig(
                name="workers",
                storage_path=storage,
                failure_config=failures,
                callbacks=[_end_at_an_error()],
                logging_config=LoggingConfig(log_level="CRITICAL"),
            ),
        )
        error = _in_a_thread(trainer.fit)
    if error is not None:
        raise _said(error, params) from error


def final_error(errors: dict[int, Exception]) -> PipelineError | None:
    """Which of the processes' errors would come again; None where one died, and the others' may follow from that.

    Args:
        errors: By the number of the process.
    """
    raised = [error for error in errors.values() if isinstance(error, PipelineError)]
    if len(raised) < len(errors):
        return None
    return next((error for error in raised if not isinstance(error, WorkerLeft)), None)


def _end_at_an_error() -> Any:
    """Ends the training at an error that would come again. Ray Train alone would start all processes anew."""
    from ray.train import UserCallback

    class EndAtAnError(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            if (error := final_error(worker_exceptions)) is not None:
                raise error

    return EndAtAnError()


def _in_a_thread(fit: Callable[[], object]) -> Exception | None:
    """Waits for the training; its error, or None.

    In the main thread, Ray Train would put a handler of its own in the place of the program's for Ctrl-C.
    """
    errors: list[Exception] = []

    def target() -> None:
        try:
            fit()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="ray-train", daemon=True)
    thread.start()
    thread.join()
    return errors[0] if errors else None


def _said(error: Exception, params: RayParams) -> PipelineError:
    """The error of a training that failed, in words."""
    cause = getattr(error, "controller_failure", error)
    if isinstance(cause, PipelineError):
        return cause
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    # A death first: what others raised may follow from it.
    for rank, failure in sorted(failures.items(), key=lambda each: isinstance(each[1], PipelineError)):
        return failure if isinstance(failure, PipelineError) else death_of(failure, params, f"worker {rank}")
    if "died" in str(cause):  # before it began
        return death_of(cause, params)
    return WorkerFailed(
        "Ray Train must start all workers together",
        received=f"{type(cause).__name__}: {' '.join(str(cause).split())[:500]}",
        remedy=FAULT,
    )
