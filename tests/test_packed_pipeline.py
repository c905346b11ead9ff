"""Documents kept apart from the corpus to the metrics: equal losses, equal questions, and refusals before any work."""

import json

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, List, Value

from components.blocks.params import PreprocessParams
from components.contract import manifest
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate, EvaluateParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams
from components.train import Train
from components.training.inputs import PlannedInputs
from components.training.params import TrainParams
from foundation.errors import ConfigError

BLOCK_SIZE = 32
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["stars", "shine", "because", "water", "boils", "quickly", "never", "and", "functions", "return", "lists"]


def made(directory, kind):
    manifest.write(directory, {"type": kind.__name__})
    return kind(directory)


def run(step, directory, kind):
    directory.mkdir()
    step.run(directory)
    return made(directory, kind)


def texts(count, seed):
    random = np.random.default_rng(seed)
    lengths = np.minimum(random.lognormal(2, 0.8, count).astype(int) + 1, 90)  # some are longer than a block
    return [" ".join(random.choice(WORDS, length)) for length in lengths]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    splits = {name: Dataset.from_dict({"text": texts(*of)}) for name, of in (("train", (90, 0)), ("test", (60, 1)))}
    DatasetDict(splits).save_to_disk(directory / "dataset")
    return made(directory, Corpus)


@pytest.fixture(scope="module")
def tokenizer(corpus, tmp_path_factory):
    params = TokenizerParams(vocab_size=290)
    return run(PrepareTokenizer(corpus, "text", params), tmp_path_factory.mktemp("tokenizer") / "out", Tokenizer)


def preprocessed(corpus, tokenizer, directory, packing):
    params = PreprocessParams("text", BLOCK_SIZE, packing)
    return run(Preprocess(corpus, tokenizer, params), directory, Blocks)


@pytest.fixture(scope="module")
def by_packing(corpus, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("blocks")
    names = ("concatenate", "documents", "packed")
    return {name: preprocessed(corpus, tokenizer, directory / name, name) for name in names}


def train_params(**changed):
    params = {
        "model_type": "roberta",
        "model_config": {**SIZES, "max_position_embeddings": BLOCK_SIZE + 2},
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 1e-3,
    }
    return TrainParams(**(params | changed))


@pytest.fixture(scope="module")
def checkpoints(by_packing, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    return {
        packing: run(
            Train(by_packing[packing], tokenizer, train_params(whole_word_mask=True)), directory / packing, Checkpoint
        )
        for packing in ("documents", "packed")
    }


def test_the_blocks(by_packing, corpus, tokenizer):
    packed, documents, concatenated = (by_packing[name] for name in ("packed", "documents", "concatenate"))
    assert packed.split("train").column_names == ["input_ids", "attention_mask", "document_ids"]
    assert packed.split("test").column_names == documents.split("train").column_names == ["input_ids", "attention_mask"]
    assert packed.split("test")[:] == documents.split("test")[:]
    train = packed.split("train").with_format("numpy")[:]
    np.testing.assert_array_equal(train["attention_mask"], train["document_ids"] > 0)
    assert packed.split("train").features["document_ids"] == List(Value("int16"), length=BLOCK_SIZE)

    reports = {name: blocks.read_json("report.json") for name, blocks in by_packing.items()}
    tokens = reports["concatenate"]["splits"]["train"]["tokens"]
    for name in ("packed", "documents"):
        told = reports[name]["splits"]["train"]
        assert (told["tokens"], told["tokens_kept"], told["tokens_dropped"]) == (tokens, tokens, 0)
        assert told["blocks"] * BLOCK_SIZE == tokens + told["padding"]
        assert f"{told['padding'] / told['blocks'] / BLOCK_SIZE:.1%}" in by_packing[name].summary
        mask = by_packing[name].split("train").with_format("numpy")[:]["attention_mask"]
        np.testing.assert_allclose(by_packing[name].tokens_a_block, mask.sum(axis=1).mean())
    assert packed.tokens_a_block / BLOCK_SIZE > 0.9 > documents.tokens_a_block / BLOCK_SIZE
    assert (concatenated.packing, concatenated.tokens_a_block) == ("concatenate", BLOCK_SIZE)
    assert "packing" not in reports["concatenate"]
    assert "padding" not in reports["concatenate"]["splits"]["train"]
    backend = tokenizer.load()
    expected = backend(corpus.split("train")["text"][:])["input_ids"]
    found = [
        row[numbers == number].tolist()
        for row, numbers in zip(train["input_ids"], train["document_ids"], strict=True)
        for number in range(1, numbers.max() + 1)
    ]
    pieces = [ids[start : start + BLOCK_SIZE] for ids in expected for start in range(0, len(ids), BLOCK_SIZE)]
    assert sorted(found) == sorted(pieces)


def test_a_packed_loss_is_that_of_each_document_alone(by_packing, tokenizer):
    """Dropout off, the same masks: sums over packed rows equal sums over documents in rows of their own."""
    import tensorflow as tf

    from components.masking.masking import IGNORED_LABEL, MaskingCollator
    from components.modeling.checkpoint import build_masked_lm
    from components.modeling.library.documents_apart import keep_documents_apart
    from components.training.batches import batches
    from components.training.training_model import MaskedLMTraining

    loaded = tokenizer.load()
    model = build_masked_lm("roberta", train_params().model_config | {"initializer_range": 0.3}, loaded, seed=3)
    training = MaskedLMTraining(model, BLOCK_SIZE)
    blocks = by_packing["packed"].split("train")
    blocks = blocks.select(range(len(blocks) - 8, len(blocks)))  # those of the shortest documents
    inputs, labels = next(iter(batches(model, blocks, 8, MaskingCollator(loaded, 0.3, 0), np.arange(8))))
    numbers, seen, labels = inputs["attention_mask"].numpy(), inputs["input_ids"].numpy(), labels.numpy()
    assert numbers.max() > 2
    assert not ((numbers == 0) & (labels != IGNORED_LABEL)).any()
    alone = tuple(np.full((int(numbers.max(axis=1).sum()), BLOCK_SIZE), each, np.int32) for each in (1, 0, -100))
    row = 0
    for block in range(len(numbers)):
        for number in range(1, numbers[block].max() + 1):
            inside = numbers[block] == number
            for array, values in zip(alone, (seen, np.ones_like(seen), labels), strict=True):
                array[row, : inside.sum()] = values[block, inside]
            row += 1
    expected = training.total_loss(({"input_ids": alone[0], "attention_mask": alone[1]}, tf.constant(alone[2])), False)
    crossing = training.total_loss(({**inputs, "attention_mask": tf.ones_like(numbers)}, tf.constant(labels)), False)
    keep_documents_apart(model)
    packed = training.total_loss((inputs, tf.constant(labels)), False)
    np.testing.assert_allclose(packed, expected, rtol=1e-5)
    assert abs(float(crossing[0]) / float(expected[0]) - 1) > 1e-3


def test_training_and_evaluation(corpus, by_packing, tokenizer, checkpoints, tmp_path):
    """The questions don't depend on how training was packed, and padding is never one."""
    params = EvaluateParams(
        slice_column=None, pseudo_log_likelihood_blocks=2, sample_texts=(), contamination_ngram=4, baseline=None
    )
    evaluations = {}
    for packing, checkpoint in checkpoints.items():
        report = checkpoint.read_json("report.json")
        assert report["packing"] == packing
        assert report["share_of_padding"] == round(1 - by_packing[packing].tokens_a_block / BLOCK_SIZE, 4)
        assert checkpoint.read_json("history.json")[0]["val_loss"] > 0
        places = PushedTo(str(tmp_path), "none")
        step = Evaluate(corpus, by_packing[packing], tokenizer, checkpoint, places, 0.15, params)
        evaluations[packing] = run(step, tmp_path / packing, Evaluation)
    hows = [each.read_json("metrics.json")["how"] for each in evaluations.values()]
    assert hows[0]["masks_digest"] == hows[1]["masks_digest"]
    assert [how["packing"] for how in hows] == ["documents", "packed"]

    blocks = by_packing["packed"].split("test").with_format("numpy")[:]
    loaded, directory = tokenizer.load(), evaluations["packed"].directory
    with np.load(directory / "masks.npz") as masks, np.load(directory / "scores.npz") as scores:
        assert (blocks["attention_mask"][masks["block"], masks["position"]] == 1).all()
        assert not np.isin(masks["label"], loaded.all_special_ids).any()
        pieces = np.repeat(
            np.arange(60), [-(-len(ids) // BLOCK_SIZE) for ids in loaded(corpus.split("test")["text"][:])["input_ids"]]
        )
        np.testing.assert_array_equal(scores["record"], pieces[masks["block"]])
    metrics = evaluations["packed"].metrics
    assert metrics["pseudo_perplexity_after"] > 1
    assert metrics["bits_per_character_after"] > 0
    assert 0 < metrics["contaminated_blocks"] < metrics["blocks"]


def test_a_baseline_with_another_tokenizer_reads_documents_too(corpus, by_packing, tokenizer, checkpoints, tmp_path):
    from components.evaluation.baseline_answers import own_questions
    from components.evaluation.params import QuestionSettings

    other = run(PrepareTokenizer(corpus, "text", TokenizerParams(vocab_size=270)), tmp_path / "other", Tokenizer).load()
    questions = own_questions(other, corpus, by_packing["packed"], BLOCK_SIZE, QuestionSettings(0.15, 0, None))
    lengths = [-(-len(ids) // BLOCK_SIZE) for ids in other(corpus.split("test")["text"][:])["input_ids"]]
    np.testing.assert_array_equal(questions.record, np.repeat(np.arange(60), lengths)[questions.masks.block])
    assert (questions.attention_mask[questions.masks.block, questions.masks.position] == 1).all()
    assert (questions.attention_mask == 0).any()


@pytest.mark.parametrize(
    ("model_type", "changed"),
    [("distilbert", {}), ("convbert", {}), ("roformer", {"model_config": {"rotary_value": True}})],
)
def test_architectures_that_mix_documents_are_refused_before_any_work(model_type, changed):
    params = train_params(**({"model_type": model_type, "model_config": {}} | changed))
    Train(Blocks(None), Tokenizer(None), params).preflight()
    with pytest.raises(ConfigError, match=rf"preprocess\.packing packed.*{model_type}.*train\.model_type"):
        Train(Blocks(None), Tokenizer(None), params, PlannedInputs(packing="packed")).preflight()


def test_a_checkpoint_that_mixes_documents_is_refused(by_packing, tokenizer, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "distilbert"}))
    (tmp_path / "tf_model.h5").write_bytes(b"")
    params = train_params(pretrained=str(tmp_path), model_type=None, model_config={})
    with pytest.raises(ConfigError, match=r"preprocess\.packing packed.*distilbert"):
        Train(Blocks(None), Tokenizer(None), params, PlannedInputs(packing="packed")).preflight()


def test_wrong_settings_and_tokenizers_are_refused(corpus, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=r"preprocess\.packing must be one of concatenate, documents, packed"):
        PreprocessParams(packing="tight")
    with pytest.raises(ConfigError, match=r"preprocess\.block_size must be at most 32,767 where preprocess\.packing"):
        PreprocessParams(block_size=40_000, packing="packed")
    loaded = tokenizer.load()
    loaded.pad_token = None
    loaded.save_pretrained(tmp_path / "tokenizer")
    for packing in ("documents", "packed"):
        step = Preprocess(corpus, Tokenizer(tmp_path), PreprocessParams("text", 16, packing))
        with pytest.raises(ConfigError, match=rf"must have a padding token where preprocess\.packing is {packing}"):
            step.run(tmp_path)
