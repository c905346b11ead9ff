"""Weights that PyTorch saved as a pickle, read without PyTorch and without running what a pickle could run.

Many older checkpoints have no other file than `pytorch_model.bin`. A pickle is a program that may import and call
anything; this reader lets it import the handful of names that a dictionary of tensors is made of, and stops at any
other. Both of PyTorch's formats are read: the archive that it has written since version 1.6 (a zip file with the
pickle and a file a storage), and the sequence of pickles with the storages after them from before.
"""

import collections
import dataclasses
import math
import pickle
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from foundation.errors import ModelError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
"""The types of values by PyTorch's names."""


@dataclasses.dataclass
class Storage:
    """A run of values that tensors are views of.

    Attributes:
        key: Its name in the file.
        dtype: Its values' type.
        values: What it holds, once it is read: (values,).
    """

    key: str
    dtype: np.dtype
    values: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor's values lie in a storage: at an offset, with a stride a dimension, in values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The tensor, in an array of its own, row by row.

        Raises:
            ValueError: If it reaches beyond its storage.
        """
        values = self.storage.values
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if math.prod(self.shape) == 0:
            return np.empty(self.shape, self.storage.dtype)
        if values is None or min((self.offset, *self.shape, *self.strides)) < 0 or last >= len(values):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)
        return np.array(view, order="C")


class TensorUnpickler(pickle.Unpickler):
    """Unpickles dictionaries, lists, numbers, strings and tensors, and nothing else.

    Attributes:
        storages: Those that tensors were found in, by key; not read yet.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for, if it is one of those that tensors are made of."""
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        found = ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor is made of")
        return found

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a tensor names: its type and key, and where it was and how many values it has."""
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to {pid!r}, which is no storage")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("it has views of storages")
        return self.storages.setdefault(str(key), Storage(str(key), dtype))


def rebuild_tensor(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
    """What stands for PyTorch's function of this name; whether it has a gradient makes no difference here."""
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def rebuild_parameter(tensor: Tensor, *_: Any) -> Tensor:
    """A parameter is a tensor."""
    return tensor


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
}
"""What a pickle may import, and what it gets instead."""


def read_pytorch_pickles(files: Collection[Path]) -> dict[str, np.ndarray]:
    """The tensors of one or more `.bin` files.

    Args:
        files: All shards of one checkpoint.

    Returns:
        C-contiguous arrays by PyTorch's names, in PyTorch's layout.

    Raises:
        ModelError: If a file is damaged, or holds anything but a dictionary of tensors.
    """
    arrays: dict[str, np.ndarray] = {}
    for path in files:
        try:
            content = read_archive(path) if zipfile.is_zipfile(path) else read_legacy(path)
            if not isinstance(content, dict):
                raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dictionary of tensors")
            others = [name for name, value in content.items() if not isinstance(value, Tensor)]
            if others:
                raise pickle.UnpicklingError(f"its {others[0]!r} is no tensor")
            arrays.update({str(name): tensor.array() for name, tensor in content.items()})
        # A damaged pickle may raise nearly anything.
        except Exception as error:
            raise ModelError(
                "a .bin file of weights must be complete and undamaged, and hold a dictionary of tensors alone",
                received=f"{path}: {str(error) or type(error).__name__}",
                remedy="copy or download it again (a git clone needs git-lfs), or convert it where PyTorch is "
                "installed, with AutoModelForMaskedLM.from_pretrained(SOURCE).save_pretrained(FOLDER)",
            ) from error
    return arrays


def read_archive(path: Path) -> Any:
    """What a zip file of PyTorch holds, with tensors as `Tensor`."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        [main] = [name for name in names if name.endswith("/data.pkl")]
        folder = main.removesuffix("data.pkl")
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in names else b"little"
        with archive.open(main) as file:
            unpickler = TensorUnpickler(file)
            content = unpickler.load()
        for storage in unpickler.storages.values():
            # NumPy's byte orders: < little, > big.
            dtype = storage.dtype.newbyteorder(">") if order == b"big" else storage.dtype
            storage.values = np.frombuffer(archive.read(f"{folder}data/{storage.key}"), dtype)
        return content


def read_legacy(path: Path) -> Any:
    """What PyTorch wrote before version 1.6, with tensors as `Tensor`: pickles, then the storages' values."""
    with path.open("rb") as file:
        magic, protocol = TensorUnpickler(file).load(), TensorUnpickler(file).load()
        if (magic, protocol) != (LEGACY_MAGIC, LEGACY_PROTOCOL):
            raise pickle.UnpicklingError("it is no file of PyTorch's")
        system = TensorUnpickler(file).load()
        if not system.get("little_endian", True):
            raise pickle.UnpicklingError("its numbers have their bytes the other way round")
        unpickler = TensorUnpickler(file)
        content = unpickler.load()
        for key in TensorUnpickler(file).load():
            storage = unpickler.storages[str(key)]
            count = int.from_bytes(file.read(8), "little")
            storage.values = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype, count)
        return content
