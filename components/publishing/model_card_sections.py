"""The page of a model card, section by section, in Markdown."""

import dataclasses
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contract.artifacts import (
    HISTORY,
    Artifact,
    Blocks,
    Checkpoint,
    Corpus,
    Evaluation,
    ServingModel,
    Tokenizer,
)
from components.modeling.architectures.records import ARCHITECTURES
from foundation.perplexity import perplexity_text
from foundation.text_answers import TOO_MANY_TOKENS

MOST_ROWS = 40
"""Of a table: a longer one is cut, or thinned out."""


@dataclasses.dataclass(frozen=True)
class CardArtifacts:
    """The artifacts that a card is about."""

    corpus: Corpus
    tokenizer: Tokenizer
    blocks: Blocks
    checkpoint: Checkpoint
    evaluation: Evaluation
    model: ServingModel

    def has_tensorflow_weights(self, settings: "CardSettings") -> bool:
        """Whether weights for transformers' TensorFlow class are pushed."""
        return settings.include_tf_weights and self.checkpoint.has_tensorflow_weights

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
        license_name: The name of a license that the Hub has no identifier of.
        license_link: Its address.
        languages: ISO 639 codes.
        model_name: The name that servers know the model by.
        include_saved_model: Whether the SavedModel is pushed.
        include_tf_weights: Whether the Keras weights are pushed, where the architecture has them.
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
    license_name: str | None = None
    license_link: str | None = None
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
    record = ARCHITECTURES.get(artifacts.checkpoint.report.model_type)
    transformers = "transformers 5" if record is not None and record.later_configuration is not None else "transformers"
    parts = [
        f"## How to use\n\nFrom {transformers}, with PyTorch:\n\n```python\nfrom transformers import pipeline\n\n"
        f'fill_mask = pipeline("fill-mask", model="{settings.repo_id}")\nfill_mask({quoted})\n```'
    ]
    parts.append(in_tensorflow(settings, quoted, artifacts.has_tensorflow_weights(settings)))
    if settings.include_saved_model:
        name = settings.model_name
        parts.append(
            "From TensorFlow Serving:\n\n```bash\n"
            f'hf download {settings.repo_id} --include "saved_model/*" --local-dir {name}\n'
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


def in_tensorflow(settings: CardSettings, quoted: str, has_weights: bool) -> str:
    """How to use it in TensorFlow: through transformers where its Keras weights are pushed, else through this pipeline.

    The TensorFlow classes of transformers 4.55 to 4.57 don't read PyTorch's weights from a safetensors file.

    Args:
        settings: Have the repository's name.
        quoted: The example, as Python and JSON quote it.
        has_weights: Whether the Keras weights are there.
    """
    if has_weights:
        words = "In TensorFlow, with transformers 4 and the package tf-keras:"
        begin = 'import os\n\nos.environ["TF_USE_LEGACY_KERAS"] = "1"\n\nimport tensorflow as tf\n'
        begin += "from transformers import AutoTokenizer, TFAutoModelForMaskedLM\n\n"
        load = f'model = TFAutoModelForMaskedLM.from_pretrained("{settings.repo_id}", use_safetensors=False)'
        tokenizer = f'AutoTokenizer.from_pretrained("{settings.repo_id}")'
    else:
        words = "In TensorFlow, where the pipeline that made it is installed:"
        begin = "from pathlib import Path\n\nfrom foundation.keras_choice import choose_keras\n\nchoose_keras()\n\n"
        begin += "import tensorflow as tf\nfrom huggingface_hub import snapshot_download\n"
        begin += "from transformers import AutoTokenizer\n\n"
        begin += "from components.modeling.checkpoint import load_masked_lm\n\n"
        load = f'folder = Path(snapshot_download("{settings.repo_id}"))\nmodel = load_masked_lm(folder)'
        tokenizer = "AutoTokenizer.from_pretrained(folder)"
    return (
        f"{words}\n\n```python\n{begin}{load}\ntokenizer = {tokenizer}\n"
        f'inputs = tokenizer({quoted}, return_tensors="tf")\nlogits = model(**inputs).logits\n'
        'position = int(tf.where(inputs["input_ids"][0] == tokenizer.mask_token_id)[0, 0])\n'
        "print([tokenizer.decode([token]) for token in tf.math.top_k(logits[0, position], 5).indices])\n```"
    )


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


def training(artifacts: CardArtifacts, configuration: str) -> str:
    """The curve, hardware and duration, and the configuration that trains it again.

    Args:
        artifacts: The model's.
        configuration: The settings that differ from the defaults, as YAML.
    """
    report = artifacts.checkpoint.report
    machine = ", ".join(report.hardware.gpus) or f"{report.hardware.cpu_cores or '?'} CPU cores"
    rows = [
        (row.epoch, number(row.loss), number(row.val_loss), f"{row.tokens_per_second or 0:,.0f}")
        for row in artifacts.checkpoint.history
    ]
    shortened = rows if len(rows) <= MOST_ROWS else rows[:: -(-len(rows) // MOST_ROWS)] + rows[-1:]
    padding = f", {report.share_of_padding:.1%} of it padding" if report.share_of_padding else ""
    start = artifacts.checkpoint.manifest.get("params", {}).get("batch_size_start")
    most = "" if start is None else "up to "
    return "\n\n".join(
        [
            "## Training",
            f"{report.steps:,} steps of {most}{report.blocks_a_step:,} blocks of {report.block_size:,} tokens "
            f"each{padding} (packing: {report.packing}), with {report.warmup_steps:,} steps of warm-up, in "
            f"{report.execution.precision}. It took {report.seconds:,.0f} s on {machine}. The curves are in the tab "
            f"*Training metrics* (TensorBoard), and in `{HISTORY}.csv`.",
            table(("epoch", "loss", "validation loss", "tokens/s"), shortened),
            "To train it again, write this to `settings.yaml`; all other settings were the defaults:",
            f"```yaml\n{configuration}\n```",
            "```bash\npython pipeline.py --runner local --config settings.yaml\n```",
        ]
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
    if value is None:
        return number(value)
    if name.startswith(("top", "expected")):
        return f"{value:.1%}" if value >= 0.01 or not value else f"{value:.2%}"
    return perplexity_text(value) if name == "perplexity" else number(value)


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
