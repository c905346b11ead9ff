"""A version whose model for TensorFlow Lite is served, as TensorFlow Serving does with `--prefer_tflite_model`."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foundation.versions import LITE_MODEL
from serving.lite.interpreter import LiteModel
from serving.lite.serving_metadata import serving_signatures
from serving.server.limits.answer_size import AnswerSizes
from serving.server.models.model_directory import read_longest, read_mask_token, read_truncation
from serving.server.models.saved_model import SavedModel, to_specs
from serving.server.signature import Signature, TensorSpec
from serving.server.status import Code, StatusError

RANKS = {"token": 3, "score": 3}
"""How many dimensions a tensor has, if not two: the file doesn't say."""


class LiteVersion(SavedModel):
    """Answers as a `SavedModel` does, with the interpreters of a pool.

    Args:
        directory: Holds `model.tflite`.

    Raises:
        StatusError: If it doesn't load.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / LITE_MODEL
        try:
            self._definitions = serving_signatures(path.read_bytes())
            threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            self._pool = [LiteModel(path) for _ in range(threads)]
        except Exception as error:  # a damaged file fails in many ways, all of them the model's fault
            raise StatusError(Code.INVALID_ARGUMENT, f"Could not load {path}: {error}") from error
        self._turn = 0
        self.signatures = {
            name: Signature(with_rank(to_specs(one.inputs)), with_rank(to_specs(one.outputs)), one.method_name)
            for name, one in self._definitions.items()
        }
        self._longest = read_longest(directory)
        self.sizes = AnswerSizes(self.signatures, read_mask_token(directory), self._longest, read_truncation(directory))

    def _run(
        self, signature_name: str, tensors: Mapping[str, np.ndarray], output_names: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Calls a signature with all rows."""
        # An interpreter checks no shapes: it would end the process, or answer no request any more.
        ids, attention_mask = tensors["input_ids"], tensors["attention_mask"]
        if ids.ndim != 2 or ids.shape != attention_mask.shape or not ids.size:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "input_ids and attention_mask must have one shape, (rows, tokens) with at least one of each; received "
                f"{ids.shape} and {attention_mask.shape}",
            )
        if self._longest is not None and ids.shape[1] > self._longest:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"input_ids must have at most {self._longest:,} tokens a row, received {ids.shape[1]:,}",
            )
        wanted = tuple(self.signatures[signature_name].outputs) if output_names is None else output_names
        self._turn += 1  # threads that meet here share an interpreter, which then takes them in turn
        try:
            found = self._pool[self._turn % len(self._pool)].tokens(ids, attention_mask)
        except (RuntimeError, ValueError) as error:
            raise StatusError(Code.INTERNAL, f"Failed to invoke TfLite interpreter: {error}") from None
        outputs = {name: found[name] for name in wanted}
        self.sizes.note(signature_name, outputs)
        return outputs

    def close(self) -> None:
        """Frees the interpreters. Nothing may run any more."""
        self._pool.clear()


def with_rank(specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Tensors with their shapes, of which the number of dimensions is known."""
    return {name: dataclasses.replace(spec, shape=(-1,) * RANKS.get(name, 2)) for name, spec in specs.items()}
