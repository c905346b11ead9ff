"""Validate: loads the exported model into a real server and compares its answers, before anyone else asks it."""

import contextlib
import dataclasses
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Checkpoint, InfraBlessing, ServingModel, Tokenizer
from components.contract.component import Component
from components.contract.mask_placeholder import MASK
from foundation.errors import ConfigError, ServingError
from foundation.longest_wait import require_short_enough
from foundation.saved_model_layout import TOKENIZER

if TYPE_CHECKING:
    from transformers import FillMaskPipeline, PreTrainedTokenizerFast

    from components.validation.requests import ServedModel
    from components.validation.server_process import ServerProcess
    from serving.client.answers import Answer

NO_MASK = "no_mask"
TOO_MANY_TOKENS = "too_many_tokens"
OK = "ok"
"""What the model says of a text; the values are those of `serving.graph.signatures`."""

TEXTS = (
    f"The answer is {MASK}.",
    f"{MASK} is what {MASK} of us would say to {MASK}",
    "There is nothing to fill in here.",
    f"Crème brûlée, 東京 and naïve 🙂 are {MASK}, aren't they?",
)

OWN_TOLERANCE, OTHERS_TOLERANCE = 1e-4, 0.05
CPU = -1
"""What transformers' pipelines call it."""

MODEL_URL = re.compile(r"(https?://[^/\s]+)/v1/models/([^/:\s]+)/?")


@dataclasses.dataclass(frozen=True)
class ValidateParams:
    """How the served model is compared with the checkpoint.

    Attributes:
        texts: What is asked, beside `export.example`; `<mask>` stands for the tokenizer's own mask token.
        tolerance: The largest relative difference of a served score from the checkpoint's; null for 1e-4 of a server
            that is started here, on the CPU, and 0.05 of the one at `url`, whose GPU may multiply in TF32, which has
            10 binary digits. (The quickstart's scores differ by up to 0.003 in TF32.)
        timeout_seconds: How long the server may take to load the model, and then to answer a request.
        url: A TensorFlow Serving that serves the exported directory already, `http://HOST:PORT/v1/models/NAME`, to be
            asked over REST. By default one is started for this.
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
class Validate(Component[InfraBlessing]):
    """Asks the exported model, served by another process, and transformers' fill-mask pipeline, on the checkpoint.

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
        import tensorflow as tf

        from components.validation.answer_difference import compare

        tokenizer = self.tokenizer.load()
        exported = self.model.report
        texts = [text.replace(MASK, tokenizer.mask_token) for text in self.params.texts]
        texts = list(dict.fromkeys([*texts, self.model.example]))
        statuses = [self.status_of(text, tokenizer, exported.max_sequence_length) for text in texts]
        if OK not in statuses:
            raise ServingError(
                "at least one of validate.texts must have a mask and no more tokens than the model takes",
                received=f"{len(texts)} texts of which none has, with at most {exported.max_sequence_length} tokens",
                remedy=f"give --validate.texts shorter ones, such as '[\"{MASK}\"]'",
            )
        if not exported.text_signatures:
            # Its client, which tokenizes, sends no other texts.
            texts = [text for text, status in zip(texts, statuses, strict=True) if status == OK]
            statuses = [OK] * len(texts)

        answerable = next(text for text, status in zip(texts, statuses, strict=True) if status == OK)
        mask_alone = tokenizer(tokenizer.mask_token)["input_ids"]
        with self.served_model(out / "server.log", exported.text_signatures) as (server, served):
            alone, milliseconds = served.one_by_one(texts)
            together = served.ask(texts)
            others = self.ask_others(served, answerable, tokenizer, exported)
            logits = served.ask_logits(mask_alone)
        # As a server that is started here does: a GPU's arithmetic differs by more than the tolerance.
        with tf.device("/CPU:0"):
            pipeline = self.pipeline(tokenizer, exported.top_k)
            expected = [pipeline(text) if status == OK else [] for text, status in zip(texts, statuses, strict=True)]
            expected_of_others = [pipeline(answerable, **options) for _, options, _ in others]
            expected_logits = pipeline.model(tf.constant([mask_alone])).logits[0].numpy()

        rows: list[reports.ValidatedText] = []
        for index, text in enumerate(texts):
            largest = 0.0
            for (status, answer), how in ((alone[index], "by itself"), (together[index], "with the others")):
                if status != statuses[index]:
                    raise self.differs(text, how, f"the status is {status} instead of {statuses[index]}")
                comparison = compare(expected[index], answer, self.params.allowed)
                if comparison.difference is not None:
                    raise self.differs(text, how, comparison.difference)
                largest = max(largest, comparison.largest)
            rows.append(reports.ValidatedText(text, statuses[index], largest))
        for (how, _, answer), one in zip(others, expected_of_others, strict=True):
            difference = compare(one, answer, self.params.allowed).difference
            if difference is not None:
                raise self.differs(answerable, how, difference)
        if (difference := self.difference_of_logits(expected_logits, logits)) is not None:
            raise self.differs(tokenizer.mask_token, "through the signature logits", difference)
        largest = max(row.largest_score_difference for row in rows)
        median = statistics.median(milliseconds)
        was_up = "" if server.start_seconds is None else f" was up in {server.start_seconds:.1f} s"
        reports.write(
            out / REPORT,
            reports.ValidationReport(
                summary=f"{len(texts)} texts answered as by the checkpoint, scores within {largest:.0e}; "
                f"{server.kind}{was_up}, {median:.0f} ms a text",
                model=self.model.digest,
                server=server.kind,
                start_seconds=server.start_seconds,
                first_request_milliseconds=milliseconds[0],
                median_request_milliseconds=median,
                largest_score_difference=largest,
                texts=tuple(rows),
            ),
        )

    def status_of(self, text: str, tokenizer: "PreTrainedTokenizerFast", longest: int) -> str:
        """What the model has to say of a text."""
        ids = tokenizer(text, verbose=False)["input_ids"]
        if len(ids) > longest:
            return TOO_MANY_TOKENS
        return OK if tokenizer.mask_token_id in ids else NO_MASK

    @contextlib.contextmanager
    def served_model(self, log: Path, takes_text: bool) -> "Iterator[tuple[ServerProcess, ServedModel]]":
        """A server that has the model, and what asks it.

        Raises:
            ServingError: If the server doesn't start, or doesn't answer.
        """
        from components.validation.requests import ServedModel
        from components.validation.server_process import ServerProcess, serving

        timeout, url = self.params.timeout_seconds, self.params.url
        # What ran before is not ours to start.
        found = MODEL_URL.fullmatch(url) if url else None
        server = (
            contextlib.nullcontext(ServerProcess(found[1], found[2], f"the server at {url}", None, None))
            if found
            else serving(self.model.saved_model_directory, log, timeout)
        )
        tokenizer = self.model.saved_model_directory / TOKENIZER
        try:
            with server as running, contextlib.closing(ServedModel(running, timeout, tokenizer, takes_text)) as served:
                yield running, served
        except ServingError as error:
            if not url:
                raise
            raise ServingError(error.rule, received=error.received, remedy=self.serve_it()) from error

    def serve_it(self) -> str:
        """What to do about a server that was given and doesn't serve the model."""
        return (
            f"see that {self.params.url} serves {self.model.saved_model_directory}, or leave out --validate.url to "
            "have a server started for this"
        )

    def ask_others(
        self,
        served: "ServedModel",
        text: str,
        tokenizer: "PreTrainedTokenizerFast",
        exported: reports.ServingModelReport,
    ) -> "list[tuple[str, dict[str, Any], Answer]]":
        """A text's answers from the signatures besides `serving_default`: how, the pipeline's options, the answer."""
        from components.validation.answer_difference import by_mask

        [answer] = served.ask_tokens([text])
        answers: list[tuple[str, dict[str, Any], Answer]] = [("through the signature tokens", {}, answer)]
        if exported.text_signatures:
            # Tokens by their names, so that no other word comes into it.
            candidates = by_mask(answer)[0]
            names = tokenizer.convert_ids_to_tokens([candidates[0]["token"], candidates[-1]["token"]])
            for options in (
                {"top_k": min(exported.top_k + 1, self.model.most_candidates)},
                {"top_k": exported.top_k, "targets": names},
            ):
                how = f"through the signature fill_mask with {options}"
                answers.append((how, options, served.ask_fill_mask(text, **options)))
        return answers

    def pipeline(self, tokenizer: "PreTrainedTokenizerFast", top_k: int) -> "FillMaskPipeline":
        """The fill-mask pipeline of transformers, on the checkpoint."""
        from transformers import FillMaskPipeline

        from components.modeling.checkpoint import load_masked_lm

        model = load_masked_lm(self.checkpoint.model_directory)
        # Left alone it takes the first GPU, whatever device its caller is on.
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
