"""The page of a model card, section by section, in Markdown."""

import dataclasses
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contract.artifacts import HISTORY, Artifact, Checkpoint, Corpus, Evaluation, ServingModel, Tokenizer
from foundation.perplexity import perplexity_text
from foundation.text_answers import TOO_MANY_TOKENS

MOST_ROWS = 40
"""Of a table: a longer one is cut, or thinned out."""


@dataclasses.dataclass(frozen=True)
class CardArtifacts:
    """The artifacts that a card is about."""

    corpus: Corpus
    tokenizer: Tokenizer
    checkpoint: Checkpoint
    evaluation: Evaluation
    model: ServingModel

    def params(self, name: str) -> dict[str, Any]:
        """The params of the step that made an artifact."""
        artifact: Artifact = getattr(self, name)
        return dict(artifact.manifest.get("params", {}))


@dataclasses.dataclass(frozen=True)
class CardSettings:
    """What a card says that no artifact knows.

    Attributes:
        repo_id: The repository's name.
        license: The Hub's identifier of a license.
        languages: ISO 639 codes.
        model_name: The name that servers know the model by.
        include_saved_model: Whether the SavedModel is pushed.
        include_tf_weights: Whether the Keras weights are pushed.
        corpus_text: Whether a sentence of the corpus may be shown.
        not_blessed: Why the model isn't blessed though its evaluation says so: what a later comparison found.
    """

    repo_id: str
    license: str
    languages: tuple[str, ...] = ()
    model_name: str = "fill_mask"
    include_saved_model: bool = False
    include_tf_weights: bool = False
    corpus_text: bool = False
    not_blessed: str | None = None


def why_not_blessed(artifacts: CardArtifacts, settings: CardSettings) -> str | None:
    """Why the model isn't blessed; None where it is."""
    return settings.not_blessed if artifacts.evaluation.blessed else artifacts.evaluation.verdict


def introduction(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """The title and what this is."""
    report = artifacts.checkpoint.report
    metrics = artifacts.evaluation.metrics
    reached, unigram = (perplexity_text(metrics[f"perplexity_{name}"]) for name in ("after", "unigram"))
    started_from = artifacts.params("checkpoint").get("pretrained")
    origin = (
        "trained from random weights"
        if started_from is None
        else f"fine-tuned from {named(started_from, 'a checkpoint')}"
        + (", which had no language-model head," if report.has_new_head else "")
    )
    new = f", {report.new_words:,} of them new words" if report.new_words else ""
    standing = artifacts.evaluation.beside_counting
    warning = "" if standing is None else f" **That is {standing}.**"
    return (
        f"# {settings.repo_id.rpartition('/')[2]}\n\n"
        f"A masked language model ({report.model_type}, {report.parameters:,} parameters, "
        f"{report.vocabulary_size:,} tokens{new}) {origin} on {dataset_name(artifacts)}. It fills in the masked words "
        f"of a text: its perplexity on text that it didn't see is {reached}, where guessing by the words' frequencies "
        f"has {unigram}.{warning}"
    )


def usage(artifacts: CardArtifacts, settings: CardSettings, example: str) -> str:
    """How to use it from transformers, TensorFlow Serving and this project."""
    quoted = json.dumps(example, ensure_ascii=False)  # which is Python too
    parts = [
        "## How to use\n\nFrom transformers, with PyTorch:\n\n```python\nfrom transformers import pipeline\n\n"
        f'fill_mask = pipeline("fill-mask", model="{settings.repo_id}")\nfill_mask({quoted})\n```'
    ]
    if settings.include_tf_weights:
        parts.append(
            "In Keras, with transformers 4:\n\n```python\nfrom transformers import TFAutoModelForMaskedLM\n\n"
            f'model = TFAutoModelForMaskedLM.from_pretrained("{settings.repo_id}", use_safetensors=False)\n```'
        )
    if settings.include_saved_model:
        name = settings.model_name
        parts.append(
            "From TensorFlow Serving:\n\n```bash\n"
            f'huggingface-cli download {settings.repo_id} --include "saved_model/*" --local-dir {name}\n'
            f"docker run -p 8501:8501 -e MODEL_NAME={name} \\\n"
            f'  -v "$PWD/{name}/saved_model:/models/{name}" tensorflow/serving\n'
            f"curl -d {shlex.quote(request_to_server(artifacts, example))} http://127.0.0.1:8501/v1/models/{name}:predict\n```"
            + (f"\n\n{truncation(artifacts)}" if artifacts.model.takes_text else "")
        )
    parts.append(
        "As the start of another training with the pipeline that made it:\n\n```bash\n"
        f"python pipeline.py --runner local --ingest.path notes.txt --train.pretrained {settings.repo_id}\n```"
    )
    return "\n\n".join(parts)


def truncation(artifacts: CardArtifacts) -> str:
    """What the served model does with a text that is too long."""
    report = artifacts.model.report
    longest = f"{report.max_sequence_length:,} tokens"
    if report.truncation:
        return f"A text with more than {longest} is cut to them, and the answer's `status` says so."
    return f"A text with more than {longest} isn't answered: its `status` is `{TOO_MANY_TOKENS}`."


def request_to_server(artifacts: CardArtifacts, example: str) -> str:
    """The JSON that asks a server for the example: plain text, or token ids where the model takes nothing else."""
    if artifacts.model.takes_text:
        return json.dumps({"instances": [example]}, ensure_ascii=False)
    input_ids = artifacts.tokenizer.load()(example)["input_ids"]
    return json.dumps({"instances": [{"input_ids": input_ids, "attention_mask": [1] * len(input_ids)}]})


def training_data(artifacts: CardArtifacts) -> str:
    """What it was trained on, and what the corpus report says of it."""
    report, params = artifacts.corpus.report, artifacts.params("corpus")
    if report.streamed and not report.parts:
        how = "The first records of each file are the test split, all others were trained on."
    elif report.parts:
        how = f"Train and test are the data's own parts (test: the files named {report.parts.test})."
    elif report.by_time:
        how = f"The newest records, by {report.by_time.column}, are the test split."
    else:
        how = (
            f"Records were split into train and test (test_size {params.get('test_size')}, seed {params.get('seed')}) "
            "before anything else."
        )
        if report.by_group:
            how += f" Those with the same {report.by_group.column} are on one side."
    lines = [f"## Training data\n\n{dataset_name(artifacts)}: {report.summary}. {how}"]
    looked_at = " looked at" if report.streamed else ""
    rows: list[Sequence[object]] = [(f"records{looked_at}", *(f"{count:,}" for count in report.records))]
    rows.append(("exact duplicates", *(f"{count:,}" for count in report.duplicate_records)))
    for name, column in report.columns.items():
        rows.append((f"words in `{name}`", *(f"{split.words:,}" for split in column)))
    lines.append(table(("", "train", "test"), rows[:MOST_ROWS]))
    if report.anomalies:
        notes = (f"- {without_paths(note)}" for note in report.anomalies[:MOST_ROWS])
        lines.append("What the report found:\n\n" + "\n".join(notes))
    return "\n\n".join(lines)


def training(artifacts: CardArtifacts) -> str:
    """Hyperparameters, the curve, hardware and duration."""
    report, params = artifacts.checkpoint.report, artifacts.params("checkpoint")
    shown = {
        name: value for name, value in params.items() if value is not None and name not in ("pretrained", "revision")
    }
    shown |= {
        "steps": report.steps,
        "warmup_steps": report.warmup_steps,
        "block_size": report.block_size,
        "packing": report.packing,
        "share_of_padding": report.share_of_padding,
    }
    machine = ", ".join(report.hardware.gpus) or f"{report.hardware.cpu_cores or '?'} CPU cores"
    rows = [
        (row.epoch, number(row.loss), number(row.val_loss), f"{row.tokens_per_second or 0:,.0f}")
        for row in artifacts.checkpoint.history
    ]
    shortened = rows if len(rows) <= MOST_ROWS else rows[:: -(-len(rows) // MOST_ROWS)] + rows[-1:]
    return "\n\n".join(
        [
            "## Training",
            table(("hyperparameter", "value"), [(name, f"`{value}`") for name, value in sorted(shown.items())]),
            table(("epoch", "loss", "validation loss", "tokens/s"), shortened),
            f"It took {report.seconds:,.0f} s on {machine}. The curves are in the tab *Training metrics* "
            f"(TensorBoard), and in `{HISTORY}.csv`.",
        ]
    )


def evaluation(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """Metrics before and after against the baseline, and how they were measured."""
    metrics, how = artifacts.evaluation.metrics, artifacts.evaluation.report.how
    names = {"perplexity": "perplexity", "cross_entropy": "cross-entropy (nats)"}
    names |= {"top1_accuracy": "top-1 accuracy", "top5_accuracy": "top-5 accuracy"}
    rows = [
        (
            shown,
            metric(name, metrics.get(f"{name}_before")),
            metric(name, metrics.get(f"{name}_after", metrics.get(name))),
            metric(name, metrics.get(f"{name}_unigram")),
        )
        for name, shown in names.items()
    ]
    by_document = "" if how.packing == "concatenate" else ", each of one document"
    why = why_not_blessed(artifacts, settings)
    warning = "" if why is None else f"> **Not blessed.** This model was {why}.\n\n"
    return (
        f"## Evaluation\n\n{warning}"
        + table(("metric", "before training", "after training", "unigram baseline"), rows)
        + f"\n\nMeasured on the {how.split} split with {how.eval_mlm_probability:.0%} of the tokens "
        f"masked, whatever the rate in training was: {metrics.get('masked_tokens', 0):,.0f} masked tokens in "
        f"{metrics.get('blocks', 0):,.0f} blocks of {how.block_size} tokens{by_document}, the same masks (seed "
        f"{how.seed}) for every model, every masked token weighing the same. The unigram baseline answers by "
        "the tokens' frequencies in the train split.\n\nThe model repeats what stands in its training data, with its "
        "errors and prejudices; it was measured on text of the same kind only."
    )


def provenance(artifacts: CardArtifacts) -> str:
    """Library versions, and the keys by which the artifacts are found again."""
    versions = artifacts.checkpoint.manifest.get("library_versions", {})
    names = [field.name for field in dataclasses.fields(artifacts)]
    by_name: dict[str, Artifact] = {name: getattr(artifacts, name) for name in names}
    keys = [
        (artifact.manifest.get("component", name), f"`{artifact.manifest.get('key', '')}`", f"`{artifact.digest}`")
        for name, artifact in by_name.items()
    ]
    return "\n\n".join(
        [
            "## Where it comes from",
            "Equal keys mean equal code, parameters and inputs; equal digests mean equal files.",
            table(("step", "key", "digest of its artifact"), keys),
            table(("library", "version"), sorted(versions.items())),
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table. What would end a cell, or its line, is written so that it doesn't."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(cell_text, line)) + " |" for line in lines)


def cell_text(value: object) -> str:
    """A value as a cell of a Markdown table: on one line, and with its bars escaped."""
    return " ".join(str(value).splitlines()).replace("|", "\\|")


def metric(name: str, value: Any) -> str:
    """A metric as people read it; a dash for none."""
    return perplexity_text(value) if name == "perplexity" and value is not None else number(value)


def number(value: Any) -> str:
    """A number as people read it; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:#.4g}"


def hub_dataset(artifacts: CardArtifacts) -> str | None:
    """The corpus' id on the Hub; None for local files and the embedded corpus."""
    params = artifacts.params("corpus")
    dataset = params.get("dataset")
    return str(dataset) if params.get("path") is None and dataset and "/" in str(dataset) else None


def dataset_name(artifacts: CardArtifacts) -> str:
    """The corpus' name for people: never a path of this machine."""
    params = artifacts.params("corpus")
    if mixture := artifacts.corpus.report.mixture:
        return f"a mixture of {', '.join(source.name for source in mixture)}"
    if params.get("path") is not None:
        return f"local files ({Path(str(params['path'])).name})"
    part = f", {params['split']}" if params.get("split") not in (None, "train") else ""
    return f"{params.get('dataset', 'text')}{part}"


def named(name: object, otherwise: str) -> str:
    """A Hub id, or what to say instead of a path."""
    return str(name) if is_hub_id(name) else otherwise


def is_hub_id(name: object) -> bool:
    """Whether a checkpoint's name is a repository's rather than a folder's."""
    return (
        isinstance(name, str) and bool(re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name)) and not Path(name).exists()
    )


def without_paths(text: str) -> str:
    """A note without the directories of this machine."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", text)
