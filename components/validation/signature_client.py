"""A client that asks a served model through each of its signatures, so that every kind of answer can be compared."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.terminal import TERMINAL
from serving.client.answers import Answer, read_answer
from serving.client.fill_mask_client import FillMaskClient
from serving.client.rest_transport import RestTransport
from serving.client.waiting import run_at_once

if TYPE_CHECKING:
    from components.validation.server_process import ServerProcess


class SignatureClient:
    """Sends requests to a served model, through whichever of its signatures is to be tried.

    Args:
        server: The server that has the model.
        timeout_seconds: How long a request may take.
        tokenizer: The directory of the model's tokenizer.
        takes_text: Whether the model has its tokenizer in its graph, and so the signatures that take text.
    """

    def __init__(self, server: "ServerProcess", timeout_seconds: float, tokenizer: Path, takes_text: bool) -> None:
        self._transport = RestTransport(server.url, server.model, timeout_seconds, retries=0)
        options: dict[str, Any] = {"timeout_seconds": timeout_seconds, "retries": 0}
        self._by_text = FillMaskClient(server.url, server.model, **options) if takes_text else None
        self._by_tokens = FillMaskClient(server.url, server.model, tokenizer=tokenizer, **options)

    def ask(self, texts: list[str]) -> list[tuple[str, Answer]]:
        """The status and the answer of each text, asked in one request."""
        if self._by_text is None:
            return [("ok", answer) for answer in self.ask_tokens(texts)]
        outputs = run_at_once(self._transport.predict("serving_default", {"text": texts}))
        return [(status, read_answer(outputs, row)) for row, status in enumerate(outputs["status"])]

    def ask_one_by_one(self, texts: list[str]) -> tuple[list[tuple[str, Answer]], list[float]]:
        """The same with a request for each text, and how many milliseconds each request took."""
        answers, milliseconds = [], []
        with TERMINAL.progress("asking the server", len(texts), "texts") as progress:
            for text in progress.watch(texts):
                began = time.perf_counter()
                answers += self.ask([text])
                milliseconds.append(1000 * (time.perf_counter() - began))
        return answers, milliseconds

    def ask_tokens(self, texts: list[str]) -> list[Answer]:
        """The answer of each text from the signature `tokens`, the text tokenized here."""
        answers: Any = self._by_tokens.fill_mask(texts)
        return [answers] if len(texts) == 1 else answers

    def ask_fill_mask(self, text: str, **options: Any) -> Answer:
        """A text's answer from the signature `fill_mask`, with `top_k` or `targets`."""
        if self._by_text is None:
            raise ValueError(
                "the model must have its tokenizer in the graph: without it there is no signature fill_mask"
            )
        answer: Any = self._by_text.fill_mask(text, **options)
        return answer

    def ask_nothing(self) -> list[tuple[str, Answer]]:
        """The answers of a request of no texts: none, and at once. A model without text signatures isn't asked."""
        if self._by_text is None:
            return []  # JSON has no matrix without rows
        outputs = run_at_once(self._transport.predict("serving_default", {"text": []}))
        return [(status, read_answer(outputs, row)) for row, status in enumerate(outputs["status"])]

    def ask_logits(self, token_ids: list[int]) -> list[list[float]]:
        """The logits of a sequence, (tokens, vocabulary), from the signature `logits`."""
        inputs = {"input_ids": [token_ids], "attention_mask": [[1] * len(token_ids)]}
        # A signature with a single output answers with its value alone.
        answer = run_at_once(
            self._transport.request("POST", ":predict", {"signature_name": "logits", "inputs": inputs})
        )
        scores: list[list[float]] = answer["outputs"][0]
        return scores

    def close(self) -> None:
        """Closes the connections."""
        run_at_once(self._transport.close())
        self._by_tokens.close()
        if self._by_text is not None:
            self._by_text.close()
