"""Metric modules as a stranger uses them: from elsewhere, in a process of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

METRICS = Path(__file__).resolve().parents[2] / "components" / "metrics"


def run_outside(code: str, directory: Path) -> str:
    """What some code prints, run in a directory, without this project on its path.

    The library's cache of scripts is somewhere temporary: its place is read when the library is imported. USE_TF=0
    spares it the import of TensorFlow, which no metric module needs.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HF_HOME": home, "USE_TF": "0", "PYTHONPATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_examples(name: str) -> None:
    """Runs a metric's documented examples, and fails where their output differs."""
    code = (
        "import doctest, evaluate; "
        f"text = evaluate.load({name!r}).inputs_description; "
        f"test = doctest.DocTestParser().get_doctest(text, {{}}, {name!r}, None, 0); "
        "print(doctest.DocTestRunner().run(test))"
    )
    printed = run_outside(code, METRICS)
    assert "failed=0" in printed, printed
    assert "attempted=0" not in printed, printed
