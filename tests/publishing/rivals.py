"""Models of known quality that are pushed to one place: real ones, which answer by the word frequencies alone."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from components.blocks.writer import RecordWriter
from components.contract import manifest, reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, InfraBlessing, ServingModel, Tokenizer
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate
from components.evaluation.params import EvaluateParams
from components.modeling.library.adapter import LibraryMaskedLM
from components.publishing.params import PushParams
from components.push import Push
from tests import reports as complete
from tests.blessing import bless
from tests.loopback_hub import small_artifacts as small

BLOCK_SIZE, RECORDS, SPECIAL = 32, 60, 5
SHARES = {"good": 0.5, "best": 1.0}
"""How much of the tokens' log-frequencies each model answers with: more is better."""


class Rivals:
    """A corpus, its blocks, and a model of each name in `SHARES`.

    Args:
        directory: Where everything goes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made = small.make(directory / "made")
        self.tokenizer: Tokenizer = self.made.tokenizer
        self.corpus: Corpus = self.made.corpus
        self.blocks, log_frequencies = self._blocks(directory / "blocks")
        self.checkpoints = {
            name: self._checkpoint(directory / f"checkpoint-{name}", share * log_frequencies)
            for name, share in SHARES.items()
        }
        self.models = {name: self.export(name, directory / f"model-{name}") for name in SHARES}

    def evaluate(self, name: str, pushed_to: PushedTo, **params: Any) -> Evaluate:
        """The step that evaluates a model; none of them beats the word frequencies."""
        params = {"bootstrap_resamples": 300, "sample_texts": (), "min_improvement_over_unigram": None} | params
        parts = self.corpus, self.blocks, self.tokenizer, self.checkpoints[name], pushed_to
        return Evaluate(*parts, 0.15, EvaluateParams(**params))

    def evaluated(self, name: str, pushed_to: PushedTo, out: Path, **params: Any) -> Evaluation:
        """What that step leaves."""
        out.mkdir(parents=True)
        self.evaluate(name, pushed_to, **params).run(out)
        manifest.write(out, {"type": "Evaluation", "component": "evaluate", "key": "0", "params": {}})
        return Evaluation(out)

    def held_against(self, evaluation: Evaluation, out: Path, identity: str | None, **more: Any) -> Evaluation:
        """The evaluation as it would be, had its model been held against another, and beaten it."""
        shutil.copytree(evaluation.directory, out)
        baseline = None if identity is None else reports.ComparedModel("another", identity, "perplexity")
        blessing = dataclasses.replace(evaluation.blessing, baseline=baseline, **more)
        reports.write(out / "blessing.json", blessing)
        manifest.write(out, {"type": "Evaluation", "component": "evaluate", "key": "0", "params": {}})
        return Evaluation(out)

    def push(self, name: str, evaluation: Evaluation, params: PushParams, model: ServingModel | None = None) -> Push:
        """The step that pushes it."""
        model = model or self.models[name]
        parts = self.checkpoints[name], self.tokenizer, self.corpus, self.blocks
        return Push(model, self._blessing(model), evaluation, *parts, params)

    def export(self, name: str, directory: Path) -> ServingModel:
        """A SavedModel that answers as the checkpoint does, in the one signature that a baseline is asked by."""

        from components.modeling.checkpoint import load_masked_lm
        from serving.graph.signatures import TokenSignatures

        tokenizer = self.tokenizer.load()
        model = load_masked_lm(self.checkpoints[name].model_directory)
        module = TokenSignatures(
            LibraryMaskedLM(model), tokenizer.mask_token_id, top_k=5, max_sequence_length=BLOCK_SIZE
        )
        module.save(directory / "saved_model")
        tokenizer.save_pretrained(directory / "saved_model/assets.extra/tokenizer")
        reports.write(directory / "report.json", complete.serving_model())
        manifest.write(directory, {"type": "ServingModel", "component": "export", "key": "0", "params": {}})
        return ServingModel(directory)

    def _blessing(self, model: ServingModel) -> InfraBlessing:
        return bless(model.directory.with_name(f"{model.directory.name}-blessing"), model)

    def _blocks(self, directory: Path) -> tuple[Blocks, np.ndarray]:
        """Blocks of frequent and rare tokens, a record each, and the logarithms of the tokens' frequencies."""
        from datasets import Dataset, DatasetDict, Features, Value
        from datasets import Sequence as List

        vocabulary = len(self.tokenizer.load())
        drawn = np.random.default_rng(1).zipf(1.3, (RECORDS, BLOCK_SIZE)) + SPECIAL - 1
        ids = np.minimum(drawn, vocabulary - 1).astype(np.int32)
        features = Features({"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))})
        columns = {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}
        split = Dataset.from_dict(columns, features=features)
        DatasetDict({"train": split, "test": split}).save_to_disk(directory / "dataset")
        for name in ("train", "test"):
            with RecordWriter(directory / "records" / f"{name}.arrow") as records:
                size = np.full(RECORDS, BLOCK_SIZE)
                records.write(np.arange(RECORDS), size, size * 4, size * 5)
        reports.write(directory / "report.json", complete.blocks(BLOCK_SIZE))
        manifest.write(directory, {"type": "Blocks"})
        return Blocks(directory), np.log(np.bincount(ids.reshape(-1), minlength=vocabulary) + 1)

    def _checkpoint(self, directory: Path, bias: np.ndarray) -> Checkpoint:
        from components.modeling.checkpoint import build_masked_lm, save_masked_lm

        shutil.copytree(self.made.checkpoint.directory, directory)
        tokenizer = self.tokenizer.load()
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        sizes |= {"max_position_embeddings": 40, "initializer_range": 1e-6}
        model = build_masked_lm("roberta", sizes, tokenizer, seed=1)
        for name, values in (("initial", 0 * bias), ("model", bias)):
            model.lm_head.bias.assign(values)
            shutil.rmtree(directory / name)
            save_masked_lm(model, tokenizer, directory / name)
        manifest.write(directory, {"type": "Checkpoint", "component": "train", "key": "0", "params": {}})
        return Checkpoint(directory)
