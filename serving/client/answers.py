"""The answers of a served model, and what the two protocols and the two ways of tokenizing have in common."""

import struct
from typing import Any, Protocol

from foundation.errors import ServingError

Candidate = dict[str, Any]
"""One way to fill a mask: `score` (float), `token` (int), `token_str` and `sequence`."""
Answer = list[Candidate] | list[list[Candidate]]
"""A text's candidates, best first; where the text has several masks, a list of candidates for each."""


class Transport(Protocol):
    """Carries calls of a model's signatures to the server, over REST or gRPC."""

    async def predict(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Calls a signature."""

    async def signature_names(self) -> set[str]:
        """The names of the model's signatures."""

    async def close(self) -> None:
        """Closes the connections."""


def read_answer(outputs: dict[str, Any], row: int) -> Answer:
    """One text's candidates out of a batch's outputs, without the padding."""
    masks = []
    for mask in range(outputs["num_masks"][row]):
        columns = (outputs[name][row][mask] for name in ("score", "token", "token_str", "sequence"))
        masks.append([candidate(*values) for values in zip(*columns, strict=True) if values[1] >= 0])
    return masks[0] if len(masks) == 1 else masks


def candidate(score: float, token: int, token_str: str, sequence: str) -> Candidate:
    """A candidate as the pipeline writes it.

    A score is a float32 and came as a decimal: rounded to float32 it equals the pipeline's to the last bit.
    """
    [single] = struct.unpack("f", struct.pack("f", score))
    return {"score": single, "token": token, "token_str": token_str, "sequence": sequence}


def no_mask(shown: str, mask_token: str | None) -> ServingError:
    """The error of a text without a mask."""
    name = "the tokenizer's mask token" if mask_token is None else mask_token
    return ServingError(
        f"a text must have the model's mask token ({name}) where a word is to be filled in",
        received=shown,
        remedy=f"put {name} into it",
    )


def shorten(text: str) -> str:
    """A text as an error shows it."""
    return text if len(text) <= 80 else f"{text[:77]}…"
