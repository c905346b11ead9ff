"""HDF5 crashes the process where the disk fails in the middle of a file. Here it doesn't learn of that; we do."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel


class _DiskFile(io.RawIOBase):
    """A file whose first failure to write is kept, and whose later writes do nothing.

    Args:
        file: The file, open for reading and writing.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self.file = file
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._attempt(lambda: self.file.seek(offset, whence), offset)

    def tell(self) -> int:
        return self._attempt(self.file.tell, 0)

    def readinto(self, buffer: Any) -> int:
        return self._attempt(lambda: _until_done(self.file.readinto, buffer), len(buffer))

    def write(self, data: Any) -> int:
        return self._attempt(lambda: _until_done(self.file.write, data), len(data))

    def truncate(self, size: int | None = None) -> int:
        return self._attempt(lambda: self.file.truncate(size), size or 0)

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    def _attempt(self, action: Callable[[], int], otherwise: int) -> int:
        if self.error is None:
            try:
                return int(action())
            except OSError as error:
                self.error = error
        return otherwise


def _until_done(action: Callable[[memoryview], int | None], data: Any) -> int:
    """Reads or writes all of a buffer: the system takes 2 GiB at most at once, and less where a disk fills up."""
    view, done = memoryview(data).cast("B"), 0
    while done < len(view) and (count := action(view[done:])):
        done += count
    return done


@contextlib.contextmanager
def safe_weights_writing(model: "TFPreTrainedModel") -> Iterator[None]:
    """Has a model's `save_pretrained` write `tf_model.h5` so that a failing disk is an error, and no crash.

    Models of more than the 10 GB that the library puts into one file are written as the library does.

    Raises:
        OSError: If the disk doesn't take the file; from `save_pretrained`.
    """
    import h5py
    from tf_keras.src.saving.legacy import hdf5_format

    def save_weights(path: str) -> None:
        # Without a buffer, so that nothing is left to be written where writing fails.
        with open(Path(path), "w+b", buffering=0) as raw:
            file = _DiskFile(raw)
            try:
                with h5py.File(file, "w") as group:
                    hdf5_format.save_weights_to_hdf5_group(group, model)
            finally:
                if file.error is not None:
                    raise file.error

    object.__setattr__(model, "save_weights", save_weights)
    try:
        yield
    finally:
        object.__delattr__(model, "save_weights")
