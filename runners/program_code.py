"""Which code a run was made by: the package's version and, where the program is a git checkout, its commit."""

import contextlib
import dataclasses
import os
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGE = "masked-lm-pipeline"
ROOT = Path(__file__).resolve().parents[1]
"""The folder that the program's packages are in."""
TIMEOUT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class ProgramCode:
    """The code of this program.

    Attributes:
        version: The installed package's; None where it isn't installed.
        commit: The git commit that is checked out, 40 hexadecimal digits; None where the program is no checkout.
        changed: Whether files that git knows differ from that commit.
    """

    version: str | None
    commit: str | None = None
    changed: bool = False


def program_code(root: Path = ROOT) -> ProgramCode:
    """The code in a folder.

    Args:
        root: The folder. A checkout that it is only a part of doesn't count: that is somebody else's repository.
    """
    version = None
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version(PACKAGE)
    top, commit = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "--verify", "HEAD")
    if top is None or commit is None or Path(top).resolve() != root.resolve():
        return ProgramCode(version)
    return ProgramCode(version, commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no")))


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git, or it refuses."""
    # Another repository may be named by the environment, as in a hook; and looking must write nothing.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
