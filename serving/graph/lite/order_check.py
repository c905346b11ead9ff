"""Whether a file for TensorFlow Lite answers alike whatever it was asked before.

An interpreter lays out its memory anew where a request has another shape than the one before. XNNPACK in TensorFlow
2.21, which computes most of the graph, can then go on with what it had arranged for the former shape: the answers are
wrong, without an error, until a larger request comes. Other graphs end the process. No such model may be served.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from foundation.errors import ModelError
from serving.lite.interpreter import LiteModel

SHAPES = (
    *((1, 24), (3, 8), (2, 12), (1, 8), (4, 6), (1, 24), (2, 6), (1, 12), (3, 4), (6, 4)),
    *((1, 8), (3, 12), (1, 36), (3, 12), (2, 6), (1, 6), (8, 12)),
)
"""Of the requests: fewer rows and more, in turn, with as many tokens as before, fewer and more."""
LARGEST_DIFFERENCE = 1e-5
"""Of two scores that are the same."""
CODE = "import sys; sys.path[:] = {path!r}; from serving.graph.lite import order_check; order_check.main({arguments!r})"


def require_same_answers(path: Path, mask_token_id: int, vocabulary_size: int, longest: int) -> None:
    """Asks a file several questions in turn, and each again alone, in a process that may end by it.

    Args:
        path: The file.
        mask_token_id: The mask's id.
        vocabulary_size: All ids are below it.
        longest: The most tokens of a request.

    Raises:
        ModelError: If an answer differs, or there is none.
    """
    code = CODE.format(path=sys.path, arguments=[str(path), mask_token_id, vocabulary_size, longest])
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    if ran.returncode < 0:
        received = f"a process that ended by {signal.Signals(-ran.returncode).name} when it was asked"
    elif ran.returncode > 0:
        received = (ran.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1]
    else:
        received = json.loads(ran.stdout.splitlines()[-1])
    if received is not None:
        raise ModelError(
            "a model for TensorFlow Lite must answer alike whatever it was asked before",
            received=received,
            remedy="leave out --export.quantize: TensorFlow Lite 2.21 is wrong about this architecture",
        )


def main(arguments: list[object]) -> None:
    """Prints what differs, as JSON; null for nothing."""
    path, *numbers = arguments
    print(json.dumps(what_differs(Path(str(path)), *(int(str(number)) for number in numbers))))


def what_differs(path: Path, mask_token_id: int, vocabulary_size: int, longest: int) -> str | None:
    """What differs when a file is asked in turn and alone; None for nothing."""
    model = LiteModel(path)
    before = None
    for shape in ((rows, min(length, longest)) for rows, length in SHAPES):
        ids = np.random.default_rng(0).integers(0, vocabulary_size, shape).astype(np.int32)
        ids[:, 1] = mask_token_id
        attention_mask = np.ones_like(ids)
        attention_mask[1:, -1] = 0
        found, alone = (each.tokens(ids, attention_mask)["score"] for each in (model, LiteModel(path)))
        difference = float(np.abs(found - alone).max())
        if not difference <= LARGEST_DIFFERENCE:
            return f"scores that differ by {difference:.1g} for a request of shape {shape} after {before}"
        before = shape
    return None
