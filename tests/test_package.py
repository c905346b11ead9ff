"""What holds however the code is entered: the right Keras, a quiet and quick start."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, **options
    )


CHOOSE = "from foundation.keras_choice import choose_keras\nchoose_keras()\n"


def test_keras_2_is_chosen_and_tensorflow_starts_quietly():
    code = CHOOSE + (
        "import importlib.util; importlib.util.find_spec('tensorflow')\n"
        "import tensorflow as tf, inspect\n"
        "tf.config.list_physical_devices()\n"
        "print(tf.keras.Model.__module__.split('.')[0], len(inspect.getsource(tf)) > 0)"
    )
    done = python("-c", code, env={"PATH": "", "TF_USE_LEGACY_KERAS": "0"})
    assert done.stdout == "tf_keras True\n"
    assert done.stderr == ""


PACKAGES = ("foundation", "components", "runners", "serving", "masked_lm_pipeline")
MODULES = ["pipeline"] + [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name not in ("child.py", "__main__.py")
]


def test_importing_has_no_effect():
    """Whatever is imported: environment variables, finders, the path and the signals' handlers stay as they were."""
    code = (
        "import os, signal, sys, warnings\n"
        "import numpy, transformers, httpx, aiohttp, grpc, datasets, tensorflow\n"
        "from tensorflow_serving.apis import prediction_log_pb2\n"
        "def state():\n"
        "    handlers = [str(signal.getsignal(number)) for number in signal.valid_signals()]\n"
        "    finders = list(map(str, [*sys.meta_path, *sys.path_hooks]))\n"
        "    return dict(os.environ), finders, handlers, sys.path[:]\n"
        "import importlib\n"
        "before = state()\n"
        f"for name in {MODULES!r}:\n"
        "    importlib.import_module(name)\n"
        "    after = state()\n"
        "    if after != before: print(name)\n"
        "    before = after"
    )
    done = python("-c", code, env={**os.environ, "TF_USE_LEGACY_KERAS": "1"})
    assert done.stdout == "", done.stderr[-2000:]
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_client_needs_no_tensorflow_over_rest():
    code = (
        "import os, sys\nbefore = dict(os.environ), list(sys.meta_path)\n"
        "from serving.client import FillMaskClient\n"
        "FillMaskClient('http://127.0.0.1:1').close()\n"
        "print(before == (dict(os.environ), list(sys.meta_path)))\n"
        "print(sorted({'tensorflow', 'transformers'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == "True\n[]\n"


def test_what_is_no_chatter_passes_while_tensorflow_loads(tmp_path):
    package = tmp_path / "tensorflow.py"
    package.write_text("import os\nos.write(2, b'I0000 00:00:1795.2 1 port.cc:153] chatter\\na real warning\\n')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + CHOOSE + "import tensorflow"
    assert python("-c", code).stderr == "a real warning\n"


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, pipeline\n"
        "pipeline.main(['--help', 'all'])\n"
        "heavy = {'tensorflow', 'transformers', 'datasets', 'evaluate', 'numpy', 'pandas', 'pyarrow', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr == "[]\n"
    assert "--train.learning_rate" in done.stdout
