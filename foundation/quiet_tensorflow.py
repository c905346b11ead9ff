"""Keeps the chatter of TensorFlow's libraries off the terminal while they load.

They print some lines to file descriptor 2 before any log level takes effect: which instructions they use, that there
is no GPU. A finder on `sys.meta_path` filters these lines out while TensorFlow is imported for the first time.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType

NAME = "tensorflow"
CHATTER = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I\d{4} [\d:. ]+\w+\.cc:\d+\]")


class QuietLoader(importlib.abc.Loader):
    """Loads a module as its own loader does, while file descriptor 2 is filtered."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Creates the module as its own loader does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module as its own loader does, without the chatter, and leaves no trace of this loader."""
        uninstall()
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        with filtered_stderr():
            self.loader.exec_module(module)


class QuietFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as Python does, but with a quiet loader.

    It stays until TensorFlow is loaded, because some libraries look for it only to see whether it is installed.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """TensorFlow's spec with a quiet loader; None for every other module."""
        if fullname != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = QuietLoader(spec.loader)
        return spec


@contextlib.contextmanager
def filtered_stderr(chatter: re.Pattern[bytes] = CHATTER) -> Iterator[None]:
    """Holds back what is written to file descriptor 2, then passes on all but the chatter.

    Args:
        chatter: What lines of it begin with.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a daemon may have closed it
        yield
        return
    with contextlib.ExitStack() as files:
        try:
            held = files.enter_context(tempfile.TemporaryFile())
        except OSError:  # no directory takes one
            os.close(kept)
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not chatter.match(line):
                    os.write(2, line)


def uninstall() -> None:
    """Removes the finder."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, QuietFinder)]


def install() -> None:
    """Makes the next import of TensorFlow quiet."""
    uninstall()
    if NAME not in sys.modules:
        sys.meta_path.insert(0, QuietFinder())
