"""Small finished artifacts, as the steps leave them, with a real model in the checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest, reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, ServingModel, Tokenizer
from components.contract.reports import Answer, Sample
from components.publishing.model_card_sections import CardArtifacts
from components.training.report import write_rows
from tests import reports as complete

if TYPE_CHECKING:
    from transformers import RobertaTokenizerFast

SENTENCES = ["the cat sat on the mat .", "a dog ran over the hill .", "the sun is hot and far ."]


def make(directory: Path) -> CardArtifacts:
    """A pipeline's artifacts below a directory: a one-layer RoBERTa with random weights and its tokenizer."""
    return CardArtifacts(
        Corpus(_corpus(directory / "corpus")),
        Tokenizer(_tokenizer(directory / "tokenizer")),
        Blocks(_blocks(directory / "blocks")),
        Checkpoint(_checkpoint(directory / "checkpoint", directory / "tokenizer/tokenizer")),
        Evaluation(_evaluation(directory / "evaluation")),
        ServingModel(_serving_model(directory / "model")),
    )


def _finish(directory: Path, kind: str, component: str, params: dict[str, Any]) -> Path:
    key = manifest.digest_of([component, params])
    facts = {"type": kind, "component": component, "version": "1", "key": key, "params": params}
    manifest.write(directory, {**facts, "inputs": {}, "sources": {}})
    return directory


def _corpus(directory: Path) -> Path:
    directory.mkdir(parents=True)
    report = complete.corpus(
        anomalies=("1 record of /home/ada/private/answers.jsonl is empty",),
        source={"kind": "local files", "path": "/home/ada/private/answers.jsonl"},
    )
    reports.write(directory / "report.json", report)
    params = {"dataset": "python-docs", "path": "/home/ada/private/answers.jsonl", "test_size": 0.2, "seed": 42}
    return _finish(directory, "Corpus", "ingest", params)


def bpe() -> "RobertaTokenizerFast":
    """A byte-level BPE of 300 tokens with RoBERTa's special tokens."""
    from tokenizers import ByteLevelBPETokenizer, processors
    from transformers import RobertaTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = ByteLevelBPETokenizer()
    backend.train_from_iterator(SENTENCES, vocab_size=300, special_tokens=special, show_progress=False)
    backend._tokenizer.post_processor = processors.RobertaProcessing(sep=("</s>", 2), cls=("<s>", 0))
    return RobertaTokenizerFast(tokenizer_object=backend._tokenizer, model_max_length=32)


def _tokenizer(directory: Path) -> Path:
    directory.mkdir(parents=True)
    bpe().save_pretrained(directory / "tokenizer")
    reports.write(directory / "report.json", complete.tokenizer())
    return _finish(directory, "Tokenizer", "tokenizer", {"vocab_size": 300})


def _blocks(directory: Path) -> Path:
    directory.mkdir(parents=True)
    reports.write(directory / "report.json", complete.blocks(32))
    return _finish(directory, "Blocks", "preprocess", {"block_size": 32, "text_column": "answers.text"})


def _checkpoint(directory: Path, tokenizer_files: Path) -> Path:
    from transformers import AutoTokenizer

    from components.modeling.checkpoint import build_masked_lm, save_masked_lm

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_files)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
    }
    model = build_masked_lm("roberta", sizes, tokenizer, seed=1)
    for name in ("initial", "model"):
        save_masked_lm(model, tokenizer, directory / name)
    (directory / "logs/train").mkdir(parents=True)
    (directory / "logs/train/events.out.tfevents.1.host.1.0.v2").write_bytes(b"\x18\0\0\0\0\0\0\0")
    rows = [reports.as_plain(complete.epoch_row(*row)) for row in ((1, 5.5), (2, 5.0))]
    write_rows(directory / "history", list(rows[0]), [{**rows[0], "val_loss": 5.25}, rows[1]])
    reports.write(directory / "report.json", complete.training())
    params = {"pretrained": None, "model_type": "roberta", "learning_rate": 2e-5, "mlm_probability": 0.3, "epochs": 2}
    return _finish(directory, "Checkpoint", "train", params)


def _evaluation(directory: Path) -> Path:
    directory.mkdir(parents=True)
    metrics: dict[str, float] = {"top1_accuracy": 0.25, "top5_accuracy": 0.5, "masked_tokens": 200, "blocks": 40}
    for moment, perplexity in (("before", 1310.52), ("after", 45.25), ("unigram", 120.0)):
        metrics |= {f"perplexity_{moment}": perplexity, f"cross_entropy_{moment}": 3.8}
    reports.write(directory / "blessing.json", complete.blessing())
    intervals = {"perplexity_after": (44.0, 46.5)}
    reports.write(directory / "metrics.json", complete.evaluation(metrics, intervals=intervals))
    answers = (Answer(" sun", 0.25), Answer("ing", 0.125, continues_word=True), Answer("|", 0.0625))
    reports.write(directory / "samples.json", [Sample("The *<mask>* of <b>Grantchester</b>.", (), answers, "sun")])
    return _finish(directory, "Evaluation", "evaluate", {"seed": 42})


def _serving_model(directory: Path) -> Path:
    for name in ("saved_model/saved_model.pb", "saved_model/variables/variables.index"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"\0" + name.encode())
    reports.write(directory / "report.json", complete.serving_model())
    return _finish(directory, "ServingModel", "export", {"top_k": 5})
