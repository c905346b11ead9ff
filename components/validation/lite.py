"""Checks the model in eight-bit integers: that what is served of it is what was measured of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.validation.answer_difference import by_mask, compare
from components.validation.server_process import TENSORFLOW_SERVING, server_kind, serving
from foundation.errors import ServingError
from foundation.versions import LITE_MODEL, TOKENIZER
from serving.client.answers import Answer
from serving.client.fill_mask_client import FillMaskClient
from serving.lite.interpreter import LiteModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OWN_TOLERANCE = 1e-4
"""The largest relative difference of two scores of one interpreter."""
SERVERS_TOLERANCE = 0.05
"""The same where a server, of another build, sums in another order: a value that it rounds to the next of 256 steps
differs by up to half a percent in what follows from it."""


def validate_lite(
    directory: Path, tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], log: Path, timeout_seconds: float
) -> list[str]:
    """Asks the model for TensorFlow Lite about texts, each by itself and all together.

    Its candidates must be those that follow from the scores whose loss the export measured. Where TensorFlow Serving is
    on the PATH, its answers under `--prefer_tflite_model` must be the same.

    Args:
        directory: The exported version.
        tokenizer: The model's.
        texts: Those that the model can answer.
        log: Gets what TensorFlow Serving says.
        timeout_seconds: How long that may take to start, and then to answer a request.

    Returns:
        What was asked, in words.

    Raises:
        ServingError: If the file can't be loaded, or an answer differs.
    """
    asked = [f"{len(texts)} texts one at a time, and all in one request, of {LITE_MODEL} by TensorFlow Lite"]
    try:
        model = LiteModel(directory / LITE_MODEL)
        for some in [*([text] for text in texts), list(texts)]:
            require_measured(model, tokenizer, some)
    except (RuntimeError, ValueError) as error:  # what the interpreter raises
        raise differs(f"{type(error).__name__}: {error}") from error
    if server_kind() == TENSORFLOW_SERVING:
        require_served(directory, model, tokenizer, texts, log, timeout_seconds)
        asked.append(f"the same of {TENSORFLOW_SERVING} --prefer_tflite_model")
    return asked


def encoded(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and attention mask, (texts, longest) int32."""
    found = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, found))
    padding = tokenizer.pad_token_id or 0
    ids = np.array([row + [padding] * (longest - len(row)) for row in found], np.int32)
    return ids, np.array([[1] * len(row) + [0] * (longest - len(row)) for row in found], np.int32)


def require_measured(model: LiteModel, tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> None:
    """Compares the candidates of a request with those that follow from the scores at the same positions.

    Raises:
        ServingError: Naming the first difference.
    """
    ids, attention_mask = encoded(tokenizer, texts)
    answer = model.tokens(ids, attention_mask)
    is_mask = (ids == tokenizer.mask_token_id) & (attention_mask == 1)
    expected = np.full_like(answer["position"], -1)
    for row in range(len(ids)):
        places = np.flatnonzero(is_mask[row])
        expected[row, : len(places)] = places[: expected.shape[-1]]
    if not np.array_equal(answer["position"], expected):
        raise differs(f"masks at {answer['position'].tolist()} instead of {expected.tolist()} in {list(texts)}")
    logits = model.logits_at(ids, attention_mask, np.maximum(expected, 0)).astype(np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    scores = shifted / shifted.sum(-1, keepdims=True)  # (texts, masks, vocabulary)
    is_real = expected >= 0
    own = np.take_along_axis(scores, np.maximum(answer["token"], 0), axis=-1)[is_real]
    best = -np.sort(-scores, axis=-1)[..., : own.shape[-1]][is_real]
    served = answer["score"][is_real]
    for compared in (own, best):
        distance = np.abs(served - compared) / np.maximum(compared, 1e-9)
        if not (distance <= OWN_TOLERANCE).all():
            raise differs(
                f"scores that differ by {np.max(distance):.1e} from those that were measured, of {list(texts)}"
            )


def require_served(
    directory: Path,
    model: LiteModel,
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str],
    log: Path,
    timeout_seconds: float,
) -> None:
    """Compares TensorFlow Serving's answers, by REST, with those of the interpreter here.

    Raises:
        ServingError: If it doesn't serve the file, or an answer differs.
    """
    with serving(directory, log, timeout_seconds, ("--prefer_tflite_model=true",)) as server:
        options: dict[str, Any] = {"tokenizer": directory / TOKENIZER, "timeout_seconds": timeout_seconds, "retries": 0}
        with FillMaskClient(server.url, server.model, **options) as client:
            for some in [*([text] for text in texts), list(texts)]:
                received: Any = client.fill_mask(some)
                for text, answer in zip(some, [received] if len(some) == 1 else received, strict=True):
                    expected = answer_of(model, tokenizer, text, answer)
                    difference = compare(expected, answer, SERVERS_TOLERANCE).difference
                    if difference is not None:
                        raise differs(f"{difference} from {server.kind}, for {text!r}")


def answer_of(model: LiteModel, tokenizer: "PreTrainedTokenizerFast", text: str, like: Answer) -> Answer:
    """The interpreter's answer to a text, in the form of a server's, whose texts are taken over."""
    ids, attention_mask = encoded(tokenizer, [text])
    found = model.tokens(ids, attention_mask)
    values = zip(by_mask(like), found["score"][0], found["token"][0], strict=True)
    return [
        [
            {**candidate, "score": float(score), "token": int(token)}
            for candidate, score, token in zip(one, scores, tokens, strict=True)
        ]
        for one, scores, tokens in values
    ]


def differs(received: str) -> ServingError:
    """The error of a file that answers otherwise than it was measured."""
    return ServingError(
        f"{LITE_MODEL} must answer as it was measured",
        received=received,
        remedy="run again with --force export, or leave out --export.quantize",
    )
