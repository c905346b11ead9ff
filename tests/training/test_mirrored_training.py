"""Two replicas that share each batch train as one device does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The histories and weights by case and replicas."""
    out = tmp_path_factory.mktemp("trained")
    script = Path(__file__).with_name("train_on_devices.py")
    done = subprocess.run([sys.executable, str(script), str(out)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return {path.stem: np.load(path) for path in out.glob("*.npz")}


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        ("clipped and averaged", {"rtol": 1e-4, "atol": 1e-5}),
        ("accumulated with a loss scale", {"rtol": 1e-2, "atol": 2e-3}),
        ("compiled and recomputed", {"rtol": 1e-4, "atol": 1e-5}),
        ("in stages", {"rtol": 1e-4, "atol": 1e-5}),
        ("packed", {"rtol": 1e-4, "atol": 1e-5}),
        ("of several lengths", {"rtol": 1e-4, "atol": 1e-5}),
        ("by Muon", {"rtol": 1e-4, "atol": 1e-5}),
        ("in bfloat16", {"rtol": 1e-2, "atol": 2e-3}),
    ],
)
def test_two_replicas_equal_one(trained, case, tolerance):
    one, two = trained[f"{case}-1"], trained[f"{case}-2"]
    assert {"loss", "val_loss", "weight 0"} < set(one.files) == set(two.files)
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], err_msg=name, **tolerance)
