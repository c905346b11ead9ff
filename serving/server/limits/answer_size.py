"""Estimates from a request's shapes how large its answer will be, before the graph runs, and checks it afterwards.

Every number counts as its longest form, so no body or message is larger than the estimate, except where JSON writes
characters of strings as escapes.
"""

import math
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from foundation.text_answers import MASK_TOKENS
from serving.server.signature import Signature, TensorSpec
from serving.server.status import StatusError, invalid

TEXT_OUTPUTS = {"score", "token", "token_str", "sequence", "status", "num_masks"}
USUAL_TOP_K = 5
# A sequence has the candidate in the mask's place, and special tokens at its ends.
ADDED_BYTES = 32
TOKEN_BYTES = 16
NOTE_BYTES = 80
STRING_BYTES = 24
"""A string's own memory, without its characters."""

NUMPY_TYPES = {"float": "float32", "double": "float64", "half": "float16", "string": "object", "bfloat16": "float16"}
OBJECT = np.dtype(object)
JSON_BYTES = {
    np.dtype(name): size
    for name, size in [
        ("float32", 15),
        ("float64", 24),
        ("bool", 5),
        *((f"int{bits}", len(str(-(2 ** (bits - 1))))) for bits in (8, 16, 32, 64)),
        *((f"uint{bits}", len(str(2**bits))) for bits in (8, 16, 32, 64)),
    ]
}
# A negative whole number takes 10 bytes in a message, whatever its type.
MESSAGE_BYTES = {
    **{np.dtype(name): size for name, size in [("float32", 4), ("float64", 8), ("float16", 2), ("bool", 1)]},
    **{np.dtype(f"uint{bits}"): bits // 7 + 1 for bits in (8, 16, 32, 64)},
    OBJECT: 6,
}
WIDEST_JSON, WIDEST_MESSAGE = 20, 10
INDENT = 4


class Part(NamedTuple):
    """One tensor of an answer.

    Attributes:
        name: The output's name.
        dtype: Its NumPy type; `object` for strings.
        shape: Its sizes.
        text_bytes: The bytes of all its strings together.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    text_bytes: int = 0

    @property
    def memory_bytes(self) -> int:
        """The memory of the tensor."""
        return math.prod(self.shape) * (STRING_BYTES if self.dtype == OBJECT else self.dtype.itemsize) + self.text_bytes


Measure = Callable[[Collection[Part]], int]
"""The bytes of an answer in one protocol."""


class AnswerSizes:
    """Estimates the shapes of a version's answers from its signatures and a request.

    This project's signatures are recognized by their inputs and outputs. For others the declared shapes are taken: a
    free first dimension is the rows of the request, another free one is that of the inputs where they have it, and
    what stays unknown counts as 1.

    Args:
        signatures: The version's, by name.
        mask_token: That of its tokenizer; without it the usual ones are counted.
        longest: The most tokens of a text; None where that isn't known.
        truncation: Whether a longer one is cut to them. Otherwise it gets no candidates.
    """

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        mask_token: str | None = None,
        longest: int | None = None,
        truncation: bool = False,
    ) -> None:
        self._signatures = signatures
        self._types = {
            name: {key: numpy_type(spec.dtype) for key, spec in one.outputs.items()} for name, one in signatures.items()
        }
        self._ranks = {name: rank for name, one in signatures.items() if (rank := rank_of_inputs(one)) is not None}
        self._mask_tokens = {folded(token) for token in (MASK_TOKENS if mask_token is None else [mask_token])}
        self._longest = longest
        self._truncation = truncation
        self._most_candidates: dict[str, int] = {}
        # No text has more candidates than the vocabulary has tokens, and this signature's output shows how many.
        scores = signatures["logits"].outputs.get("logits") if "logits" in signatures else None
        self._vocabulary_size = scores.shape[-1] if scores is not None and scores.shape else -1

    def is_text(self, name: str) -> bool:
        """Whether a signature takes texts with masks."""
        return self._ranks.get(name) == 1

    def rank(self, name: str) -> int | None:
        """How many dimensions every input of a language model's signature has; None for other signatures."""
        return self._ranks.get(name)

    def expected(
        self, name: str, tensors: Mapping[str, np.ndarray], wanted: Collection[str] | None = None
    ) -> list[Part]:
        """The estimated tensors of an answer that is yet to be computed.

        Args:
            name: The signature's.
            tensors: The request's, by input.
            wanted: The outputs that it asks for; all if None.
        """
        signature = self._signatures[name]
        shapes: dict[str, tuple[tuple[int, ...], int]] = {}
        if self.is_text(name):
            shapes = self._text_shapes(name, tensors)
        elif "input_ids" in tensors and signature.outputs.keys() >= {"position", "token"}:
            # Any token may be a mask.
            rows, length = (*tensors["input_ids"].shape, 1, 1)[:2]
            shapes = dict.fromkeys(("score", "token"), ((rows, max(length, 1), self._candidates(name)), 0))
        return [
            Part(key, dtype, *(shapes.get(key) or (declared(signature.outputs[key], signature, tensors), 0)))
            for key, dtype in self._types[name].items()
            if wanted is None or key in wanted
        ]

    def note(self, name: str, outputs: Mapping[str, np.ndarray]) -> None:
        """Remembers from an answer how many candidates a signature gives where the request doesn't say."""
        score = outputs.get("score")
        if score is not None and score.ndim == 3:
            self._most_candidates[name] = max(self._candidates(name), score.shape[2])

    def _candidates(self, name: str) -> int:
        return self._most_candidates.get(name, USUAL_TOP_K)

    def _text_shapes(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], int]]:
        """Shapes and string bytes of the outputs that have a place for each mask and candidate."""
        texts = tensors["text"].ravel().tolist()
        top_k = tensors["top_k"].ravel().tolist() if "top_k" in tensors else [self._candidates(name)]
        if len(top_k) != len(texts):  # one is every text's, and other numbers are refused by the graph
            top_k = top_k[:1] * len(texts)
        most_masks = most_candidates = 1
        tokens = sequences = 0
        for text, candidates in zip(texts, top_k, strict=False):
            masks = self.count_masks(text)
            if self._truncation and self._longest is not None:
                masks = min(masks, self._longest)
            if not self._has_answer(masks, candidates):
                continue
            most_masks, most_candidates = max(most_masks, masks), max(most_candidates, candidates)
            tokens += masks * candidates * TOKEN_BYTES
            sequences += masks * candidates * (len(text) + ADDED_BYTES)
        shape = (len(texts), most_masks, most_candidates)
        places, row = (shape, 0), ((len(texts),), 0)
        return {
            "score": places,
            "token": places,
            "token_str": (shape, tokens),
            "sequence": (shape, sequences),
            "status": row,
            "num_masks": row,
            "num_tokens": row,
            "target_notes": ((len(texts),), self._notes_bytes(tensors, len(texts))),
        }

    @staticmethod
    def _notes_bytes(tensors: Mapping[str, np.ndarray], rows: int) -> int:
        """The bytes of the notes on words to choose from, if each of them needs one."""
        targets = tensors["targets"].ravel().tolist() if "targets" in tensors else []
        total = sum(NOTE_BYTES * (1 + text.count(b"\n")) + 3 * len(text) for text in targets if text)
        return total * rows if len(targets) == 1 else total

    def _has_answer(self, masks: int, candidates: int) -> bool:
        """Whether a text gets candidates, and not only a status such as `no_mask`."""
        is_too_long = self._longest is not None and masks > self._longest
        return masks > 0 and not is_too_long and candidates >= 1 and not 0 <= self._vocabulary_size < candidates

    def count_masks(self, text: bytes) -> int:
        """At least as many masks as a text has, in whatever spelling its tokenizer takes one."""
        seen = text.decode().lower() if text.isascii() else folded(text.decode("utf-8", "replace"))
        return sum(map(seen.count, self._mask_tokens))


def rank_of_inputs(signature: Signature) -> int | None:
    """The rank of the inputs of the project's signatures: texts, or rows of token ids; None for others."""
    outputs = signature.outputs.keys()
    if "text" in signature.inputs and outputs >= TEXT_OUTPUTS:
        return 1
    takes_ids = signature.inputs.keys() == {"input_ids", "attention_mask"}
    return 2 if takes_ids and (outputs == {"logits"} or outputs == {"position", "score", "token"}) else None


def folded(text: str) -> str:
    """A text without the differences that a normalizer may remove: case and compatibility forms."""
    return unicodedata.normalize("NFKC", text).casefold()


def numpy_type(name: str) -> np.dtype[Any]:
    """The NumPy type of TensorFlow Serving's; 8 bytes for one that NumPy lacks."""
    try:
        return np.dtype(NUMPY_TYPES.get(name, name))
    except TypeError:
        return np.dtype(np.uint64)


def declared(spec: TensorSpec, signature: Signature, tensors: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """An output's declared shape with the request's sizes in it."""
    sizes = []
    for axis, size in enumerate(spec.shape or ()):
        if size < 0:
            same = {
                tensor.shape[axis]
                for key, tensor in tensors.items()
                if tensor.ndim > axis and ((signature.inputs[key].shape or ())[axis : axis + 1] in ((-1,), ()))
            }
            # From inputs of different sizes the output's size can't be known.
            size = same.pop() if len(same) == 1 else 1
            # Rows of nothing take time all the same.
            size = max(size, 1) if axis else size
        sizes.append(size)
    return tuple(sizes)


def actual(outputs: Mapping[str, np.ndarray]) -> list[Part]:
    """The tensors of an answer that was computed."""
    return [
        Part(name, tensor.dtype, tensor.shape, sum(map(len, tensor.ravel().tolist())) if tensor.dtype == OBJECT else 0)
        for name, tensor in outputs.items()
    ]


def memory_bytes(parts: Collection[Part]) -> int:
    """The memory of all tensors."""
    return sum(part.memory_bytes for part in parts)


def message_bytes(parts: Collection[Part]) -> int:
    """The largest gRPC message with the tensors."""
    total = 64
    for part in parts:
        cells = math.prod(part.shape) * MESSAGE_BYTES.get(part.dtype, WIDEST_MESSAGE)
        total += cells + part.text_bytes + 12 * len(part.shape) + len(part.name) + 64
    return total


def row_bytes(parts: Collection[Part]) -> int:
    """The largest REST body in rows: each is a value if there is one output, else an object with all names."""
    total = 64 + sum(cells_bytes(part, between=2, around=4) for part in parts)
    if len(parts) > 1:
        total += sum((part.shape or (1,))[0] * (len(part.name) + 32) for part in parts)
    return total


def column_bytes(parts: Collection[Part]) -> int:
    """The largest REST body in columns, where each value has a line of its own."""
    total = 64
    for part in parts:
        line = 2 + INDENT * (len(part.shape) + 2)
        total += cells_bytes(part, between=line, around=4 + 2 * line) + len(part.name) + 32
    return total


def cells_bytes(part: Part, between: int, around: int) -> int:
    """The largest text of a tensor's values and brackets in JSON."""
    cells, lists = 1, 0
    for size in part.shape:
        cells, lists = cells * size, lists + cells
    each, text_bytes = JSON_BYTES.get(part.dtype, WIDEST_JSON), part.text_bytes
    if part.dtype == OBJECT:
        each = 2
        if part.name.endswith("_bytes"):  # base64, in an object of its own
            each, text_bytes = 36 + 3 * between, text_bytes * 4 // 3
    return cells * (each + between) + text_bytes + lists * around


def refuse_over(limit: int, measure: Measure, parts: Collection[Part]) -> int:
    """Refuses an answer that is, or would be, too large.

    Returns:
        How large it is.

    Raises:
        StatusError: INVALID_ARGUMENT, since the same request never gets another answer.
    """
    size = measure(parts)
    if size <= limit:
        return size
    largest = max(parts, key=lambda part: part.memory_bytes, default=None)
    raise too_large(limit, size, largest, is_smaller_over_grpc=message_bytes(parts) <= limit)


def too_large(limit: int, size: int, largest: Part | None = None, *, is_smaller_over_grpc: bool = False) -> StatusError:
    """The error of an answer over the limit."""
    shown = "" if largest is None else f", {largest.name} being of the shape {list(largest.shape)}"
    return invalid(
        f"An answer must have at most {limit} bytes, and this one would have up to {size}{shown}: "
        f"{'ask over gRPC, where it is small enough, ' if is_smaller_over_grpc else ''}send fewer rows in a request, "
        "shorter ones or with fewer masks, ask for fewer candidates or outputs, or start the server with a larger "
        "--max-response-bytes"
    )
