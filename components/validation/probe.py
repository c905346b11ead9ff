"""Asks a server that has the exported model: text by text, all together, by each signature, by many clients at once."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract.artifacts import ServingModel
from components.validation.answer_difference import by_mask
from components.validation.load import (
    Request,
    ask_at_once,
    difference_of_answer,
    difference_of_answers,
    difference_of_numbers,
)
from components.validation.params import MODEL_URL, ValidateParams
from components.validation.server_process import ServerProcess, serving
from components.validation.signature_client import SignatureClient
from foundation.errors import ServingError
from foundation.text_answers import OK
from foundation.versions import TOKENIZER
from serving.client.answers import Answer
from serving.client.target_words import TargetWarning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclasses.dataclass(frozen=True)
class Served:
    """What the exported model answered.

    Attributes:
        server: The server that answered.
        alone: The status and the answer of each text, asked by itself.
        together: The same, all texts asked in one request.
        milliseconds: How long each text took by itself.
        answerable: The text that the other signatures were asked.
        others: For each of their answers how it was asked, the pipeline's options that give the same, and the answer.
        logits: (tokens, vocabulary) of the mask token alone.
        at_once: How many requests were answered alike when several clients asked at once.
    """

    server: ServerProcess
    alone: list[tuple[str, Answer]]
    together: list[tuple[str, Answer]]
    milliseconds: list[float]
    answerable: str
    others: list[tuple[str, dict[str, Any], Answer]]
    logits: list[list[float]]
    at_once: int = 0


@dataclasses.dataclass(frozen=True)
class Probe:
    """Asks a server about a model, through every signature that the model has.

    Attributes:
        model: What was exported.
        tokenizer: Its tokenizer.
        params: Which server, and how long an answer may take.
        tolerance: How much an answer among others may differ from the same alone; None for what float32 rounds.
    """

    model: ServingModel
    tokenizer: "PreTrainedTokenizerFast"
    params: ValidateParams
    tolerance: float | None = None

    def ask(self, log: Path, statuses: Mapping[str, str]) -> Served:
        """What the server answers.

        Args:
            log: Gets what a server says that is started here.
            statuses: The texts to ask, each with the status that it must be answered with; one of them is `ok`.

        Raises:
            ServingError: If the server doesn't start, or doesn't answer, or answers a text otherwise among others.
        """
        texts = list(statuses)
        answerable = next(text for text, status in statuses.items() if status == OK)
        with self._serve(log) as (server, client), warnings.catch_warnings():
            # Targets are names of tokens here, which the client may take for words of several tokens. The filters are
            # those of all threads, so they are set before any other starts.
            warnings.simplefilter("ignore", TargetWarning)
            alone, milliseconds = client.ask_one_by_one(texts)
            together = client.ask(texts)
            others = self._ask_other_signatures(client, answerable)
            served = Served(
                server, alone, together, milliseconds, answerable, others, client.ask_logits(self._mask_alone)
            )
            at_once = ask_at_once(partial(self._connect, server), self._requests(texts, served), self._timeout)
        return dataclasses.replace(served, at_once=at_once)

    @property
    def asks_nothing(self) -> bool:
        """Whether a request of no texts is asked.

        Not of a server that runs already: one that batches by itself would lose a thread to it.
        """
        return self.model.takes_text and self.params.url is None

    @property
    def _timeout(self) -> float:
        return self.params.timeout_seconds

    @property
    def _mask_alone(self) -> list[int]:
        ids: list[int] = self.tokenizer(self.tokenizer.mask_token)["input_ids"]
        return ids

    def _connect(self, server: ServerProcess) -> SignatureClient:
        tokenizer = self.model.saved_model_directory / TOKENIZER
        return SignatureClient(server, self._timeout, tokenizer, self.model.takes_text)

    @contextlib.contextmanager
    def _serve(self, log: Path) -> Iterator[tuple[ServerProcess, SignatureClient]]:
        """A server that has the model, and a client of its signatures."""
        url = self.params.url
        # A server that is given runs already, and is neither started nor stopped here.
        found = MODEL_URL.fullmatch(url) if url else None
        server = (
            contextlib.nullcontext(ServerProcess(found[1], found[2], f"the server at {url}", None, None))
            if found
            else serving(self.model.saved_model_directory, log, self._timeout)
        )
        try:
            with server as running, contextlib.closing(self._connect(running)) as client:
                yield running, client
        except ServingError as error:
            if not url:
                raise
            raise ServingError(error.rule, received=error.received, remedy=serve_it(self.model, self.params)) from error

    def _ask_other_signatures(self, client: SignatureClient, text: str) -> list[tuple[str, dict[str, Any], Answer]]:
        """A text's answers from the signatures besides `serving_default`.

        Returns:
            For each answer how it was asked, the options with which the pipeline must give it, and the answer.
        """
        [answer] = client.ask_tokens([text])
        answers: list[tuple[str, dict[str, Any], Answer]] = [("through the signature tokens", {}, answer)]
        if self.model.takes_text:
            top_k = self.model.report.top_k
            # Targets are tokens by their names, so that each of them is exactly one token. A model may know more ids
            # than its tokenizer has tokens.
            named = self.tokenizer.convert_ids_to_tokens([candidate["token"] for candidate in by_mask(answer)[0]])
            names = [name for name in named if name is not None]
            asked: list[dict[str, Any]] = [{"top_k": min(top_k + 1, self.model.most_candidates)}]
            asked += [{"top_k": top_k, "targets": [names[0], names[-1]]}] if names else []
            for options in asked:
                how = f"through the signature fill_mask with {options}"
                answers.append((how, options, client.ask_fill_mask(text, **options)))
        return answers

    def _requests(self, texts: list[str], served: Served) -> list[Request]:
        """All that was asked so far, with the answers, and a request of no texts."""
        allowed = {} if self.tolerance is None else {"tolerance": self.tolerance}
        of_answers = partial(difference_of_answers, **allowed)
        requests = [
            Request(f"{text!r}", partial(SignatureClient.ask, texts=[text]), [alone], of_answers)
            for text, alone in zip(texts, served.alone, strict=True)
        ]
        together = partial(SignatureClient.ask, texts=texts)
        requests.append(Request("all texts in one request", together, served.together, of_answers))
        for how, options, answer in served.others:
            ask = (
                partial(SignatureClient.ask_fill_mask, text=served.answerable, **options)
                if options
                else lambda client: client.ask_tokens([served.answerable])[0]
            )
            requests.append(Request(f"a text {how}", ask, answer, partial(difference_of_answer, **allowed)))
        logits = partial(SignatureClient.ask_logits, token_ids=self._mask_alone)
        of_numbers = partial(difference_of_numbers, **allowed)
        requests.append(Request("the signature logits", logits, served.logits, of_numbers))
        if self.asks_nothing:
            requests.append(Request("a request of no texts", SignatureClient.ask_nothing, [], difference_of_answers))
        return requests


def serve_it(model: ServingModel, params: ValidateParams) -> str:
    """The way out where the server at `validate.url` doesn't serve the model."""
    return (
        f"see that {params.url} serves {model.saved_model_directory}, or leave out --validate.url to have a server "
        "started for this"
    )
