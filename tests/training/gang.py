"""Workers that are plain processes of this machine, for tests of what several do together."""

import contextlib
import dataclasses
import json
import multiprocessing
import multiprocessing.process
import os
import pickle
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from components.contract.workers import THIS_PROCESS, Item, Member, Result, State
from foundation.errors import PipelineError

# Each is forked from one that has imported what takes long, and has computed nothing.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["components.train", "tensorflow", "datasets", "transformers.models.roformer.modeling_tf_roformer"]
)
OUTCOME = ".outcome"
"""What follows the name of a process' log: where the error goes that the function raised."""
Function = Callable[[Member], None]
Processes = list[multiprocessing.process.BaseProcess]


class GangFailed(PipelineError):
    """Processes died again and again."""


@dataclasses.dataclass
class Gang:
    """Starts processes that find each other by TF_CONFIG; where one dies, all are started anew.

    Attributes:
        count: How many work at once.
        most_starts: How often they are started before that is given up.
        seconds: How long one may take.
        prepare: Is called in each process before the function, with the number of the start, and the member.
        codes: How the processes of each start ended: an exit code, or minus the signal that killed it.
        outputs: What the processes of the last start printed.
    """

    count: int
    most_starts: int = 2
    seconds: float = 280.0
    prepare: Callable[[int, Member], None] | None = None
    codes: list[list[int | None]] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)

    def require(self) -> None:
        """See `Workers`."""

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `Workers`; here, this process does it."""
        return THIS_PROCESS.map(prepare, function, items)

    def together(self, function: Function) -> None:
        """See `Workers`."""
        with tempfile.TemporaryDirectory() as name:
            while len(self.codes) < self.most_starts:
                logs = [Path(name) / f"{len(self.codes)}-{rank}.log" for rank in range(self.count)]
                try:
                    self._start(function, logs)
                finally:
                    self.outputs = [log.read_text(errors="replace") for log in logs]
                for log in logs:
                    if (outcome := log.with_suffix(OUTCOME)).exists():
                        kind, (rule, received, remedy) = pickle.loads(outcome.read_bytes())
                        raise kind(rule, received=received, remedy=remedy)
                if not any(self.codes[-1]):
                    return
        raise GangFailed("the processes must not die", received="\n\n".join(self.outputs)[-6000:], remedy="see there")

    def _start(self, function: Function, logs: list[Path]) -> None:
        """Runs the function in new processes until all have ended, each by itself."""
        with contextlib.ExitStack() as reserved:
            sockets = [reserved.enter_context(socket.socket()) for _ in logs]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
        processes: Processes = []
        for rank, log in enumerate(logs):
            log.touch()
            told = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
            arguments = (function, Member(rank, self.count), told, log, len(self.codes) + 1, self.prepare)
            processes.append(CONTEXT.Process(target=run, args=arguments))
        try:
            for process in processes:
                process.start()
            for process in processes:
                process.join(self.seconds)
            # One that is alive by now hangs.
            self.codes.append([process.exitcode for process in processes])
        finally:
            for process in processes:
                process.kill()
                process.join()


def run(
    function: Function,
    member: Member,
    told: str,
    log: Path,
    start: int,
    prepare: Callable[[int, Member], None] | None,
) -> None:
    """Calls the function in a process of the gang."""
    descriptor = os.open(log, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["TF_CONFIG"] = told
    if prepare is not None:
        prepare(start, member)
    try:
        function(member)
    except PipelineError as error:
        log.with_suffix(OUTCOME).write_bytes(pickle.dumps((type(error), error.args)))
        raise
    except BaseException:
        traceback.print_exc()
        raise
