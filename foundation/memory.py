"""The memory: how much of it is free, on the machine and in the container that the process may be in."""

import contextlib
from pathlib import Path

MEMORY = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")
"""Where the limits of a container are, as it sees them itself."""
LIMIT_AND_USE = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Of the second and the first version of control groups: the limit, what is used, and what of that is given back first.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""


def free_bytes() -> int | None:
    """Bytes that a program can take before others must give some back, or its container ends it; None if unknown."""
    known = [free for free in (_of_the_machine(), _of_the_container()) if free is not None]
    return min(known, default=None)


def _of_the_machine() -> int | None:
    with contextlib.suppress(OSError, KeyError):  # the system or its kernel has none
        return 1024 * _numbers(MEMORY)["MemAvailable"]
    return None


def _of_the_container() -> int | None:
    for limit, use, details, given_back in LIMIT_AND_USE:
        # Without a limit there is no file, or a word in it.
        with contextlib.suppress(OSError, ValueError):
            used = int((GROUPS / use).read_text("ascii")) - _numbers(GROUPS / details).get(given_back, 0)
            return max(0, int((GROUPS / limit).read_text("ascii")) - used)
    return None


def _numbers(path: Path) -> dict[str, int]:
    """The first number of each line by the word before it."""
    lines = (line.replace(":", " ").split() for line in path.read_text("ascii").splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}
