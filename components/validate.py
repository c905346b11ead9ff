"""Validate: loads the exported model into a real server and compares its answers, before anyone else asks it."""

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Checkpoint, Corpus, InfraBlessing, ServingModel, Tokenizer
from components.contract.component import Component
from components.contract.mask_placeholder import MASK
from components.validation.params import ValidateParams
from foundation.errors import ServingError
from foundation.text_answers import OK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from components.validation.expected_answers import Expected
    from components.validation.probe import Probe, Served
    from components.validation.tolerance import Tolerance

SENTENCES = 4
"""How many sentences of the test split are asked."""
SERVER_LOG, LITE_LOG = "server.log", "server_lite.log"


@dataclasses.dataclass(frozen=True)
class Validate(Component[InfraBlessing]):
    """Compares the exported model's answers, from a real server, with those of transformers' fill-mask pipeline.

    Each text is asked by itself, and then all together, where shorter ones are padded; one text is asked through each
    of the other signatures too. Then several clients ask all of that at once, and a request of no texts, with the
    command line of the deployment files. A model that doesn't compute in float32 is compared twice: closely with the
    checkpoint in the same precision, and with the checkpoint in float32 within what rounding makes. The server is that
    of `validate.url`, else TensorFlow Serving if it is on the PATH, else the embedded server; where that changes, the
    model is validated anew. The model in eight-bit integers, where there is one, must answer as it was measured, by
    TensorFlow Lite, and by TensorFlow Serving if that is on the PATH.

    Attributes:
        model: What was exported.
        checkpoint: What it was exported from.
        tokenizer: Its tokenizer.
        params: How to compare.
        corpus: Whose test split gives sentences where the params name no texts; None for none.
        text_column: Its column, as the preprocess step reads it.
    """

    name: ClassVar[str] = "validate"
    version: ClassVar[str] = "5"
    output: ClassVar[type[InfraBlessing]] = InfraBlessing
    varying: ClassVar[tuple[str, ...]] = (REPORT, SERVER_LOG, LITE_LOG)

    model: ServingModel
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    params: ValidateParams
    corpus: Corpus | None = None
    text_column: str = ""

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
        from components.validation.expected_answers import ask_checkpoint
        from components.validation.probe import Probe
        from components.validation.tolerance import Tolerance

        tokenizer = self.tokenizer.load()
        statuses = self.statuses(tokenizer)
        tolerance = Tolerance.of(self.params, self.model.report)
        probe = Probe(self.model, tokenizer, self.params, tolerance.own)
        served = probe.ask(out / SERVER_LOG, statuses)
        expected = ask_checkpoint(self.checkpoint.model_directory, tokenizer, self.model.report, statuses, served)
        own = None
        if expected.own is not None and tolerance.own is not None:
            own = self.compare(tokenizer, statuses, served, expected.own, tolerance.own)
        texts = self.compare(tokenizer, statuses, served, expected, tolerance.checkpoint)
        report = self.report(probe, served, tolerance, texts, own)
        if self.model.report.quantize == "int8":
            from components.validation.lite import validate_lite

            answerable = [text for text, status in statuses.items() if status == OK]
            asked = validate_lite(
                self.model.saved_model_directory, tokenizer, answerable, out / LITE_LOG, self.params.timeout_seconds
            )
            report = dataclasses.replace(report, asked=(*report.asked, *asked))
        reports.write(out / REPORT, report)

    def compare(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        statuses: Mapping[str, str],
        served: "Served",
        expected: "Expected",
        allowed: float,
    ) -> list[reports.ValidatedText]:
        """Compares all that a server answered with what it must answer, scores within a tolerance.

        Raises:
            ServingError: Naming the first difference.
        """
        texts = self.compare_texts(statuses, served, expected, allowed)
        self.compare_other_signatures(tokenizer, served, expected, allowed)
        return texts

    def statuses(self, tokenizer: "PreTrainedTokenizerFast") -> dict[str, str]:
        """The texts to ask, each with the status that the model must answer it with.

        Raises:
            ServingError: If the model can answer none of them.
        """
        from components.validation.expected_answers import status_of

        longest = self.model.report.max_sequence_length
        texts = [text.replace(MASK, tokenizer.mask_token) for text in self.texts(tokenizer, longest)]
        if self.model.report.truncation:
            texts.append(self.model.example + " a" * longest)
        statuses = {text: status_of(text, tokenizer, self.model.report) for text in [*texts, self.model.example]}
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

    def texts(self, tokenizer: "PreTrainedTokenizerFast", longest: int) -> list[str]:
        """The texts to ask, with `<mask>` in them: of unlike lengths, and in the language of the corpus."""
        from components.evaluation.sample_sentences import sample_sentences

        if self.params.texts is not None:
            return list(self.params.texts)
        sentences: list[str] = []
        if self.corpus is not None:
            found = sample_sentences(self.corpus, self.text_column, tokenizer, count=SENTENCES, longest=longest)
            sentences = [sentence.text for sentence in found]
        example = self.model.example
        several = [example, *sentences[:2]] if sentences else [example, example]
        without = [example.replace(tokenizer.mask_token, "").strip()]
        return list(dict.fromkeys([MASK, *sentences, " ".join(several), *without]))

    def compare_texts(
        self, statuses: Mapping[str, str], served: "Served", expected: "Expected", allowed: float
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
                    raise self.differs(text, how, f"the status is {status} instead of {wanted}", allowed)
                comparison = compare(answer, received, allowed)
                if comparison.difference is not None:
                    raise self.differs(text, how, comparison.difference, allowed)
                largest = max(largest, comparison.largest)
            rows.append(reports.ValidatedText(text, wanted, largest))
        return rows

    def compare_other_signatures(
        self, tokenizer: "PreTrainedTokenizerFast", served: "Served", expected: "Expected", allowed: float
    ) -> None:
        """Compares what the signatures besides `serving_default` answered.

        Raises:
            ServingError: Naming the first difference.
        """
        from components.validation.answer_difference import compare

        for (how, _, received), answer in zip(served.others, expected.of_others, strict=True):
            difference = compare(answer, received, allowed).difference
            if difference is not None:
                raise self.differs(served.answerable, how, difference, allowed)
        if (difference := self.difference_of_logits(expected.logits, served.logits, allowed)) is not None:
            raise self.differs(tokenizer.mask_token, "through the signature logits", difference, allowed)

    def report(
        self,
        probe: "Probe",
        served: "Served",
        tolerance: "Tolerance",
        texts: list[reports.ValidatedText],
        own: list[reports.ValidatedText] | None,
    ) -> reports.ValidationReport:
        """The content of `report.json`.

        Args:
            probe: What asked.
            served: What was answered.
            tolerance: What was allowed.
            texts: The answers beside the checkpoint's.
            own: The answers beside the checkpoint's in the precision of the export; None for float32.
        """
        from components.validation.load import CLIENTS

        server = served.server
        largest = max(text.largest_score_difference for text in texts)
        median = statistics.median(served.milliseconds)
        was_up = "" if server.start_seconds is None else f" was up in {server.start_seconds:.1f} s"
        precision = self.model.report.precision
        largest_own = None if own is None else max(text.largest_score_difference for text in own)
        beside = "" if largest_own is None else f" of float32 and {largest_own:.0e} of {precision}"
        return reports.ValidationReport(
            summary=f"{len(texts)} texts answered as by the checkpoint, scores within {largest:.0e}{beside}; "
            f"{server.kind}{was_up}, {median:.0f} ms a text; "
            f"{served.at_once} requests of {CLIENTS} clients at once answered as alone",
            model=self.model.digest,
            server=server.kind,
            start_seconds=server.start_seconds,
            first_request_milliseconds=served.milliseconds[0],
            median_request_milliseconds=median,
            largest_score_difference=largest,
            tolerance=tolerance.checkpoint,
            own_tolerance=tolerance.own,
            largest_own_difference=largest_own,
            texts=tuple(texts),
            asked=(
                f"{len(texts)} texts one at a time, and all in one request",
                *(f"a text {how}" for how, _, _ in served.others),
                "the mask token through the signature logits",
                f"{served.at_once} of these requests by {CLIENTS} clients at once, each answered as alone",
                *(["a request of no texts"] if probe.asks_nothing else []),
            ),
        )

    def difference_of_logits(self, expected: Any, received: list[list[float]], allowed: float) -> str | None:
        """What differs between logits (tokens, vocabulary), relative to the largest; None for nothing that matters."""
        import numpy as np

        found = np.asarray(received)
        if found.shape != expected.shape:
            return f"logits of shape {found.shape} instead of {expected.shape}"
        distance = np.abs(found - expected).max() / np.abs(expected).max()
        return None if distance <= allowed else f"logits differ by {distance:.1e} of the largest"

    def differs(self, text: str, how: str, difference: str, allowed: float) -> ServingError:
        """The error of an answer that isn't the checkpoint's."""
        from components.validation.probe import serve_it

        return ServingError(
            "the served model must answer as transformers' fill-mask pipeline does on the checkpoint",
            received=f"{difference}, for {text!r} asked {how}",
            remedy=(
                serve_it(self.model, self.params) if self.params.url else "export the model again with --force export"
            )
            + "; "
            + "where nothing but scores differs, and by little, "
            f"allow more than {allowed:.2g} with --validate.tolerance",
        )
