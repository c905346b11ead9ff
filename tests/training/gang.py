"""Workers that are plain processes of this machine, for tests of what several do together.

python gang.py FILE, FILE being a pickled function with the member that it is called for.
"""

import dataclasses
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from components.contract.workers import THIS_PROCESS, Item, Member, Result, State
from foundation.errors import PipelineError

OUTCOME = ".outcome"
"""What follows the name of a function's file: where the error goes that it raised."""


class GangFailed(PipelineError):
    """Processes died again and again."""


@dataclasses.dataclass
class Gang:
    """Starts processes that find each other by TF_CONFIG; where one dies, all are started anew.

    Attributes:
        count: How many work at once.
        most_starts: How often they are started before that is given up.
        seconds: How long one start may take.
        on_start: Is called with the processes of each start, such as to kill one.
        starts: How often they were started.
        codes: How the processes of each start that was given up had ended by themselves, or None.
        outputs: What the processes of the last start printed.
    """

    count: int
    most_starts: int = 3
    seconds: float = 300.0
    on_start: Callable[[int, list["subprocess.Popen[bytes]"]], None] = lambda start, processes: None
    starts: int = 0
    codes: list[list[int | None]] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `Workers`; here, this process does it."""
        return THIS_PROCESS.map(prepare, function, items)

    def together(self, function: Callable[[Member], None]) -> None:
        """See `Workers`."""
        with tempfile.TemporaryDirectory() as name:
            while self.starts < self.most_starts:
                self.starts += 1
                if self._run(function, Path(name)):
                    return
        raise GangFailed("the processes must not die", received=self.outputs[-1][-3000:], remedy="look at why")

    def _run(self, function: Callable[[Member], None], directory: Path) -> bool:
        """Whether all came to the end of the function."""
        with reserved_ports(self.count) as ports:
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        processes = []
        files = [directory / f"{self.starts}-{rank}" for rank in range(self.count)]
        for rank, file in enumerate(files):
            file.write_bytes(pickle.dumps((function, Member(rank, self.count))))
            told = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
            with open(f"{file}.log", "wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, __file__, str(file)],
                        env={**os.environ, "TF_CONFIG": json.dumps(told)},
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            self.on_start(self.starts, processes)
            # In whichever order they end: who is left when one dies ends by itself, which is looked at, too.
            for process in processes:
                process.wait(self.seconds)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            self.outputs = [Path(f"{file}.log").read_text(errors="replace") for file in files]
        codes = [process.returncode for process in processes]
        for file in files:
            if has_outcome(file):
                kind, (rule, received, remedy) = pickle.loads(Path(f"{file}{OUTCOME}").read_bytes())
                raise kind(rule, received=received, remedy=remedy)
        if any(codes):
            self.codes.append(codes)
        return not any(codes)


class reserved_ports:  # noqa: N801 (a context, used as a function)
    """Free ports of 127.0.0.1, which nobody else takes while the context lasts."""

    def __init__(self, count: int) -> None:
        self.sockets = [socket.socket() for _ in range(count)]

    def __enter__(self) -> list[int]:
        for each in self.sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in self.sockets]

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()


def has_outcome(file: Path) -> bool:
    """Whether the function in a file raised an error of the project's."""
    return Path(f"{file}{OUTCOME}").exists()


def main(file: Path) -> None:
    """Calls the function in a file."""
    from foundation.keras_choice import choose_keras

    choose_keras()
    function, member = pickle.loads(file.read_bytes())
    try:
        function(member)
    except PipelineError as error:
        Path(f"{file}{OUTCOME}").write_bytes(pickle.dumps((type(error), error.args)))
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
