"""A driver in a process of its own: asks workers for one thing, as the command line would.

python -m tests.runners.ray.driver PARAMS_AS_JSON map|wait|wait_together DIRECTORY
"""

import functools
import json
import os
import sys
import tempfile
from pathlib import Path

from components.config.runner_settings import RayParams
from foundation.errors import PipelineError
from foundation.keras_choice import choose_keras
from foundation.own_process import run_as_process
from runners.command_line.outcome import failed, interrupted
from runners.ray.workers import RayWorkers
from tests.runners.ray import tasks


def main(params: str, what: str, directory: str) -> int:
    choose_keras()
    # As in a run: its temporary files are in a directory of its own.
    tempfile.tempdir = os.environ["TMPDIR"] = directory
    try:
        with RayWorkers(RayParams(**json.loads(params))) as workers:
            if what == "map":
                squares = [square for square, _ in workers.map(tasks.nothing, tasks.squared, range(10))]
                print(json.dumps(squares), flush=True)
            elif what == "wait":
                list(workers.map(tasks.nothing, functools.partial(tasks.waits, Path(directory)), range(4)))
            else:
                workers.together(functools.partial(tasks.waits_together, Path(directory)))
    except PipelineError as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(run_as_process(lambda: main(*sys.argv[1:]), "ended at once", interrupted))
