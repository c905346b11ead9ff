"""The memory: how much of it is free."""

from pathlib import Path

MEMORY = Path("/proc/meminfo")


def free_bytes() -> int | None:
    """Bytes that a program can take before others must give some back; None if unknown."""
    try:
        lines = MEMORY.read_text("ascii").splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None
