"""Which trackers a user asks for; what they lack is refused before any work."""

import importlib.util
import netrc
import os
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import ConfigError
from runners.tracking.mlflow import MLflow
from runners.tracking.tracker import Tracker
from runners.tracking.wandb import WandB, is_offline

TRACKERS = ("mlflow", "wandb")
PROJECT = "masked-lm-pipeline"
SCHEMES = ("http://", "https://", "file:", "databricks")


def chosen_trackers(names: Sequence[str], uri: str | None = None, project: str | None = None) -> list[Tracker]:
    """The trackers with these names.

    Args:
        names: Of `TRACKERS`.
        uri: MLflow's address; None for that of the environment variable `MLFLOW_TRACKING_URI`.
        project: MLflow's experiment and the project of Weights & Biases; None for what their own environment
            variables name, or `PROJECT`.

    Raises:
        ConfigError: If a library isn't installed, an address or a key is missing, or an option has no meaning.
    """
    wanted = list(dict.fromkeys(names))
    if uri is not None and "mlflow" not in wanted:
        raise ConfigError(
            "--tracking_uri must be given together with --tracking mlflow, whose server it names",
            received=f"--tracking {' '.join(wanted)}" if wanted else "no --tracking",
            remedy="add --tracking mlflow, or leave it out",
        )
    if project is not None and not wanted:
        raise ConfigError(
            "--tracking_project must be given together with --tracking",
            received="no --tracking",
            remedy="add --tracking mlflow or --tracking wandb, or leave it out",
        )
    for name in wanted:
        _require_library(name)
    return [_mlflow(uri, project) if name == "mlflow" else _wandb(project) for name in wanted]


def _require_library(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"--tracking {name} must find the library {name}, which is an extra",
            received="an environment without it",
            remedy=f"python -m pip install -e '.[{name}]'",
        )


def _mlflow(uri: str | None, project: str | None) -> MLflow:
    address = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise ConfigError(
            "--tracking mlflow must know the server's address",
            received="neither --tracking_uri nor MLFLOW_TRACKING_URI",
            remedy="add --tracking_uri http://127.0.0.1:5000, say, where `mlflow server` runs",
        )
    if not address.startswith(SCHEMES):
        raise ConfigError(
            f"the address of an MLflow server must begin with {', '.join(SCHEMES)}",
            received=address,
            remedy="write --tracking_uri http://HOST:PORT",
        )
    return MLflow(address, project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT)


def _wandb(project: str | None) -> WandB:
    if not is_offline() and not os.environ.get("WANDB_API_KEY") and not _has_login():
        raise ConfigError(
            "--tracking wandb must have an API key, or be offline",
            received="no WANDB_API_KEY, no login in ~/.netrc and no WANDB_MODE=offline",
            remedy="run `wandb login`, or set WANDB_MODE=offline and send the run later by `wandb sync`",
        )
    return WandB(project or os.environ.get("WANDB_PROJECT") or PROJECT)


def _has_login() -> bool:
    """Whether `wandb login` has left a key."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].partition("/")[0].split(":")[0]
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
