"""Opens the root that a user names: a directory, or the address of a bucket."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from runners.housekeeping.pipeline_root import PipelineRoot


def is_remote(root: str | Path) -> bool:
    """Whether a root is named by an address."""
    from runners.remote.address import is_remote

    return is_remote(root)


@contextlib.contextmanager
def opened_root(
    root: str | Path, *, to_write: bool = True, wait: bool = True, show: Callable[[str], None] | None = None
) -> Iterator[PipelineRoot]:
    """Opens a root for as long as the context lasts.

    Args:
        root: A directory, which need not exist, or an address such as `s3://bucket/prefix`.
        to_write: Whether something is to be written there.
        wait: Whether to wait for what another machine is making.
        show: Called with a line of text to show.

    Raises:
        ConfigError: If it is an address, and there can't be worked with what is there.
    """
    if not is_remote(root):
        yield PipelineRoot(Path(os.path.abspath(os.path.expanduser(root))), str(Path(root)))
        return
    from runners.remote.root import open_root  # only here, so that others needn't wait for its libraries

    with open_root(os.fspath(root), to_write=to_write, wait=wait, show=show) as opened:
        yield opened
