"""Who shares the work of the steps, by the name of the runner."""

import contextlib
from collections.abc import Iterator

from components.config.pipeline_config import Config
from components.contract.workers import THIS_PROCESS, Workers
from foundation.errors import ConfigError

EXTRAS = {"ray": "ray"}
"""The package that a runner needs, which is the name of the extra that installs it."""


@contextlib.contextmanager
def chosen_workers(runner: str, config: Config) -> Iterator[Workers]:
    """The workers of a runner, which end with the context. They begin when a step first needs them.

    Args:
        runner: What `--runner` says.
        config: Has the runner's settings.

    Raises:
        ConfigError: If the package isn't installed that the runner needs.
    """
    if runner != "ray":
        yield THIS_PROCESS
        return
    require_installed(runner)
    from runners.ray.workers import RayWorkers

    with RayWorkers(config.ray) as workers:
        yield workers


def require_installed(runner: str) -> None:
    """Refuses a runner whose package is missing.

    Raises:
        ConfigError: If it is. The message names the extra.
    """
    import importlib.util

    package = EXTRAS[runner]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"--runner {runner} must have the package {package} installed",
            received="none in this environment",
            remedy=f"pip install 'masked-lm-pipeline[{package}]', or in a checkout pip install -e '.[{package}]'",
        )
