"""Runs a TensorFlow Lite file as TensorFlow Serving does, for those who measure or check it."""

import functools
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.quiet_tensorflow import filtered_stderr

CHATTER = re.compile(rb"INFO: ")
"""What an interpreter prints to the process' standard error when it is loaded."""


class LiteModel:
    """A model for TensorFlow Lite that is loaded. Threads may share it, and take turns.

    Args:
        path: The file.
        num_threads: How many threads an answer may take; TensorFlow Serving takes one.

    Raises:
        ValueError: If the file can't be loaded.

    Example:
        model = LiteModel(directory / "model.tflite")
        answer = model.tokens(input_ids, attention_mask)
    """

    def __init__(self, path: Path, num_threads: int = 1) -> None:
        self._path, self._num_threads = path, num_threads
        self._interpreter = self._load()
        self._inputs = {name_of(one): one["index"] for one in self._interpreter.get_input_details()}
        # A runner in use keeps the interpreter from being asked in any other way.
        signature = self._interpreter.get_signature_runner("tokens")
        self._outputs = {name: one["index"] for name, one in signature.get_output_details().items()}
        del signature
        self._lock = threading.Lock()

    def _load(self) -> Any:
        with warnings.catch_warnings(), filtered_stderr(CHATTER):
            # TensorFlow 2.21 still has it, and what is named in its place can't stand beside it here.
            warnings.filterwarnings("ignore", category=UserWarning, module="tensorflow.lite")
            interpreter = tf.lite.Interpreter(str(self._path), num_threads=self._num_threads)
            interpreter.allocate_tensors()
            return interpreter

    @functools.cached_property
    def _scores(self) -> Any:
        return self._load().get_signature_runner("vocabulary_scores")

    def tokens(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> dict[str, np.ndarray]:
        """The best candidates at every mask: see `LiteFunctions.tokens`.

        As TensorFlow Serving does, it sets one input after the other, and lays out the graph after each.

        Raises:
            RuntimeError: If the model can't take the ids, such as more of them than it has positions.
        """
        with self._lock:
            try:
                for name, value in sorted({"input_ids": input_ids, "attention_mask": attention_mask}.items()):
                    index = self._inputs[name]
                    if self._interpreter.get_tensor(index).shape != value.shape:
                        self._interpreter.resize_tensor_input(index, value.shape)
                        self._interpreter.allocate_tensors()
                    self._interpreter.set_tensor(index, np.asarray(value, np.int32))
                self._interpreter.invoke()
            except (RuntimeError, ValueError):
                # An interpreter that failed while it was laid out may never answer again.
                self._interpreter = self._load()
                raise
            return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def logits_at(self, input_ids: np.ndarray, attention_mask: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The scores at given positions (batch, predictions): (batch, predictions, vocabulary) float32."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "positions": positions}
        with self._lock:
            logits = self._scores(**{name: np.asarray(value, np.int32) for name, value in inputs.items()})["logits"]
        return np.reshape(logits, (*positions.shape, -1))


def name_of(details: dict[str, Any]) -> str:
    """Which of the model's inputs it is: the file calls it `tokens_input_ids:0`."""
    return next(name for name in ("input_ids", "attention_mask") if name in details["name"])
