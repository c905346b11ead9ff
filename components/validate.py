"""Validate: loads the exported model into a real server and compares its answers, before anyone else asks it."""

import contextlib
import dataclasses
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Checkpoint, InfraBlessing, ServingModel, Tokenizer
from components.contract.component import Component
from components.contract.mask_placeholder import MASK
from foundation.errors import ConfigError, ServingError
from foundation.longest_wait import require_short_enough
from foundation.text_answers import NO_MASK, OK, TOO_MANY_TOKENS, is_answered, no_mask_within, truncated_to
from foundation.versions import TOKENIZER

if TYPE_CHECKING:
    from transformers import FillMaskPipeline, PreTrainedTokenizerFast

    from components.validation.server_process import ServerProcess
    from components.validation.signature_client import SignatureClient
    from serving.client.answers import Answer

TEXTS = (
    f"The answer is {MASK}.",
    f"{MASK} is what {MASK} of us would say to {MASK}",
    "There is nothing to fill in here.",
    f"Crème brûlée, 東京 and naïve 🙂 are {MASK}, aren't they?",
)

OWN_TOLERANCE, OTHERS_TOLERANCE = 1e-4, 0.05
CPU = -1
SERVER_LOG = "server.log"
"""What transformers' pipelines call it."""

MODEL_URL = re.compile(r"(https?://[^/\s]+)/v1/models/([^/:\s]+)/?")


@dataclasses.dataclass(frozen=True)
class ValidateParams:
    """How the served model is compared with the checkpoint.

    Attributes:
        texts: The texts to ask, beside `export.example`; `<mask>` stands for the tokenizer's own mask token.
        tolerance: The largest relative difference of a served score from the checkpoint's; null for 1e-4 of a server
            that is started here, on the CPU, and 0.05 of the one at `url`, whose GPU may multiply in TF32, which has
            10 binary digits. (The quickstart's scores differ by up to 0.003 in TF32.)
        timeout_seconds: How long the server may take to load the model, and then to answer a request.
        url: Asks, over REST, a TensorFlow Serving that serves the exported directory already, such as
            `http://HOST:PORT/v1/models/NAME`. By default a server is started for this step.
    """

    texts: tuple[str, ...] = TEXTS
    tolerance: float | None = None
    timeout_seconds: float = 300.0
    url: str | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ConfigError(
                "validate.tolerance must be over 0 and under 1",
                received=str(self.tolerance),
                remedy="leave out --validate.tolerance, or try 1e-4",
            )
        if not 0 < self.timeout_seconds < float("inf"):
            raise ConfigError(
                "validate.timeout_seconds must be over 0",
                received=str(self.timeout_seconds),
                remedy="leave out --validate.timeout_seconds, or try 300",
            )
        require_short_enough("validate.timeout_seconds", self.timeout_seconds)
        if self.url is not None and not MODEL_URL.fullmatch(self.url):
            raise ConfigError(
                "validate.url must be a model's URL for REST, http://HOST:PORT/v1/models/NAME",
                received=repr(self.url),
                remedy="write --validate.url like http://127.0.0.1:8501/v1/models/fill_mask, or leave it out",
            )

    @property
    def allowed(self) -> float:
        """The tolerance, chosen by the server where none is given."""
        if self.tolerance is not None:
            return self.tolerance
        return OWN_TOLERANCE if self.url is None else OTHERS_TOLERANCE


@dataclasses.dataclass(frozen=True)
class Served:
    """What the exported model answered.

    Attributes:
        alone: The status and the answer of each text, asked by itself.
        together: The same, all texts asked in one request.
        milliseconds: How long each text took by itself.
        answerable: The text that the other signatures were asked.
        others: For each of their answers how it was asked, the pipeline's options that give the same, and the answer.
        logits: (tokens, vocabulary) of the mask token alone.
    """

    alone: "list[tuple[str, Answer]]"
    together: "list[tuple[str, Answer]]"
    milliseconds: list[float]
    answerable: str
    others: "list[tuple[str, dict[str, Any], Answer]]"
    logits: list[list[float]]


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the checkpoint answers.

    Attributes:
        answers: Of each text; empty for one that can't be answered.
        of_others: Of the text that the other signatures were asked, with their options.
        logits: (tokens, vocabulary) float32, of the mask token alone.
    """

    answers: "list[Answer]"
    of_others: "list[Answer]"
    logits: Any


@dataclasses.dataclass(frozen=True)
class Validate(Component[InfraBlessing]):
    """Compares the exported model's answers, from a real server, with those of transformers' fill-mask pipeline.

    Each text is asked by itself, and then all together, where shorter ones are padded; one text is asked through each
    of the other signatures too. The server is that of `validate.url`, else TensorFlow Serving if it is on the PATH,
    else the embedded server; where that changes, the model is validated anew.

    Attributes:
        model: What was exported.
        checkpoint: What it was exported from.
        tokenizer: Its tokenizer.
        params: How to compare.
    """

    name: ClassVar[str] = "validate"
    version: ClassVar[str] = "3"
    output: ClassVar[type[InfraBlessing]] = InfraBlessing
    varying: ClassVar[tuple[str, ...]] = (REPORT, SERVER_LOG)

    model: ServingModel
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    params: ValidateParams = ValidateParams()

    def sources(self) -> dict[str, str]:
        """The server: the next one may load a model that this one refuses, or the other way round."""
        from components.validation.server_process import server_kind

        return {"server": self.params.url or server_kind()}

    def run(self, out: Path) -> None:
        """Writes `report.json`, and `server.log`.

        Raises:
            ServingError: If the server doesn't load the model, or an answer differs.
            ModelError: If the checkpoint can't be loaded.
        """
        tokenizer = self.tokenizer.load()
        statuses = self.statuses(tokenizer)
        server, served = self.ask_server(out / SERVER_LOG, tokenizer, statuses)
        expected = self.ask_checkpoint(tokenizer, statuses, served)
        texts = self.compare_texts(statuses, served, expected)
        self.compare_other_signatures(tokenizer, served, expected)
        reports.write(out / REPORT, self.report(server, served, texts))

    def statuses(self, tokenizer: "PreTrainedTokenizerFast") -> dict[str, str]:
        """The texts to ask, each with the status that the model must answer it with.

        Raises:
            ServingError: If the model can answer none of them.
        """
        longest = self.model.report.max_sequence_length
        texts = [text.replace(MASK, tokenizer.mask_token) for text in self.params.texts]
        if self.model.report.truncation:
            texts.append(self.model.example + " a" * longest)
        statuses = {text: self.status_of(text, tokenizer, longest) for text in [*texts, self.model.example]}
        if OK not in statuses.values():
            raise ServingError(
                "at least one of validate.texts must have a mask and no more tokens than the model takes",
                received=f"{len(statuses)} texts of which none has, with at most {longest} tokens",
                remedy=f"give --validate.texts shorter ones, such as '[\"{MASK}\"]'",
            )
        if self.model.takes_text:
            return statuses
        # The tokenizer then runs at the client, which refuses all other texts.
        return {text: status for text, status in statuses.items() if status == OK}

    def ask_server(
        self, log: Path, tokenizer: "PreTrainedTokenizerFast", statuses: Mapping[str, str]
    ) -> tuple["ServerProcess", Served]:
        """Asks the exported model, through every signature that it has.

        Raises:
            ServingError: If the server doesn't start, or doesn't answer.
        """
        texts = list(statuses)
        answerable = next(text for text, status in statuses.items() if status == OK)
        with self.serve(log, self.model.takes_text) as (server, client):
            alone, milliseconds = client.ask_one_by_one(texts)
            together = client.ask(texts)
            others = self.ask_other_signatures(client, answerable, tokenizer)
            logits = client.ask_logits(tokenizer(tokenizer.mask_token)["input_ids"])
        return server, Served(alone, together, milliseconds, answerable, others, logits)

    def ask_checkpoint(
        self, tokenizer: "PreTrainedTokenizerFast", statuses: Mapping[str, str], served: Served
    ) -> Expected:
        """Asks transformers' fill-mask pipeline the same.

        Raises:
            ModelError: If the checkpoint can't be loaded.
        """
        import tensorflow as tf

        # On the CPU, as a server that is started here: a GPU's arithmetic differs by more than the tolerance.
        with tf.device("/CPU:0"):
            pipeline = self.pipeline(tokenizer, self.model.report.top_k)
            longest = self.model.report.max_sequence_length
            cut = {"truncation": True, "max_length": longest} if self.model.report.truncation else {}
            mask_alone = tf.constant([tokenizer(tokenizer.mask_token)["input_ids"]])
            return Expected(
                [
                    pipeline(text, tokenizer_kwargs=cut) if is_answered(status) else []
                    for text, status in statuses.items()
                ],
                [pipeline(served.answerable, **options) for _, options, _ in served.others],
                pipeline.model(mask_alone).logits[0].numpy(),
            )

    def compare_texts(
        self, statuses: Mapping[str, str], served: Served, expected: Expected
    ) -> list[reports.ValidatedText]:
        """Compares each text's two answers with the one that it must have.

        Raises:
            ServingError: Naming the first difference.
        """
        from components.validation.answer_difference import compare

        rows = []
        answers = zip(statuses.items(), served.alone, served.together, expected.answers, strict=True)
        for (text, wanted), alone, together, answer in answers:
            largest = 0.0
            for (status, received), how in ((alone, "by itself"), (together, "with the others")):
                if status != wanted:
                    raise self.differs(text, how, f"the status is {status} instead of {wanted}")
                comparison = compare(answer, received, self.params.allowed)
                if comparison.difference is not None:
                    raise self.differs(text, how, comparison.difference)
                largest = max(largest, comparison.largest)
            rows.append(reports.ValidatedText(text, wanted, largest))
        return rows

    def compare_other_signatures(
        self, tokenizer: "PreTrainedTokenizerFast", served: Served, expected: Expected
    ) -> None:
        """Compares what the signatures besides `serving_default` answered.

        Raises:
            ServingError: Naming the first difference.
        """
        from components.validation.answer_difference import compare

        for (how, _, received), answer in zip(served.others, expected.of_others, strict=True):
            difference = compare(answer, received, self.params.allowed).difference
            if difference is not None:
                raise self.differs(served.answerable, how, difference)
        if (difference := self.difference_of_logits(expected.logits, served.logits)) is not None:
            raise self.differs(tokenizer.mask_token, "through the signature logits", difference)

    def report(
        self, server: "ServerProcess", served: Served, texts: list[reports.ValidatedText]
    ) -> reports.ValidationReport:
        """The content of `report.json`."""
        largest = max(text.largest_score_difference for text in texts)
        median = statistics.median(served.milliseconds)
        was_up = "" if server.start_seconds is None else f" was up in {server.start_seconds:.1f} s"
        return reports.ValidationReport(
            summary=f"{len(texts)} texts answered as by the checkpoint, scores within {largest:.0e}; "
            f"{server.kind}{was_up}, {median:.0f} ms a text",
            model=self.model.digest,
            server=server.kind,
            start_seconds=server.start_seconds,
            first_request_milliseconds=served.milliseconds[0],
            median_request_milliseconds=median,
            largest_score_difference=largest,
            texts=tuple(texts),
        )

    def status_of(self, text: str, tokenizer: "PreTrainedTokenizerFast", longest: int) -> str:
        """The status with which the model must answer a text."""
        ids = tokenizer(text, verbose=False)["input_ids"]
        if len(ids) > longest:
            if not self.model.report.truncation:
                return TOO_MANY_TOKENS
            if tokenizer.mask_token_id in ids:
                kept = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
                return truncated_to(longest) if tokenizer.mask_token_id in kept else no_mask_within(longest)
        return OK if tokenizer.mask_token_id in ids else NO_MASK

    @contextlib.contextmanager
    def serve(self, log: Path, takes_text: bool) -> "Iterator[tuple[ServerProcess, SignatureClient]]":
        """A server that has the model, and a client of its signatures.

        Raises:
            ServingError: If the server doesn't start, or doesn't answer.
        """
        from components.validation.server_process import ServerProcess, serving
        from components.validation.signature_client import SignatureClient

        timeout, url = self.params.timeout_seconds, self.params.url
        # A server that is given runs already, and is neither started nor stopped here.
        found = MODEL_URL.fullmatch(url) if url else None
        server = (
            contextlib.nullcontext(ServerProcess(found[1], found[2], f"the server at {url}", None, None))
            if found
            else serving(self.model.saved_model_directory, log, timeout)
        )
        tokenizer = self.model.saved_model_directory / TOKENIZER
        try:
            with (
                server as running,
                contextlib.closing(SignatureClient(running, timeout, tokenizer, takes_text)) as client,
            ):
                yield running, client
        except ServingError as error:
            if not url:
                raise
            raise ServingError(error.rule, received=error.received, remedy=self.serve_it()) from error

    def serve_it(self) -> str:
        """The way out where the server at `url` doesn't serve the model."""
        return (
            f"see that {self.params.url} serves {self.model.saved_model_directory}, or leave out --validate.url to "
            "have a server started for this"
        )

    def ask_other_signatures(
        self,
        client: "SignatureClient",
        text: str,
        tokenizer: "PreTrainedTokenizerFast",
    ) -> "list[tuple[str, dict[str, Any], Answer]]":
        """A text's answers from the signatures besides `serving_default`.

        Returns:
            For each answer how it was asked, the options with which the pipeline must give it, and the answer.
        """
        from components.validation.answer_difference import by_mask

        [answer] = client.ask_tokens([text])
        answers: list[tuple[str, dict[str, Any], Answer]] = [("through the signature tokens", {}, answer)]
        if self.model.takes_text:
            top_k = self.model.report.top_k
            # Targets are tokens by their names, so that each of them is exactly one token.
            candidates = by_mask(answer)[0]
            names = tokenizer.convert_ids_to_tokens([candidates[0]["token"], candidates[-1]["token"]])
            for options in (
                {"top_k": min(top_k + 1, self.model.most_candidates)},
                {"top_k": top_k, "targets": names},
            ):
                how = f"through the signature fill_mask with {options}"
                answers.append((how, options, client.ask_fill_mask(text, **options)))
        return answers

    def pipeline(self, tokenizer: "PreTrainedTokenizerFast", top_k: int) -> "FillMaskPipeline":
        """The fill-mask pipeline of transformers, on the checkpoint."""
        from transformers import FillMaskPipeline

        from components.modeling.checkpoint import load_masked_lm

        model = load_masked_lm(self.checkpoint.model_directory)
        # Without a device it would take the first GPU, whatever device its caller is on.
        return FillMaskPipeline(model=model, tokenizer=tokenizer, framework="tf", top_k=top_k, device=CPU)

    def difference_of_logits(self, expected: Any, received: list[list[float]]) -> str | None:
        """What differs between logits (tokens, vocabulary), relative to the largest; None for nothing that matters."""
        import numpy as np

        found = np.asarray(received)
        if found.shape != expected.shape:
            return f"logits of shape {found.shape} instead of {expected.shape}"
        distance = np.abs(found - expected).max() / np.abs(expected).max()
        return None if distance <= self.params.allowed else f"logits differ by {distance:.1e} of the largest"

    def differs(self, text: str, how: str, difference: str) -> ServingError:
        """The error of an answer that isn't the checkpoint's."""
        return ServingError(
            "the served model must answer as transformers' fill-mask pipeline does on the checkpoint",
            received=f"{difference}, for {text!r} asked {how}",
            remedy=(f"{self.serve_it()}; " if self.params.url else "export the model again with --force export; ")
            + "where nothing but scores differs, and by little, "
            f"allow more than {self.params.allowed:g} with --validate.tolerance",
        )
