"""Asks a model that takes only token ids: transformers' tokenizer runs at the client."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError, ServingError
from foundation.tokenizer_length import stated_length
from foundation.versions import TOKENIZER
from serving.client.answers import Answer, Transport, candidate, no_mask, shorten


class ClientTokenizer:
    """Tokenizes texts, asks the signature `tokens`, and writes its answers as text.

    Args:
        directory: Where `save_pretrained` wrote the tokenizer.

    Raises:
        ConfigError: If the directory holds no tokenizer with a mask token.
    """

    def __init__(self, directory: str | Path) -> None:
        from transformers import AutoTokenizer

        try:
            if not Path(directory).is_dir():
                raise OSError("not a directory")
            self._tokenizer = AutoTokenizer.from_pretrained(directory, use_fast=True, local_files_only=True)
            if self._tokenizer.mask_token_id is None:
                raise ValueError("a tokenizer without a mask token")
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                "--tokenizer must be a directory with a tokenizer that has a mask token",
                received=f"{directory}: {str(error).splitlines()[0][:200]}",
                remedy=f"give {TOKENIZER} of the exported model",
            ) from error

    async def ask(
        self,
        transport: Transport,
        texts: list[str],
        first: int,
        top_k: int | None,
        targets: Sequence[str] | None,
    ) -> list[Answer]:
        """Asks the `tokens` signature for a batch.

        Args:
            transport: Carries the calls to the server.
            texts: One or more.
            first: The number of the first one, for errors.
            top_k: Candidates a mask, at most what the model was exported with; None for that many.
            targets: Must be None: the signature answers from the whole vocabulary.

        Raises:
            ConfigError: If there are targets.
            ServingError: If the server refuses, or a text has no mask or is too long, or top_k is too large.
        """
        if targets is not None:
            raise ConfigError(
                "targets must be left out where a tokenizer runs at the client: they need one in the model's graph",
                received="targets together with a tokenizer at the client",
                remedy="leave out the targets or the tokenizer",
            )
        encoded = self._tokenizer(texts)["input_ids"]
        self._check(texts, encoded, first)
        longest = max(map(len, encoded))
        padding = self._tokenizer.pad_token_id or 0
        inputs = {
            "input_ids": [ids + [padding] * (longest - len(ids)) for ids in encoded],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids in encoded],
        }
        outputs = await transport.predict("tokens", inputs)
        return [self._read(outputs, row, ids, top_k) for row, ids in enumerate(encoded)]

    def _check(self, texts: list[str], encoded: list[list[int]], first: int) -> None:
        """Refuses texts without a mask, and those longer than the model takes."""
        limit = stated_length(self._tokenizer.model_max_length)
        for index, (text, ids) in enumerate(zip(texts, encoded, strict=True)):
            shown = f"text {first + index + 1}: {shorten(text)}"
            if self._tokenizer.mask_token_id not in ids:
                raise no_mask(shown, self._tokenizer.mask_token)
            if limit is not None and len(ids) > limit:
                raise ServingError(
                    f"a text must have at most {limit} tokens",
                    received=f"{len(ids)} tokens in {shown}",
                    remedy="shorten it, keeping what stands around the mask",
                )

    def _read(self, outputs: dict[str, Any], row: int, ids: list[int], top_k: int | None) -> Answer:
        """One text's candidates."""
        positions = [position for position in outputs["position"][row] if position >= 0]
        offered = len(outputs["token"][row][0])
        if top_k is not None and top_k > offered:
            raise ServingError(
                f"top_k must be at most {offered}, which the model was exported with",
                received=str(top_k),
                remedy="ask for fewer candidates, or export with a larger --export.top_k",
            )
        masks = []
        for mask, position in enumerate(positions):
            scores, tokens = outputs["score"][row][mask][:top_k], outputs["token"][row][mask][:top_k]
            filled = ([*ids[:position], token, *ids[position + 1 :]] for token in tokens)
            # The pipeline leaves padding out of the sequence, a candidate that is padding too.
            kept = ([one for one in sequence if one != self._tokenizer.pad_token_id] for sequence in filled)
            masks.append(
                [
                    candidate(
                        score,
                        token,
                        self._tokenizer.decode([token]),
                        self._tokenizer.decode(sequence, skip_special_tokens=len(positions) == 1),
                    )
                    for score, token, sequence in zip(scores, tokens, kept, strict=True)
                ]
            )
        return masks[0] if len(masks) == 1 else masks
