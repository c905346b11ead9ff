"""What a process does before it takes part in a step's work, and what it says of an error."""

import contextlib
import dataclasses
import logging
import os
import traceback
from pathlib import Path

from components.contract.workers import MemberLost
from foundation.errors import PipelineError
from foundation.keras_choice import choose_keras

FRAMES = 4
"""How many of the calls that led to an error its message has."""
FAULT = "if the words above don't say what to do, this is a fault of the program: please report it"
FOLLOWING = {"AbortedError", "CancelledError", "DeadlineExceededError", "FailedPreconditionError", "InternalError"}
FOLLOWING |= {"UnavailableError", "UnknownError"}
"""TensorFlow's errors in a process that another one has left alone."""


class WorkerFailed(PipelineError):
    """A process that shares a step's work died, or raised an error that no step foresaw."""


class WorkerLeft(WorkerFailed):
    """A process raised an error that is likely to follow from another one's death."""


@dataclasses.dataclass(frozen=True)
class ProcessSettings:
    """How a worker's process is set up: as the command line sets up its own.

    Attributes:
        directory: The driver's working directory, which relative paths are meant from.
        cpus: Processor cores that the process has.
        gpus: GPUs that it has.
    """

    directory: str
    cpus: float
    gpus: float

    def apply(self) -> None:
        """Sets up this process. Nothing of TensorFlow has been imported before."""
        threads = str(max(1, int(self.cpus)))
        for name in ("TF_NUM_INTRAOP_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = threads
        if not self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        # A node of a cluster may have no such directory. Then paths are absolute, or a file that is missing says so.
        with contextlib.suppress(OSError):
            os.chdir(self.directory)
        choose_keras()


def said_of(error: Exception, where: str) -> PipelineError:
    """An error as it is sent to the driver: the steps' own as they are, others in words.

    Args:
        error: What was raised in this process.
        where: Which process this is, such as "worker 1 (process 4711 on 10.0.0.7)".
    """
    if isinstance(error, PipelineError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    calls = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    kind = type(error)
    follows = isinstance(error, ConnectionError | MemberLost) or (
        kind.__module__.startswith("tensorflow.") and kind.__name__ in FOLLOWING
    )
    words = " ".join(str(error).split())
    return (WorkerLeft if follows else WorkerFailed)(
        "a worker must do its part of a step",
        received=f"{kind.__name__}: {words[:1000]}, in {where}, at {calls}",
        remedy=FAULT,
    )


def this_process(what: str) -> str:
    """Which process this is, for messages.

    Args:
        what: What it is, such as "worker 1".
    """
    import ray

    return f"{what} (process {os.getpid()} on {ray.util.get_node_ip_address()})"
