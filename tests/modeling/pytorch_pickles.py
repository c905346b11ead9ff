"""Writes a dictionary of arrays as PyTorch saves one, in both of its formats, without PyTorch."""

import collections
import contextlib
import pickle
import sys
import types
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}


class View:
    """A tensor that is a view of a storage."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.parts = storage, (offset, shape, strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, *self.parts, False, collections.OrderedDict())


class Stored:
    """A storage: pickled by reference."""

    def __init__(self, key, values):
        self.key, self.values = key, values


class Pickler(pickle.Pickler):
    """Pickles storages by reference."""

    def persistent_id(self, value):
        if not isinstance(value, Stored):
            return None
        kind = getattr(sys.modules["torch"], STORAGES[value.values.dtype])
        return ("storage", kind, value.key, "cpu", len(value.values))


@contextlib.contextmanager
def torch_names():
    """Modules with the names that a pickle of PyTorch's imports."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_):
        """Never called here."""

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    hidden = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def stored(state):
    """A state with its arrays as views, and their storages."""
    storages, views = [], collections.OrderedDict()
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            value = np.asarray(value, order="C")
            storage = Stored(str(len(storages)), value.ravel())
            value = View(storage, 0, value.shape, tuple(stride // value.itemsize for stride in value.strides))
        if isinstance(value, View) and value.storage not in storages:
            storages.append(value.storage)
        views[name] = value
    return views, storages


def write_archive(path: Path, state: dict) -> None:
    """As PyTorch writes since 1.6."""
    views, storages = stored(state)
    with zipfile.ZipFile(path, "w") as archive, torch_names():
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, 2).dump(views)
        archive.writestr("archive/byteorder", "little")
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.values.tobytes())


def write_legacy(path: Path, state: dict) -> None:
    """As PyTorch wrote before."""
    views, storages = stored(state)
    with path.open("wb") as file, torch_names():
        pickle.dump(0x1950A86A20F9469CFC6C, file, 2)
        pickle.dump(1001, file, 2)
        pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 4}}, file, 2)
        Pickler(file, 2).dump(views)
        pickle.dump([storage.key for storage in storages], file, 2)
        for storage in storages:
            file.write(len(storage.values).to_bytes(8, "little") + storage.values.tobytes())
