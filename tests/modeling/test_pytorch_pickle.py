"""Pickles of PyTorch are read without it, and whatever else a pickle may hold is refused, not run."""

import collections
import os
import pickle
import subprocess

import numpy as np
import pytest

from components.modeling.pytorch_pickle import read_pytorch_pickles
from foundation.errors import ModelError
from tests.modeling.pytorch_pickles import STORAGES, Stored, View, write_archive, write_legacy
from tests.own_environment import EnvironmentMissing, python_with

WRITERS = pytest.mark.parametrize("write", [write_archive, write_legacy])


@WRITERS
def test_arrays_of_every_type(write, tmp_path):
    random = np.random.default_rng(0)
    state = {dtype.name: random.integers(0, 2, (3, 4)).astype(dtype) for dtype in STORAGES}
    state |= {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 3), np.float32)}
    write(tmp_path / "weights.bin", state)
    read = read_pytorch_pickles([tmp_path / "weights.bin"])
    assert list(read) == list(state)
    for name, array in state.items():
        assert read[name].dtype == array.dtype
        assert read[name].flags.c_contiguous
        np.testing.assert_array_equal(read[name], array, strict=True)


@WRITERS
def test_views_of_one_storage(write, tmp_path):
    values = np.arange(12, dtype=np.float32)
    storage = Stored("weights", values)
    views = {"whole": View(storage, 0, (3, 4), (4, 1)), "transposed": View(storage, 0, (4, 3), (1, 4))}
    write(tmp_path / "weights.bin", views | {"part": View(storage, 5, (2, 2), (4, 1))})
    read = read_pytorch_pickles([tmp_path / "weights.bin"])
    np.testing.assert_array_equal(read["whole"], values.reshape(3, 4))
    np.testing.assert_array_equal(read["transposed"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(read["part"], [[5, 6], [9, 10]])


@WRITERS
@pytest.mark.parametrize(
    "parts", [(9, (2, 2), (2, 1)), (0, (13,), (1,)), (-1, (2,), (1,)), (4, (3,), (-2,)), (0, (2**40,), (1,))]
)
def test_a_view_beyond_its_storage(write, parts, tmp_path):
    write(tmp_path / "weights.bin", {"weight": View(Stored("weights", np.zeros(12, np.float32)), *parts)})
    with pytest.raises(ModelError, match="reaches beyond its storage"):
        read_pytorch_pickles([tmp_path / "weights.bin"])


class Harm:
    """A pickle of it makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@WRITERS
def test_what_a_pickle_would_run_is_refused(write, tmp_path):
    write(tmp_path / "weights.bin", {"weight": np.zeros(2, np.float32), "harm": Harm(tmp_path / "harm")})
    with pytest.raises(ModelError, match=r"asks for \w+\.mkdir, which no tensor is made of"):
        read_pytorch_pickles([tmp_path / "weights.bin"])
    assert not (tmp_path / "harm").exists()


def test_what_is_no_dictionary_of_tensors(tmp_path):
    path = tmp_path / "weights.bin"
    write_archive(path, {"epoch": 3})
    with pytest.raises(ModelError, match="its 'epoch' is no tensor"):
        read_pytorch_pickles([path])
    path.write_bytes(pickle.dumps(collections.OrderedDict()))
    with pytest.raises(ModelError, match=r"Received: .*weights\.bin"):
        read_pytorch_pickles([path])
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="complete and undamaged"):
            read_pytorch_pickles([path])


@WRITERS
def test_a_file_cut_short(write, tmp_path):
    path = tmp_path / "weights.bin"
    write(path, {"weight": np.arange(1000, dtype=np.float32)})
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="complete and undamaged"):
            read_pytorch_pickles([path])


SCRIPT = """
import sys, numpy, torch
torch.manual_seed(0)
weight = torch.randn(4, 6)
state = {name: torch.randint(0, 2, (3, 2)).to(getattr(torch, name)) for name in (
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")}
state |= {"transposed": weight.T, "part": weight[1:3, 2:], "parameter": torch.nn.Parameter(weight)}
state["scalar"] = weight[0, 0]
numpy.savez("expected.npz", **{name: tensor.detach().numpy() for name, tensor in state.items()})
state["bfloat16"] = torch.arange(4).to(torch.bfloat16)
torch.save(state, "archive.bin")
torch.save(state, "legacy.bin", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 2).state_dict(), "module.bin")
torch.save(torch.nn.Linear(2, 2), "whole.bin")
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_files_of_pytorch_itself(tmp_path):
    try:
        python = python_with("PyTorch, transformers 5")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    done = subprocess.run([python, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = np.load(tmp_path / "expected.npz")
    for name in ("archive.bin", "legacy.bin"):
        read = read_pytorch_pickles([tmp_path / name])
        np.testing.assert_array_equal(read.pop("bfloat16").astype(np.float32), np.arange(4))
        assert sorted(read) == sorted(expected.files)
        for key, array in read.items():
            np.testing.assert_array_equal(array, expected[key], strict=True)
    assert set(read_pytorch_pickles([tmp_path / "module.bin"])) == {"weight", "bias"}
    with pytest.raises(ModelError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_pytorch_pickles([tmp_path / "whole.bin"])
