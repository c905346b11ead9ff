"""Which Keras this program runs on, and how quietly TensorFlow starts: chosen by entry points, never on import."""

import os

from foundation import quiet_tensorflow


def choose_keras() -> None:
    """Chooses Keras 2 (tf-keras), the only Keras that transformers' TensorFlow classes accept.

    Entry points call it before anything imports TensorFlow: `pipeline.py`, `python -m serving`, and programs that use
    the steps by themselves. It sets environment variables of this process, and nothing else has an effect:

    - `TF_USE_LEGACY_KERAS`, so that `tf.keras` is tf-keras;
    - unless they are set, `TF_CPP_MIN_LOG_LEVEL` (errors that matter come as exceptions; the rest is what a machine
      without a GPU would print at every start), `TF_FORCE_GPU_ALLOW_GROWTH` (as much of a GPU's memory as is needed:
      others, the embedded server or a desktop, may want some of it) and `TOKENIZERS_PARALLELISM`.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    quiet_tensorflow.install()
