"""The evaluation step on a real two-layer model, recomputed independently with the dense head."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import components.evaluation.shared_scoring
from components.contract import manifest, reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate
from components.evaluation.params import EvaluateParams
from components.evaluation.questions import questions_of_test_split
from components.evaluation.training_split import Unigram
from components.masking.frozen_masks import FrozenMasks, freeze_masks
from components.modeling.library.adapter import LibraryMaskedLM
from foundation.errors import ConfigError, DataError, ModelError
from foundation.perplexity import perplexity_text
from tests import reports as complete
from tests.pickling_workers import PicklingWorkers
from tests.written_blocks import write_blocks

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY, BLOCK_SIZE, MASK, SPECIAL = 300, 32, 4, [0, 1, 2, 3, 4]


def finish(directory, kind):
    """The artifact that a step would have left in a directory."""
    manifest.write(directory, {"type": kind.__name__})
    return kind(directory)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer as Rust
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = specials + [f"word{number}" for number in range(VOCABULARY - len(specials))]
    rust = Rust(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    directory = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=rust,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(directory / "tokenizer")
    return finish(directory, Tokenizer)


@pytest.fixture(scope="module")
def ids():
    """Test blocks (50, BLOCK_SIZE) with frequent and rare words, and special tokens at their ends."""
    random = np.random.default_rng(1)
    ids = np.minimum(random.zipf(1.3, (50, BLOCK_SIZE)) + 4, VOCABULARY - 1).astype(np.int32)
    ids[:, 0], ids[:, -1] = 0, 2
    return ids


@pytest.fixture(scope="module")
def blocks(tmp_path_factory, ids):
    return write_blocks(tmp_path_factory.mktemp("blocks"), ids[:40], ids)


def save_model(directory, seed, favourite=None):
    import tensorflow as tf
    from transformers import RobertaConfig, TFRobertaForMaskedLM

    tf.keras.utils.set_random_seed(seed)
    model = TFRobertaForMaskedLM(
        RobertaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=BLOCK_SIZE + 2,
            initializer_range=0.5,
        )
    )
    model(tf.zeros((1, BLOCK_SIZE), tf.int32))
    if favourite is not None:
        bias = np.zeros(VOCABULARY, np.float32)
        if favourite < 0:
            bias[:] = -3e38  # finite, but their distance from the favourite's isn't
        bias[favourite] = 3e38 if favourite < 0 else 3
        model.lm_head.bias.assign(bias)
    model.save_pretrained(directory)


def write_checkpoint(directory, has_new_head=False, **after):
    save_model(directory / "initial", seed=1)
    reports.write(directory / "report.json", complete.training(has_new_head=has_new_head))
    save_model(directory / "model", **({"seed": 1} | after))
    return finish(directory, Checkpoint)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Before: random. After: the same, but inclined towards the most frequent word."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), favourite=5)


def write_corpus(directory, texts):
    from datasets import Dataset, DatasetDict

    rows = {"text": texts, "category": [["odd", "even"][number % 2] for number in range(len(texts))]}
    rows["lists"] = [["a"] for _ in texts]
    split = Dataset.from_dict(rows)
    DatasetDict({"train": split, "test": split}).save_to_disk(directory / "dataset")
    return finish(directory, Corpus)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, ids):
    texts = [" ".join(f"word{token - len(SPECIAL)}" for token in row[1:-1]) for row in ids.tolist()]
    return write_corpus(tmp_path_factory.mktemp("corpus"), texts)


def test_workers_give_the_same_evaluation(tmp_path, monkeypatch, corpus, blocks, tokenizer, checkpoint):
    monkeypatch.setattr(components.evaluation.shared_scoring, "LEAST_OPERATIONS", 0)
    params = EvaluateParams(batch_size=8, sample_texts=("word1 <mask>",), bootstrap_resamples=100)
    step = Evaluate(corpus, blocks, tokenizer, checkpoint, PushedTo(str(tmp_path)), 0.15, params)
    workers = PicklingWorkers(3)
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    step.run(tmp_path / "alone")
    step.run_with(tmp_path / "shared", workers)
    assert manifest.describe_files(tmp_path / "shared") == manifest.describe_files(tmp_path / "alone")
    assert workers.items[:4] == [range(0, 2), range(2, 4), range(4, 6), range(6, 7)]


@pytest.mark.slow
def test_a_random_head_is_no_start_to_be_better_than(tmp_path, blocks, tokenizer):
    headless = write_checkpoint(tmp_path / "checkpoint", has_new_head=True, favourite=5)
    evaluation = evaluate(tmp_path / "evaluation", blocks, tokenizer, headless)
    assert [check.name for check in evaluation.blessing.checks] == ["improvement_over_unigram"]
    assert " before (with a random head), " in evaluation.summary
    without = evaluate(tmp_path / "alone", blocks, tokenizer, headless, min_improvement_over_unigram=None)
    assert [check.name for check in without.blessing.checks] == ["improvement_over_start"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"slice_column": "categroy"},
            r"slice_column, for example to category \(such .*: text, category",
        ),
        ({"slice_column": "lists"}, "holds lists"),
    ],
)
def test_a_wrong_slice_column_is_refused_once_there_is_a_corpus(tmp_path, corpus, params, message):
    later = Blocks(None), Tokenizer(None), Checkpoint(None), PushedTo(str(tmp_path)), 0.15, EvaluateParams(**params)
    Evaluate(Corpus(None), *later).preflight()
    with pytest.raises(DataError, match=message):
        Evaluate(corpus, *later).preflight()


def test_an_empty_test_split_is_refused_once_there_are_blocks(tmp_path, corpus, ids):
    empty = write_blocks(tmp_path / "blocks", ids, ids[:0])
    step = Evaluate(corpus, empty, Tokenizer(None), Checkpoint(None), PushedTo(str(tmp_path)), 0.15, EvaluateParams())
    with pytest.raises(DataError, match=r"at least one block.*--ingest\.test_size"):
        step.preflight()


@pytest.fixture(scope="module", autouse=True)
def corpus_directory(corpus):
    """Where `evaluate` finds the corpus."""
    evaluate.corpus = corpus


def evaluate(directory, blocks, tokenizer, checkpoint, pushed_to=None, **params):
    directory.mkdir(exist_ok=True)
    places = pushed_to or PushedTo(str(directory / "nowhere"))
    params = {"bootstrap_resamples": 500, "sample_texts": ("word1 <mask> word2",)} | params
    Evaluate(evaluate.corpus, blocks, tokenizer, checkpoint, places, 0.15, EvaluateParams(**params)).run(directory)
    manifest.write(directory, {"type": "Evaluation"})
    return Evaluation(directory)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, blocks, tokenizer, checkpoint):
    return evaluate(tmp_path_factory.mktemp("evaluation"), blocks, tokenizer, checkpoint)


@pytest.mark.parametrize(("moment", "folder"), [("before", "initial"), ("after", "model")])
def test_anyone_can_recompute_the_metrics_from_the_artifacts(evaluation, checkpoint, ids, moment, folder):
    from transformers import TFRobertaForMaskedLM

    with np.load(evaluation.directory / "masks.npz") as masks:
        seen = ids.copy()
        seen[masks["block"], masks["position"]] = masks["input_id"]
        logits = TFRobertaForMaskedLM.from_pretrained(checkpoint.directory / folder)(seen).logits.numpy()
        at = logits[masks["block"], masks["position"]].astype(np.float64)  # (tokens, VOCABULARY)
        probabilities = np.exp(at) / np.exp(at).sum(axis=1, keepdims=True)
        labels = masks["label"]
    assert (ids[masks_at(evaluation)] == labels).all()
    true = probabilities[np.arange(len(labels)), labels]
    ranked = np.argsort(-probabilities, axis=1)
    metrics = evaluation.metrics
    assert metrics[f"cross_entropy_{moment}"] == pytest.approx(-np.log(true).mean(), rel=1e-5)
    assert metrics[f"perplexity_{moment}"] == pytest.approx(math.exp(-np.log(true).mean()), rel=1e-5)
    ending = "" if moment == "after" else f"_{moment}"
    assert metrics[f"top1_accuracy{ending}"] == pytest.approx((ranked[:, 0] == labels).mean(), abs=1e-9)
    assert metrics[f"top5_accuracy{ending}"] == pytest.approx(
        (ranked[:, :5] == labels[:, None]).any(1).mean(), abs=1e-9
    )


def test_equal_scores_are_equal_files(evaluation):
    """The file's bytes are in the artifact's digest, and the order of its arrays in the bytes."""
    with np.load(evaluation.directory / "scores.npz") as scores:
        asked, guessed = (
            [name.removeprefix(begin) for name in scores.files if name.startswith(begin)]
            for begin in ("log_probability_", "top_id_")
        )
    assert guessed == [name for name in asked if name != "unigram"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_anyone_can_recompute_the_calibration_from_the_artifacts(evaluation, moment):
    labels = FrozenMasks.load(evaluation.directory / "masks.npz").label
    with np.load(evaluation.directory / "scores.npz") as scores:
        confidences = np.exp(scores[f"top_log_probability_{moment}"].astype(float))
        right = scores[f"top_id_{moment}"] == labels
        true = np.exp(scores[f"log_probability_{moment}"].astype(float))
    assert np.allclose(confidences[right], true[right])  # the first guess is the true token
    assert (true <= confidences * (1 + 1e-6)).all()
    [found] = [each for each in evaluation.report.calibration if each.model == moment]
    error = 0.0
    for part in found.bins:
        inside = (confidences > part.low) & (confidences <= part.high)
        assert part.masked_tokens == inside.sum()
        if inside.any():
            assert part.confidence == pytest.approx(confidences[inside].mean())
            assert part.accuracy == pytest.approx(right[inside].mean())
            error += inside.mean() * abs(confidences[inside].mean() - right[inside].mean())
    assert found.expected_calibration_error == pytest.approx(error)
    assert evaluation.metrics[f"expected_calibration_error_{moment}"] == found.expected_calibration_error


def test_the_tokens_that_the_model_is_worst_at_by_hand(evaluation, tokenizer):
    labels = FrozenMasks.load(evaluation.directory / "masks.npz").label
    with np.load(evaluation.directory / "scores.npz") as scores:
        loss, unigram = (-scores[f"log_probability_{name}"].astype(float) for name in ("after", "unigram"))
    texts = {token: tokenizer.load().decode([token]) for token in set(labels.tolist())}
    excess = {text: (loss - unigram)[labels == token].sum() for token, text in texts.items()}
    means = {text: loss[labels == token].mean() for token, text in texts.items() if (labels == token).sum() >= 10}
    worst = evaluation.worst_tokens
    expected = sorted((value for value in excess.values() if value > 0), reverse=True)[:15]
    assert [each.excess_loss for each in worst.by_excess_loss] == pytest.approx(expected)
    assert [each.mean_loss for each in worst.by_mean_loss] == pytest.approx(sorted(means.values(), reverse=True)[:15])
    assert expected
    assert means
    for each in (*worst.by_excess_loss, *worst.by_mean_loss):
        assert each.excess_loss == pytest.approx(excess[each.token_str])
        assert each.mean_loss - each.mean_loss_unigram == pytest.approx(each.excess_loss / each.masked_tokens)
        assert 0 < each.example.probability <= each.example.guess.score * (1 + 1e-6)


def test_an_evaluation_of_an_earlier_version_has_no_diagnostics(evaluation, tmp_path):
    metrics = json.loads((evaluation.directory / "metrics.json").read_text())
    del metrics["calibration"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    earlier = finish(tmp_path, Evaluation)
    assert earlier.report.calibration == ()
    assert earlier.worst_tokens is None


def masks_at(evaluation):
    masks = FrozenMasks.load(evaluation.directory / "masks.npz")
    return masks.block, masks.position


def test_the_unigram_baseline_by_hand(evaluation, ids):
    labels = FrozenMasks.load(evaluation.directory / "masks.npz").label
    words = [int(token) for token in ids[:40].reshape(-1) if token not in SPECIAL]
    total = len(words) + VOCABULARY - len(SPECIAL)
    entropy = -sum(math.log((words.count(int(label)) + 1) / total) for label in labels) / len(labels)
    assert evaluation.metrics["cross_entropy_unigram"] == pytest.approx(entropy, rel=1e-9)
    assert evaluation.metrics["perplexity_unigram"] == pytest.approx(math.exp(entropy), rel=1e-9)
    frequent = sorted(range(5, VOCABULARY), key=lambda token: -words.count(token))[:5]
    assert evaluation.metrics["top1_accuracy_unigram"] == pytest.approx((labels == frequent[0]).mean())
    assert evaluation.metrics["top5_accuracy_unigram"] == pytest.approx(np.isin(labels, frequent).mean())


@pytest.mark.slow
def test_measuring_needs_no_home_directory():
    code = (
        "import numpy as np; from components.evaluation.measuring import measure; "
        "labels = np.arange(3); tops = np.tile(np.arange(5), (3, 1)); "
        "print(measure(np.log([0.5, 0.5, 0.5]), tops, labels, 'after'))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": os.devnull, "USE_TF": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "'top5_accuracy_after': 1.0" in done.stdout, done.stderr


def test_the_smoothed_frequencies_are_a_distribution():
    unigram = Unigram.count([np.array([[0, 2], [2, 3]])], vocabulary_size=5, special_ids=[0])
    np.testing.assert_allclose(np.exp(unigram.log_probabilities), [0, 1 / 7, 3 / 7, 2 / 7, 1 / 7])
    assert unigram.top(3).tolist() == [2, 3, 1]


def test_the_report_says_what_came_out_and_how(evaluation, tokenizer):
    content = json.loads((evaluation.directory / "metrics.json").read_text())
    metrics = content["metrics"]
    assert sorted(evaluation.manifest["files"]) == [
        "blessing.json", "masks.npz", "metrics.json", "samples.json", "scores.npz", "worst_tokens.json"
    ]  # fmt: skip
    assert evaluation.summary == (
        "perplexity "
        + ", ".join(
            f"{perplexity_text(metrics[f'perplexity_{name}'])} {name}" for name in ("before", "after", "unigram")
        )
        + "; worse than guessing by word frequency; not blessed"
    )
    assert metrics["masked_tokens"] == len(masks_at(evaluation)[0])
    assert metrics["blocks"] == 50
    assert content["how"]["tokenizer_digest"] == tokenizer.digest
    assert content["how"]["masks_digest"] == FrozenMasks.load(evaluation.directory / "masks.npz").digest
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_worse_model_has_a_worse_perplexity(evaluation):
    assert evaluation.metrics["perplexity_after"] < 0.9 * evaluation.metrics["perplexity_before"]


@pytest.mark.parametrize("batch_size", [7, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 64))])
def test_the_batch_size_changes_nothing(evaluation, tmp_path, blocks, tokenizer, checkpoint, batch_size):
    other = evaluate(tmp_path, blocks, tokenizer, checkpoint, batch_size=batch_size)
    assert other.metrics == pytest.approx(evaluation.metrics, rel=1e-6)
    assert (other.directory / "masks.npz").read_bytes() == (evaluation.directory / "masks.npz").read_bytes()


def test_some_blocks_stand_for_the_whole_split(tmp_path, blocks, tokenizer, checkpoint, ids):
    some = evaluate(tmp_path, blocks, tokenizer, checkpoint, max_blocks=4)
    masks = FrozenMasks.load(tmp_path / "masks.npz")
    assert some.metrics["blocks"] == 4
    assert set(masks.block) == {0, 12, 25, 37}
    assert (ids[masks.block, masks.position] == masks.label).all()


def test_a_model_that_answers_nan_is_an_error_and_leaves_no_metrics(tmp_path, blocks, tokenizer):
    broken = write_checkpoint(tmp_path / "checkpoint", favourite=-1)
    with pytest.raises(ModelError, match=r"no finite probability at .* masked tokens, after"):
        evaluate(tmp_path / "out", blocks, tokenizer, broken)
    assert not list((tmp_path / "out").iterdir())


def test_a_test_split_without_blocks_is_refused(tmp_path, tokenizer, checkpoint, ids):
    empty = write_blocks(tmp_path / "blocks", ids, ids[:0])
    with pytest.raises(DataError, match=r"at least one block.*--ingest.test_size"):
        evaluate(tmp_path / "out", empty, tokenizer, checkpoint)


def test_blocks_in_which_nothing_can_be_masked_are_refused(tmp_path, tokenizer, checkpoint, ids):
    special = write_blocks(tmp_path / "blocks", ids, np.full((2, BLOCK_SIZE), 2, np.int32))
    with pytest.raises(DataError, match="at least one token of the test split must be masked"):
        evaluate(tmp_path / "out", special, tokenizer, checkpoint)


def test_tokens_beyond_the_models_vocabulary_are_refused(tmp_path, tokenizer, checkpoint, ids):
    beyond = ids.copy()
    beyond[3, 3] = VOCABULARY
    with pytest.raises(ModelError, match=f"token id {VOCABULARY} for a model of {VOCABULARY} tokens"):
        evaluate(tmp_path / "out", write_blocks(tmp_path / "blocks", ids, beyond), tokenizer, checkpoint)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", -1), ("batch_size", 0), ("max_blocks", 0), ("confidence", 1.0), ("bootstrap_resamples", 99),
     ("max_perplexity", 1.0), ("min_improvement_over_start", 1.0), ("min_improvement_over_unigram", math.inf),
     ("min_improvement_over_baseline", math.nan), ("baseline", " "),
     ("slice_column", ""), ("contamination_ngram", 1), ("pseudo_log_likelihood_blocks", -1),
     ("sample_texts", ("no mask",))],
)  # fmt: skip
def test_wrong_params_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"evaluate.{key} .*--evaluate.{key}"):
        EvaluateParams(**{key: value})


def test_the_rate_is_that_of_the_masks_and_part_of_the_key(tmp_path, blocks, tokenizer, checkpoint):
    steps = [
        Evaluate(evaluate.corpus, blocks, tokenizer, checkpoint, PushedTo(str(tmp_path)), rate, EvaluateParams())
        for rate in (0.15, 0.3)
    ]
    assert steps[0].key({}) != steps[1].key({})
    counts = [len(questions_of_test_split(blocks, tokenizer.load(), step.question_settings).masks) for step in steps]
    assert counts[1] == pytest.approx(2 * counts[0], rel=0.02)


def draw(ids, probability=0.15, seed=0):
    return freeze_masks(
        ids, special_ids=SPECIAL, mask_token_id=MASK, vocabulary_size=VOCABULARY, probability=probability, seed=seed
    )


@given(
    ids=st.lists(st.lists(st.integers(0, 20), min_size=6, max_size=6), max_size=30),
    probability=st.floats(0.01, 1),
    seed=st.integers(0, 2**40),
)
@settings(deadline=None)
def test_masks_are_frozen_and_never_on_special_tokens(ids, probability, seed):
    ids = np.array(ids, np.int32).reshape(-1, 6)
    masks, again = draw(ids, probability, seed), draw(ids.copy(), probability, seed)
    assert masks.digest == again.digest
    assert not set(masks.label) & set(SPECIAL)
    assert (ids[masks.block, masks.position] == masks.label).all()
    seen = masks.apply(ids)
    elsewhere = np.ones_like(ids, bool)
    elsewhere[masks.block, masks.position] = False
    assert (seen == ids)[elsewhere].all()
    assert (seen[masks.block, masks.position] == masks.input_id).all()
    if probability == 1:
        assert len(masks) == (~np.isin(ids, SPECIAL)).sum()


def test_masks_follow_the_80_10_10_rule_at_the_probability_asked():
    ids = np.random.default_rng(3).integers(5, VOCABULARY, (9000, 64), dtype=np.int32)  # more than two chunks
    masks = draw(ids)
    assert len(masks) / ids.size == pytest.approx(0.15, abs=0.003)
    masked, kept = masks.input_id == MASK, masks.input_id == masks.label
    replaced = ~masked & ~kept
    assert [masked.mean(), replaced.mean(), kept.mean()] == pytest.approx([0.8, 0.1, 0.1], abs=0.006)
    assert np.ptp(np.bincount(masks.input_id[replaced], minlength=VOCABULARY)) < 90  # random words, all alike
    counts = np.bincount(masks.block, minlength=len(ids))
    assert draw(ids, seed=1).digest != masks.digest
    assert set(counts) == {9, 10}  # 64 x 0.15 is 9.6


def test_masks_are_the_same_in_another_process(ids):
    code = (
        "import numpy as np; from components.masking.frozen_masks import freeze_masks; "
        f"ids = np.array({ids.tolist()}, np.int32); "
        f"print(freeze_masks(ids, special_ids={SPECIAL}, mask_token_id={MASK}, vocabulary_size={VOCABULARY}, "
        "probability=0.15, seed=7).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == draw(ids, seed=7).digest, done.stderr


def test_masks_come_back_from_disk(tmp_path, ids):
    masks = draw(ids)
    masks.save(tmp_path / "masks.npz")
    loaded = FrozenMasks.load(tmp_path / "masks.npz")
    assert loaded.digest == masks.digest
    assert len(loaded) == len(masks)


def recomputed(evaluation, name="after"):
    """Mean loss by record: its sums and counts, from the artifact's own answers."""
    with np.load(evaluation.directory / "scores.npz") as scores:
        record, loss = scores["record"], -scores[f"log_probability_{name}"].astype(np.float64)
    return np.bincount(record, loss, minlength=50), np.bincount(record, minlength=50)


def test_anyone_can_recompute_an_interval_from_the_artifacts(tmp_path, blocks, tokenizer, checkpoint):
    evaluation = evaluate(tmp_path, blocks, tokenizer, checkpoint, bootstrap_resamples=10_000)
    loss, masked = recomputed(evaluation)
    random = np.random.default_rng(123)
    drawn = random.integers(0, 50, (10_000, 50))
    perplexities = np.exp(loss[drawn].sum(axis=1) / masked[drawn].sum(axis=1))
    expected = np.quantile(perplexities, [0.025, 0.975])
    interval = evaluation.report.intervals["perplexity_after"]
    assert interval == pytest.approx(expected, rel=0.02)
    assert interval[0] < evaluation.metrics["perplexity_after"] < interval[1]


def test_bits_per_character_follow_from_the_cross_entropy(evaluation):
    metrics = evaluation.metrics  # 4 characters and 5 bytes a token, 30 of 32 tokens a record are text
    bits = metrics["cross_entropy_after"] / math.log(2)
    assert metrics["bits_per_character_after"] == pytest.approx(bits * 30 / 128, rel=1e-9)
    assert metrics["bits_per_byte_after"] == pytest.approx(bits * 30 / 160, rel=1e-9)


def slice_of(evaluation, group, name):
    return next(entry for entry in evaluation.report.slices if (entry.group, entry.name) == (group, name))


def test_slices_by_a_column_are_those_records(tmp_path, blocks, tokenizer, checkpoint):
    evaluation = evaluate(tmp_path, blocks, tokenizer, checkpoint, slice_column="category")
    loss, masked = recomputed(evaluation)
    for name, part in (("odd", slice(0, None, 2)), ("even", slice(1, None, 2))):
        entry = slice_of(evaluation, "category", name)
        assert entry.masked_tokens == masked[part].sum()
        assert entry.perplexity_after == pytest.approx(math.exp(loss[part].sum() / masked[part].sum()), rel=1e-9)
        assert entry.interval_after[0] < entry.perplexity_after < entry.interval_after[1]


def test_an_empty_slice_says_so(evaluation):
    entry = slice_of(evaluation, "record length", "over 512 tokens")
    assert (entry.masked_tokens, entry.perplexity_after, entry.interval_after) == (0, None, None)
    assert entry.note.startswith("empty: no masked token")


@pytest.mark.parametrize(("column", "message"), [("kategory", "must be a column"), ("lists", "one value a record")])
def test_a_column_that_cannot_slice_is_refused_by_name(tmp_path, blocks, tokenizer, checkpoint, column, message):
    with pytest.raises(DataError, match=rf"{message}.*--evaluate.slice_column, for example to .*: text, category"):
        evaluate(tmp_path, blocks, tokenizer, checkpoint, slice_column=column)


def test_blocks_that_stand_in_train_too_are_counted(evaluation):
    assert evaluation.metrics["contaminated_blocks"] == 40  # the train split is the test split's first 40 blocks


def test_pseudo_log_likelihood_is_one_mask_at_a_time(tmp_path, blocks, tokenizer, checkpoint, ids):
    from transformers import TFRobertaForMaskedLM

    evaluation = evaluate(tmp_path, blocks, tokenizer, checkpoint, pseudo_log_likelihood_blocks=2)
    model = TFRobertaForMaskedLM.from_pretrained(checkpoint.directory / "model")
    total, tokens = 0.0, 0
    for block in (0, 25):
        for position in np.nonzero(~np.isin(ids[block], SPECIAL))[0]:
            seen = ids[block : block + 1].copy()
            seen[0, position] = MASK
            logits = model(seen).logits.numpy()[0, position].astype(np.float64)
            total += logits[ids[block, position]] - np.log(np.exp(logits).sum())
            tokens += 1
    assert evaluation.metrics["pseudo_log_likelihood_after"] == pytest.approx(total / 2, rel=1e-5)
    assert evaluation.metrics["pseudo_perplexity_after"] == pytest.approx(math.exp(-total / tokens), rel=1e-5)


def test_a_model_that_training_made_worse_is_not_blessed(tmp_path, blocks, tokenizer):
    worse = write_checkpoint(tmp_path / "checkpoint", seed=1, favourite=250)
    evaluation = evaluate(tmp_path / "out", blocks, tokenizer, worse)
    assert not evaluation.blessed
    assert "% above that before training" in evaluation.verdict


def test_a_model_worse_than_counting_words_is_not_blessed_though_it_beats_its_start(evaluation):
    """And anyone can recompute the paired interval from the artifact's own answers."""
    assert evaluation.metrics["perplexity_after"] < 0.9 * evaluation.metrics["perplexity_before"]
    assert not evaluation.blessed
    assert evaluation.beside_counting == "worse than guessing by word frequency"
    assert evaluation.verdict.startswith("not blessed: worse than guessing by word frequency: perplexity ")
    assert "before training" not in evaluation.verdict
    (after, masked), (unigram, _) = recomputed(evaluation), recomputed(evaluation, "unigram")
    checks = {check.name: check for check in evaluation.blessing.checks}
    check = checks["improvement_over_unigram"]
    assert check.value == pytest.approx(math.exp((after - unigram).sum() / masked.sum()), rel=1e-9)
    drawn = np.random.default_rng(5).integers(0, 50, (10_000, 50))
    ratios = np.exp((after - unigram)[drawn].sum(axis=1) / masked[drawn].sum(axis=1))
    expected = np.quantile(ratios, [0.025, 0.975])
    assert [check.interval.low, check.interval.high] == pytest.approx(expected, rel=0.05)


def test_the_check_against_counting_words_can_be_turned_off_but_is_told(tmp_path, blocks, tokenizer, checkpoint):
    off = {"min_improvement_over_unigram": None, "min_improvement_over_baseline": None}
    evaluation = evaluate(tmp_path, blocks, tokenizer, checkpoint, **off)
    assert evaluation.blessed
    assert evaluation.must_beat is None
    assert evaluation.summary.endswith("unigram; worse than guessing by word frequency; blessed")


def test_too_few_test_records_are_never_a_pass(tmp_path, tokenizer, checkpoint, ids):
    evaluation = evaluate(tmp_path / "out", write_blocks(tmp_path / "blocks", ids, ids[:19]), tokenizer, checkpoint)
    assert not evaluation.blessed
    assert "needs at least 20 test records with masked tokens, and there are 19" in evaluation.verdict
    assert evaluation.report.intervals == {}
    assert evaluation.summary.endswith("; worse than guessing by word frequency; not blessed")


def test_the_same_weights_as_the_baseline_are_no_improvement(tmp_path, blocks, tokenizer, checkpoint):
    (tmp_path / "baseline").mkdir()
    for part in (checkpoint.directory / "model", tokenizer.directory / "tokenizer"):
        for path in part.iterdir():
            (tmp_path / "baseline" / path.name).write_bytes(path.read_bytes())
    evaluation = evaluate(tmp_path / "out", blocks, tokenizer, checkpoint, baseline=str(tmp_path / "baseline"))
    metrics = evaluation.metrics
    assert metrics["perplexity_baseline"] == pytest.approx(metrics["perplexity_after"], rel=1e-6)
    assert not evaluation.blessed
    assert evaluation.blessing.baseline.compared_by == "perplexity"
    assert evaluation.must_beat == str(tmp_path / "baseline")
    allowed = evaluate(
        tmp_path / "allowed", blocks, tokenizer, checkpoint,
        baseline=str(tmp_path / "baseline"), min_improvement_over_baseline=-0.01, min_improvement_over_unigram=None,
    )  # fmt: skip
    assert allowed.blessed


def test_a_baseline_with_another_tokenizer_is_compared_by_bits_per_character(
    tmp_path, blocks, tokenizer, checkpoint, ids
):
    from tokenizers.pre_tokenizers import WhitespaceSplit

    changed = tokenizer.load()
    changed.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    changed.save_pretrained(tmp_path / "baseline")
    for path in (checkpoint.directory / "model").iterdir():
        (tmp_path / "baseline" / path.name).write_bytes(path.read_bytes())
    evaluation = evaluate(
        tmp_path / "out", blocks, tokenizer, checkpoint, baseline=str(tmp_path / "baseline"), max_blocks=30
    )
    assert evaluation.blessing.baseline.compared_by == "bits per character"
    assert "which has another tokenizer" in evaluation.verdict
    metrics = evaluation.metrics
    assert "perplexity_baseline" not in metrics
    with np.load(evaluation.directory / "baseline.npz") as answers:
        loss = -answers["log_probability_baseline"].astype(np.float64).mean()
        record, text_tokens = np.unique(answers["record"]), answers["text_tokens"]
        assert set(answers["block"]) <= set(range(len(ids)))
    with np.load(evaluation.directory / "scores.npz") as scores:
        record = np.union1d(record, scores["record"])
    characters = len(record) * BLOCK_SIZE * 4  # as the fixture's records say
    expected = loss / math.log(2) * text_tokens[record].sum() / characters
    assert metrics["bits_per_character_baseline"] == pytest.approx(expected, rel=1e-6)


def test_a_baseline_that_is_none_is_told(tmp_path, blocks, tokenizer, checkpoint):
    (tmp_path / "baseline").mkdir()
    with pytest.raises(ModelError, match=r"evaluate\.baseline must be .* a checkpoint .*--evaluate\.baseline"):
        evaluate(tmp_path / "out", blocks, tokenizer, checkpoint, baseline=str(tmp_path / "baseline"))


def test_a_served_model_answers_as_its_checkpoint(tmp_path, blocks, tokenizer, checkpoint):

    from components.modeling.checkpoint import load_masked_lm
    from serving.graph.signatures import TokenSignatures

    module = TokenSignatures(
        LibraryMaskedLM(load_masked_lm(checkpoint.model_directory)), MASK, top_k=5, max_sequence_length=32
    )
    version = tmp_path / "serving/fill_mask/3"
    module.save(version)
    tokenizer.load().save_pretrained(version / "assets.extra/tokenizer")
    record = {"digest": "d", "blessed": True, "model_digest": "another", "files": {}}
    (version / "assets.extra/pushed.json").write_text(json.dumps(record))
    places = PushedTo(str(tmp_path / "serving/fill_mask"))
    evaluation = evaluate(tmp_path / "out", blocks, tokenizer, checkpoint, places)
    metrics = evaluation.metrics
    assert metrics["perplexity_baseline"] == pytest.approx(metrics["perplexity_after"], rel=1e-5)
    assert "the last blessed model (version 3 in fill_mask)" in evaluation.verdict
    step = Evaluate(evaluate.corpus, blocks, tokenizer, checkpoint, places, 0.15, EvaluateParams())
    name = "the last blessed model (version 3 in fill_mask)"
    assert dict(step.sources()) == {"baseline": "another", "baseline_name": name}
    assert (evaluation.must_beat, evaluation.compared_with) == ("last_blessed", "another")


def test_samples_are_answered_before_and_after(evaluation):
    (sample,) = evaluation.samples
    assert sample.text == "word1 <mask> word2"
    assert len(sample.before) == len(sample.after) == 5
    assert sample.after[0].score > sample.after[-1].score > 0
