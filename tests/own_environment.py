"""Environments of their own, for libraries that the project doesn't install beside itself.

They are made on the first use and kept in the environment that runs the tests, by one test process while the others
that need the same one wait.

pip decides where PyTorch comes from. Its Linux build on PyPI brings gigabytes of CUDA along; a machine that
has pip's settings point to a CPU build (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL) gets that.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

REQUIREMENTS = {
    "PyTorch, transformers 4": ["torch==2.13.0", "numpy==2.4.6", "transformers==4.57.6"],
    "PyTorch, transformers 5": ["torch==2.13.0", "numpy==2.4.6", "transformers==5.24.0"],
    "MLflow server": ["mlflow==3.17.2"],
    # Wants other versions of botocore than the client, s3fs, which the project's environment has.
    "S3 server": ["moto[server]==5.2.5"],
    "build": ["build==1.6.1", "setuptools==84.2.1"],
    # Reads and runs what --runner kubeflow writes. It wants protobuf below 7.
    "kfp": ["kfp==2.17.3", "kfp-kubernetes==2.17.3"],
    # What the binary of TensorFlow Serving 2.20 is built from.
    "TensorFlow Serving": ["tensorflow==2.20.0", "tensorflow-text==2.20.1"],
}
"""What is installed, by an environment's name."""
INSTALL_SECONDS = 900


class EnvironmentMissing(Exception):
    """An environment can't be made here; the message says why."""


def python_with(name: str) -> Path:
    """The interpreter of an environment with one of the `REQUIREMENTS`.

    Raises:
        EnvironmentMissing: If pip can't install them.
    """
    requirements = REQUIREMENTS[name]
    digest = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:12]
    directory = Path(sys.prefix) / f"own-{digest}"
    with FileLock(f"{directory}.lock"):
        if not (directory / "installed").is_file():
            _install(requirements, directory)
    return directory / "bin/python"


def _install(requirements: list[str], directory: Path) -> None:
    """Makes the environment anew; the mark `installed` goes last."""
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, capture_output=True)
    python = directory / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    try:
        installed = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissing(f"pip took over {INSTALL_SECONDS} seconds to install {requirements}") from error
    if installed.returncode:
        raise EnvironmentMissing(f"pip can't install {requirements}: {installed.stderr[-500:]}")
    (directory / "installed").touch()
