"""Whether Ray is installed with all of its parts that are needed here, and can be imported."""

import importlib

from foundation.errors import ConfigError

PARTS = ("ray", "ray.data", "ray.train")


def require_usable() -> None:
    """Imports Ray, which the steps are about to do in any case.

    Raises:
        ConfigError: If it can't be imported, such as where `pip install ray` brought it without Data and Train.
    """
    for part in PARTS:
        try:
            importlib.import_module(part)
        except ImportError as error:
            raise ConfigError(
                f"--runner ray must be able to import {part}",
                received=" ".join(str(error).split())[:300] or type(error).__name__,
                remedy="install it anew, with Data and Train: pip install 'masked-lm-pipeline[ray]', or in a checkout "
                "pip install -e '.[ray]' -c constraints.txt",
            ) from error
