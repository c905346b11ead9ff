"""Export: writes the trained model as a SavedModel with which TensorFlow Serving answers raw text."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Blocks, Checkpoint, Corpus, ServingModel, Tokenizer
from components.contract.component import Component
from components.contract.mask_placeholder import MASK
from components.evaluation.params import QuestionSettings
from components.exporting.params import ExportParams
from foundation.disk import require_room
from foundation.errors import ModelError
from foundation.terminal import TERMINAL, Stages
from foundation.tokenizer_length import stated_length
from foundation.versions import LITE_MODEL, TOKENIZER

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from components.exporting.precision import ExportedForm
    from serving.graph.language_model import Model
    from serving.graph.token_signatures import TokenSignatures

FLOAT32 = "float32"
STAGES = {"loading the model": 3, "asking the example": 4, "saving the model": 10, "quantizing": 15}
"""What takes time, with the seconds that it took for the quickstart's model on a processor core."""
LENGTH_WITHOUT_LIMIT = 1024
"""The most tokens of a text where model and tokenizer set no limit: attention's memory grows as the length's square."""


@dataclasses.dataclass(frozen=True)
class Export(Component[ServingModel]):
    """Saves the model with its tokenizer in the graph, and what a server needs beside it.

    Where the tokenizer can't be put into the graph exactly, the summary says why, and the model answers token ids
    only.

    Attributes:
        checkpoint: The trained model.
        tokenizer: Its tokenizer.
        params: What the model answers.
        corpus: Whose test split gives the example where the params name none; None for a mask alone.
        text_column: Its column, as the preprocess step reads it.
        blocks: Whose test split a form is asked about that doesn't compute in float32; None for not asking.
        questions: Which of its tokens are masked: those of the evaluation. None for not asking.
    """

    name: ClassVar[str] = "export"
    version: ClassVar[str] = "11"
    output: ClassVar[type[ServingModel]] = ServingModel

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    params: ExportParams = dataclasses.field(default=ExportParams())
    corpus: Corpus | None = None
    text_column: str = ""
    blocks: Blocks | None = None
    questions: QuestionSettings | None = None

    def run(self, out: Path) -> None:
        """Writes `saved_model/` and `report.json`.

        Raises:
            ModelError: If the checkpoint can't be loaded, or its tokenizer has no mask token.
        """
        from serving.graph import saved_model_extras

        tokenizer = self.tokenizer.load()
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "a masked language model must have a mask token",
                received=f"a {type(tokenizer).__name__} without one",
                remedy="choose a tokenizer with a mask token (--tokenizer.pretrained)",
            )
        weights = sum(path.stat().st_size for path in self.checkpoint.model_directory.iterdir())
        if self.params.quantize != "none":
            weights += weights // 2  # a third for the model, and as much again while it is converted
        require_room(out, weights, f"the exported model in {out}")
        directory = out / "saved_model"
        with TERMINAL.showing(Stages(STAGES)) as stages:
            form = self.form(tokenizer)
            module, max_sequence_length, reason = self.build(form.model, tokenizer)
            stages.enter("asking the example")
            of_corpus = self.sentence_of_corpus(tokenizer, max_sequence_length)
            example = (self.params.example or of_corpus or MASK).replace(MASK, tokenizer.mask_token)
            answer = answer_to(module, tokenizer, example)
            stages.enter("saving the model")
            signatures = module.save(directory)
            accuracy = [] if form.accuracy is None else [form.accuracy]
            if self.params.quantize == "int8":
                stages.enter("quantizing")
                accuracy += self.write_quantized(directory / LITE_MODEL, tokenizer, max_sequence_length)

        takes = "text and token ids" if reason is None else f"token ids only, because of its tokenizer: {reason}"
        if self.params.truncation:
            takes += (
                f", longer texts cut to {max_sequence_length:,} tokens"
                if reason is None
                else "; export.truncation is for text, and changes nothing"
            )
        if form.precision != FLOAT32:
            takes += f", in {form.precision}"
            takes += "".join(
                f" (loss {each.loss_increase:+.4f} nats a token)" for each in accuracy if each is form.accuracy
            )
        takes += "".join(
            f"; {each.form} {each.loss_increase:+.4f} nats a token" for each in accuracy if each is not form.accuracy
        )
        report = reports.ServingModelReport(
            summary=f"answers {takes}",
            signatures={name: describe(function) for name, function in signatures.items()},
            max_sequence_length=max_sequence_length,
            top_k=module.top_k,
            # None where the module takes no text; less than the setting where the vocabulary is smaller.
            max_top_k=getattr(module, "max_top_k", None),
            mask_token=tokenizer.mask_token,
            text_signatures=reason is None,
            why_no_text_signatures=reason,
            truncation=self.params.truncation and reason is None,
            in_graph_batching=module.batching is not None,
            example=reports.Example(example, answer, of_corpus=of_corpus is not None),
            languages=module.language_model.languages,
            quantize=self.params.quantize,
            accuracy=tuple(accuracy),
            precision=form.precision,
            why_precision=form.reason,
        )
        tokenizer.save_pretrained(directory / TOKENIZER)
        token_ids = tokenizer(example)["input_ids"]
        saved_model_extras.write(directory, reports.as_plain(report), token_ids)
        reports.write(out / REPORT, report)

    def write_quantized(
        self, path: Path, tokenizer: "PreTrainedTokenizerFast", longest: int
    ) -> list[reports.FormAccuracy]:
        """Writes the model in eight-bit integers.

        Returns:
            How it answers, where there are blocks to ask it about.

        Raises:
            ModelError: If the model can't be converted, or is worse by more than is allowed.
        """
        from components.exporting.accuracy import first_questions
        from components.exporting.quantized import write_quantized

        asked = None
        if self.blocks is not None and self.questions is not None:
            asked = first_questions(self.blocks, tokenizer, self.questions)
        params = self.params
        found = write_quantized(
            path, self.checkpoint, tokenizer.mask_token_id, params.top_k, longest, asked, params.max_loss_increase
        )
        return [] if found is None else [found]

    def sentence_of_corpus(self, tokenizer: "PreTrainedTokenizerFast", longest: int) -> str | None:
        """A sentence of the test split with a word masked; None where the params have one, or the split has none."""
        from components.evaluation.sample_sentences import sample_sentences

        if self.params.example is not None or self.corpus is None:
            return None
        sentences = sample_sentences(self.corpus, self.text_column, tokenizer, count=1, longest=longest)
        return sentences[0].text if sentences else None

    @property
    def reads_outside(self) -> bool:
        """Whether the machine chooses the precision."""
        return self.params.precision == "auto"

    def sources(self) -> Mapping[str, str]:
        """The hardware, where that chooses the precision: another machine may export another model."""
        if not self.reads_outside:
            return {}
        from components.exporting.precision import why_bfloat16

        return {"bfloat16": "no hardware" if why_bfloat16() is None else "hardware"}

    def form(self, tokenizer: "PreTrainedTokenizerFast") -> "ExportedForm":
        """The model in the precision that it is exported in.

        Raises:
            ModelError: If it can't be loaded or traced, or is worse in this precision than is allowed.
        """
        from components.exporting.accuracy import AccuracyTest, first_questions
        from components.exporting.precision import form_of
        from components.modeling.architectures.records import architecture_of
        from components.modeling.checkpoint import load_masked_lm
        from components.modeling.library.adapter import as_masked_lm

        model = as_masked_lm(load_masked_lm(self.checkpoint.model_directory))
        if reason := architecture_of(model.config).why_not_exported(model.config):
            raise ModelError(
                "the model must be one that can be traced for sequences of any length",
                received=reason,
                remedy="train another architecture, or serve this one without TensorFlow Serving, from its checkpoint",
            )
        test = None
        if self.params.precision != FLOAT32 and self.blocks is not None and self.questions is not None:
            test = AccuracyTest(model, first_questions(self.blocks, tokenizer, self.questions))
        return form_of(model, self.params, test)

    def build(self, model: "Model", tokenizer: "PreTrainedTokenizerFast") -> "tuple[TokenSignatures, int, str | None]":
        """The module to save, the most tokens of a text, and why it takes no text (None where it does)."""
        from serving.graph.signatures import TextSignatures
        from serving.graph.token_signatures import TokenSignatures
        from serving.graph.tokenizers.build import build_in_graph_tokenizer

        longest = max_sequence_length(model.config, tokenizer)
        try:
            in_graph = build_in_graph_tokenizer(tokenizer, model.config.vocab_size, longest)
        except ModelError as error:
            tokens_only = TokenSignatures(
                model,
                tokenizer.mask_token_id,
                top_k=self.params.top_k,
                max_sequence_length=longest,
                batching=self.params.batching,
            )
            return tokens_only, longest, error.received
        module = TextSignatures(
            model,
            in_graph,
            top_k=self.params.top_k,
            max_top_k=self.params.max_top_k,
            max_sequence_length=longest,
            truncation=self.params.truncation,
            batching=self.params.batching,
        )
        return module, longest, None


def max_sequence_length(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerFast") -> int:
    """The most tokens of a text, special tokens included: what the model and its tokenizer both take.

    Where neither sets a limit it is `LENGTH_WITHOUT_LIMIT`.
    """
    from components.modeling.architectures.records import architecture_of

    limits = (architecture_of(config).longest_sequence(config), stated_length(tokenizer.model_max_length))
    return min((limit for limit in limits if limit is not None), default=LENGTH_WITHOUT_LIMIT)


def answer_to(
    module: "TokenSignatures", tokenizer: "PreTrainedTokenizerFast", text: str
) -> tuple[reports.Candidate, ...]:
    """The candidates for the first mask of a text, best first."""
    import tensorflow as tf

    ids = tokenizer(text)["input_ids"]
    outputs = module.tokens(tf.constant([ids]), tf.ones([1, len(ids)], tf.int32))
    scores, tokens = outputs["score"][0, 0].numpy().tolist(), outputs["token"][0, 0].numpy().tolist()
    return tuple(
        reports.Candidate(score, token, tokenizer.decode([token])) for score, token in zip(scores, tokens, strict=True)
    )


def describe(function: Any) -> reports.SignatureReport:
    """A signature's inputs and outputs by name: dtype, and shape with None where it's free."""

    def tensor(spec: Any) -> reports.TensorReport:
        return reports.TensorReport(spec.dtype.name, tuple(spec.shape.as_list()))

    inputs = {spec.name: tensor(spec) for spec in function.structured_input_signature[0]}
    outputs = {name: tensor(spec) for name, spec in function.structured_outputs.items()}
    return reports.SignatureReport(inputs, outputs)
