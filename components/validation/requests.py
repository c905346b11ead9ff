"""What a served model is asked to find out whether it answers as it should: every signature that it has."""

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.client.answers import Answer, read_answer
from serving.client.fill_mask_client import FillMaskClient
from serving.client.rest_transport import RestTransport
from serving.client.target_words import TargetWarning
from serving.client.waiting import now

if TYPE_CHECKING:
    from components.validation.server_process import ServerProcess


class ServedModel:
    """A served model.

    Args:
        server: Serves it.
        timeout_seconds: How long a request may take.
        tokenizer: The directory of its tokenizer.
        takes_text: Whether its tokenizer is in its graph.
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
        outputs = now(self._transport.predict("serving_default", {"text": texts}))
        return [(status, read_answer(outputs, row)) for row, status in enumerate(outputs["status"])]

    def one_by_one(self, texts: list[str]) -> tuple[list[tuple[str, Answer]], list[float]]:
        """The same, each text in a request of its own, and how many milliseconds each took."""
        answers, milliseconds = [], []
        for text in texts:
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
            raise ValueError("this model has no signature fill_mask")
        with warnings.catch_warnings():
            # Targets are tokens by their names here, which the client may not know for that.
            warnings.simplefilter("ignore", TargetWarning)
            answer: Any = self._by_text.fill_mask(text, **options)
        return answer

    def ask_logits(self, token_ids: list[int]) -> list[list[float]]:
        """The scores of all tokens at each place of a sequence, from the signature `logits`."""
        inputs = {"input_ids": [token_ids], "attention_mask": [[1] * len(token_ids)]}
        # A signature with a single output answers with its value alone.
        answer = now(self._transport.request("POST", ":predict", {"signature_name": "logits", "inputs": inputs}))
        scores: list[list[float]] = answer["outputs"][0]
        return scores

    def close(self) -> None:
        """Closes the connections."""
        now(self._transport.close())
        self._by_tokens.close()
        if self._by_text is not None:
            self._by_text.close()
