"""What holds however the code is entered: the right Keras, a quiet and quick start."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, **options
    )


@pytest.mark.parametrize("entry", ["components.train", "serving.signatures", "runners.local", "pipeline"])
def test_keras_2_is_chosen_and_tensorflow_starts_quietly(entry):
    code = (
        f"import importlib.util, {entry}; importlib.util.find_spec('tensorflow')\n"
        "import tensorflow as tf, inspect\n"
        "tf.config.list_physical_devices()\n"
        "print(tf.keras.Model.__module__.split('.')[0], len(inspect.getsource(tf)) > 0)"
    )
    done = python("-c", code, env={"PATH": "", "TF_USE_LEGACY_KERAS": "0"})
    assert done.stdout == "tf_keras True\n"
    assert done.stderr == ""


def test_what_is_no_chatter_passes_while_tensorflow_loads(tmp_path):
    package = tmp_path / "tensorflow.py"
    package.write_text("import os\nos.write(2, b'I0000 00:00:1795.2 1 port.cc:153] chatter\\na real warning\\n')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport components, tensorflow"
    assert python("-c", code).stderr == "a real warning\n"


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, pipeline\n"
        "try:\n    pipeline.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'transformers', 'datasets', 'evaluate', 'numpy', 'pandas', 'pyarrow', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr == "[]\n"
    assert "--train.learning_rate" in done.stdout
