"""What a program's call does first: it chooses Keras, and keeps a remark about notebooks' widgets off the page."""

import importlib
import sys
import warnings

from foundation.keras_choice import choose_keras

PROGRESS_BARS = "tqdm.auto"


def enter() -> None:
    """Prepares this process for TensorFlow, as the command line does.

    Raises:
        ConfigError: If it uses Keras 3.
    """
    choose_keras()
    if "ipykernel" in sys.modules and PROGRESS_BARS not in sys.modules:
        # The libraries import it, and in a notebook without ipywidgets it warns of what nothing here needs.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")
            importlib.import_module(PROGRESS_BARS)
