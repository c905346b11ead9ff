"""A worker's death in words: which process, where, how it ended, and its last lines."""

import re
from pathlib import Path

from components.config.runner_settings import RayParams
from foundation.quiet_tensorflow import CHATTER
from runners.ray.process import WorkerFailed

LAST_LINES = 5
PID = re.compile(r"\bpid[:=] ?(\d+)", re.IGNORECASE)
NODE = re.compile(r"(?:\bip[:=]|IP address:) ?([0-9a-f.:]*[0-9a-f])", re.IGNORECASE)
DETAIL = re.compile(r"(?:exit detail:|died because of|cause:) *([^\n]+)", re.IGNORECASE)
OUT_OF_MEMORY = "running low on memory"
REMEDY = (
    "look on that machine whether its memory was full (fewer ray.workers need less), and run the same command again; "
    "ray.max_failures says how often workers are replaced"
)


def death_of(error: BaseException, params: RayParams, what: str = "a worker") -> WorkerFailed:
    """The error of a worker that died once too often.

    Args:
        error: What Ray says of it, in many lines.
        params: Has the number of deaths that were allowed.
        what: Which worker it was.
    """
    said = str(error)
    pid, node = _last(PID, said), _last(NODE, said)
    process = " on ".join(part for part in (f"process {pid}" if pid else "", node or "") if part)
    lines = _last_lines(pid)
    received = [
        f"{what}{f' ({process})' if process else ''} died, and those in its place, {params.max_failures + 1} in all"
        if params.max_failures
        else f"{what}{f' ({process})' if process else ''} died",
        _detail(said),
        f"its last lines: {' / '.join(lines)}" if lines else "",
    ]
    return WorkerFailed(
        "workers must live until a step is done",
        received="; ".join(part for part in received if part),
        remedy=REMEDY,
    )


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found: list[str] = pattern.findall(text)
    return found[-1] if found else None


def _detail(said: str) -> str:
    """How a process ended, in at most a sentence or two of Ray's."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    memory = next((line for line in lines if OUT_OF_MEMORY in line), None)
    detail = memory or _last(DETAIL, said) or (lines[-1] if lines else "")
    # What Ray supposes after that is a list of all that might be.
    return detail.partition(" Some common causes")[0].strip().removesuffix(".")[:300]


def _last_lines(pid: str | None) -> list[str]:
    """The last lines that a process of this machine wrote to standard error."""
    logs = _logs()
    if pid is None or logs is None:
        return []
    lines = [
        line.rstrip()
        for path in sorted(logs.glob(f"worker-*-{pid}.err"))
        for line in path.read_text("utf-8", "replace").splitlines()
        # Ray's own marks of jobs, actors and tasks.
        if line.strip() and not line.startswith(":") and not CHATTER.match(line.encode())
    ]
    return [line[:200] for line in lines[-LAST_LINES:]]


def _logs() -> Path | None:
    """Where Ray has the logs of this machine's processes; None where it doesn't run on it."""
    import ray

    node = ray._private.worker._global_node
    return None if node is None else Path(node.get_logs_dir_path())
