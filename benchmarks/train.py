"""Training a masked LM: this project, the guide's two paths, KerasHub, and the floor that the hardware sets.

    pip install -e '.[bench]' -c constraints.txt     # PyTorch, KerasHub and JAX, for this script alone
    python benchmarks/train.py [--shape a b m] [--rounds 2] [--steps 9] [--only project guide_tf] [--device gpu]

Shapes, each with a vocabulary of 50,265 tokens, 16 blocks of 128 tokens a step, 15% masked, random weights:

    a   RoBERTa of 4 layers x 256
    b   distilroberta's: 6 layers x 768
    m   ModernBERT of 4 layers x 256, its gate as wide as makes its products those of a; a window of 64 tokens on
        either side in all layers but every third

Contestants, all on the same blocks of random tokens:

    project        `Train.run`, as the pipeline runs it: in the precision that `auto` picks, which is mixed_bfloat16
                   where the processor multiplies it (it does so at twice the rate), else float32
    project_f32    the same in float32
    guide_tf       the TensorFlow code of the masked language modeling guide, as printed there, with random weights
                   (https://huggingface.co/docs/transformers/tasks/masked_language_modeling)
    guide_pytorch  the same guide's PyTorch code: `Trainer`
    kerashub_tf    KerasHub's masked-LM task, which applies its head at masked positions only too, on TensorFlow
    kerashub_jax   the same on JAX
    products       no training: the matrix products of a step with the head at the masked positions only, forward and
                   backward, one by one at their own shapes; what the library for them bounds
    floor          the floating-point operations of those products, over the measured peak of a matrix product
                   (4096 x 4096 x 4096)

The last two are measured in float32, and where there is hardware for it in bfloat16 (products_bf16, floor_bf16): the
first are the bounds of project_f32, the second those of the project in bfloat16.

A contestant that isn't installed is named and left out; `--peer-python` names an interpreter of another environment
that has the peers. PyTorch's Linux build on PyPI brings gigabytes of CUDA along; where pip's settings point to a CPU
build (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) it takes that.

Each measurement is a fresh process, and the contestants take turns. The step rate is one over the median time between
the ends of two batches, without a process's first three batches; core seconds are its processor time, user and
system, which a busy machine bends less. A whole epoch is the second one of `fit`, with whatever happens at its ends.
Peak memory is the resident set of the whole process (VmHWM) when training ends; the floor's is the libraries', and
weights, gradients and Adam's two moments in float32, without any activation. (`train.gradient_checkpointing` saves
most of the activations, for a third more work.) On a GPU there is also what the library's tensors took of its memory,
but for JAX, and the products aren't measured: it takes less time for most of them than to be asked for one.

Prints a table a shape, then all as one line of JSON.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()

from benchmarks.training_floor import (
    BATCH_SIZE,
    BLOCK_SIZE,
    FLOORS,
    HEAD_SIZE,
    POSITIONS,
    PREDICTIONS,
    PROBABILITY,
    SHAPES,
    TOKENS,
    VOCABULARY,
    gpu_peak_mib,
    memory_mib,
)

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SPECIAL_TOKEN_OF = {"bos": "<s>", "pad": "<pad>", "eos": "</s>"}
EPOCHS, UNCOUNTED = 2, 3
LEARNING_RATE, WEIGHT_DECAY = 2e-5, 0.01


class Clock:
    """Notes when batches and epochs end, and what processor time they took."""

    def __init__(self) -> None:
        self.batches: list[float] = []
        self.core_seconds: list[float] = []
        self.epochs: list[float] = []
        self.end = 0.0
        self.peak_mib = self.gpu_peak_mib = 0

    def batch(self) -> None:
        """A batch ends."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.batches.append(time.perf_counter())
        self.core_seconds.append(usage.ru_utime + usage.ru_stime)

    def epoch(self) -> None:
        """An epoch begins."""
        self.epochs.append(time.perf_counter())

    def trained(self) -> None:
        """Training has ended: the last one to say so counts."""
        self.end = time.perf_counter()
        self.peak_mib, self.gpu_peak_mib = memory_mib("VmHWM"), gpu_peak_mib()

    def facts(self) -> dict[str, Any]:
        """Seconds and core seconds by batch, but for an epoch's first; seconds of the last epoch."""
        steps = len(self.batches) // EPOCHS
        counted = [number for number in range(UNCOUNTED, len(self.batches)) if number % steps]
        return {
            "seconds": [self.batches[number] - self.batches[number - 1] for number in counted],
            "core_seconds": [self.core_seconds[number] - self.core_seconds[number - 1] for number in counted],
            "epoch_seconds_a_step": (self.end - self.epochs[-1]) / steps,
            "peak_mib": self.peak_mib,
            "gpu_peak_mib": self.gpu_peak_mib,
        }


def main() -> None:
    """Parses the command line, makes the data, runs the rounds, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=2, help="processes of each contestant (default: 2)")
    parser.add_argument("--steps", type=int, help="steps of each of the two epochs (default: 9 of a and m, 4 of b)")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter for PyTorch and KerasHub")
    parser.add_argument("--contestant", choices=(*CONTESTANTS, *FLOORS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        [shape] = arguments.shape
        floor = FLOORS.get(arguments.contestant)
        print(json.dumps(floor(shape) if floor else CONTESTANTS[arguments.contestant](shape, arguments.folder)))
        return
    results = {}
    for shape in arguments.shape:
        with tempfile.TemporaryDirectory() as name:
            make_data(Path(name), arguments.steps or SHAPES[shape]["steps"])
            results[shape] = run_rounds(shape, Path(name), arguments)
        print_table(shape, results[shape])
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "device": arguments.device, "shapes": results}))


def make_data(folder: Path, steps: int) -> None:
    """Blocks of random tokens, and a tokenizer with one word a token, as artifacts of the pipeline."""
    import numpy as np
    from datasets import Dataset, DatasetDict
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from components.contract import manifest, reports

    words = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(len(SPECIAL_TOKENS), VOCABULARY))]
    model = models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), **dict(zip(names, SPECIAL_TOKENS, strict=True))
    )
    tokenizer.save_pretrained(folder / "tokenizer/tokenizer")
    random = np.random.default_rng(0)
    ids = random.integers(len(SPECIAL_TOKENS), VOCABULARY, (steps * BATCH_SIZE, BLOCK_SIZE), np.int32)
    train = Dataset.from_dict({"input_ids": ids, "attention_mask": np.ones(ids.shape, np.int8)})
    DatasetDict(train=train, test=train.select([])).save_to_disk(folder / "blocks/dataset")
    tokens, blocks = int(ids.size), len(ids)
    counts = reports.BlockCounts(
        records=blocks,
        skipped=reports.RecordsWithoutText(0, 0),
        tokens=tokens,
        blocks=blocks,
        tokens_kept=tokens,
        tokens_dropped=0,
    )
    report = reports.BlocksReport(
        block_size=BLOCK_SIZE,
        text_column="text",
        special_tokens_per_record=0,
        splits=reports.BySplit(counts, counts),
        summary="random tokens",
    )
    reports.write(folder / "blocks/report.json", report)
    manifest.write(folder / "blocks", {"type": "Blocks"})


def run_rounds(shape: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What each contestant and the floor came to."""
    runs: dict[str, list[dict]] = {name: [] for name in (*arguments.only, *FLOORS)}
    for number in range(arguments.rounds):
        for name in list(runs):
            facts = in_fresh_process(name, shape, folder, arguments)
            if "missing" in facts:
                print(f"{name} is left out: no {facts['missing']}", file=sys.stderr)
                del runs[name]
                continue
            runs[name].append(facts)
            rate = TOKENS / statistics.median(facts["seconds"])
            print(f"shape {shape}, round {number + 1}, {name}: {rate:,.0f} tokens/s", file=sys.stderr)
    return {name: summary(facts) for name, facts in runs.items()}


def in_fresh_process(name: str, shape: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One measurement, in a process of its own, which sees no library of another contestant."""
    python = sys.executable if name in OURS else arguments.peer_python
    pytorch = name == "guide_pytorch"
    settings = {"USE_TORCH": str(int(pytorch)), "USE_TF": str(int(not pytorch)), "USE_JAX": "0"}
    settings.update(TF_CPP_MIN_LOG_LEVEL="3", TRANSFORMERS_VERBOSITY="error", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    settings["TF_USE_LEGACY_KERAS"] = str(int(name in OURS))
    if name.startswith("kerashub"):
        settings["KERAS_BACKEND"] = {"kerashub_tf": "tensorflow", "kerashub_jax": "jax"}[name]
    if arguments.device == "cpu":
        settings.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
    command = [python, __file__, "--contestant", name, "--shape", shape, "--folder", str(folder)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **settings})
    return json.loads(result.stdout.splitlines()[-1])


def needs(*modules: str) -> Callable[..., Callable[..., dict[str, Any]]]:
    """A contestant that answers with the first of the modules that is missing."""

    def decorate(run: Callable[[str, Path], dict[str, Any]]) -> Callable[[str, Path], dict[str, Any]]:
        def checked(shape: str, folder: Path) -> dict[str, Any]:
            for module in modules:
                if importlib.util.find_spec(module) is None:
                    return {"missing": module}
            return run(shape, folder)

        return checked

    return decorate


def config_values(shape: str) -> dict[str, Any]:
    """The configuration in transformers' names, as distilroberta-base or ModernBERT-base has it but for the sizes."""
    sizes = SHAPES[shape]
    values = {
        "num_hidden_layers": sizes["layers"],
        "hidden_size": sizes["hidden"],
        "num_attention_heads": sizes["hidden"] // HEAD_SIZE,
        "intermediate_size": sizes["intermediate"],
        "max_position_embeddings": POSITIONS,
    }
    if sizes["model_type"] == "roberta":
        values.update(type_vocab_size=1, layer_norm_eps=1e-5)
    return values


def config_object(shape: str) -> Any:
    """The same as an object, with the tokenizer's special tokens."""
    from transformers import AutoConfig

    special = {f"{name}_token_id": SPECIAL_TOKENS.index(token) for name, token in SPECIAL_TOKEN_OF.items()}
    values = {"vocab_size": VOCABULARY, **special, **config_values(shape)}
    return AutoConfig.for_model(SHAPES[shape]["model_type"], **values)


def keras_clock(clock: Clock, keras: Any) -> Any:
    """A callback that tells the clock."""

    class Callback(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            clock.batch()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            clock.epoch()

        def on_train_end(self, logs: Any = None) -> None:
            clock.trained()

    return Callback()


def run_project(shape: str, folder: Path, precision: Literal["auto", "float32"] = "auto") -> dict[str, Any]:
    """The train step of the pipeline."""
    import tensorflow as tf

    from components.contract.artifacts import Blocks, Tokenizer
    from components.train import Train
    from components.training import fit
    from components.training.params import TrainParams

    clock = Clock()

    class TrainOnly(Blocks):
        """The blocks, and an empty test split, which can't be saved."""

        def split(self, name: str) -> Any:
            blocks = super().split("train")
            return blocks if name == "train" else blocks.select([])

    class TimedTraining(fit.MaskedLMTraining):
        """The training, with the clock as its last callback."""

        def fit(self, *arguments: Any, callbacks: list[Any], **named: Any) -> Any:
            return super().fit(*arguments, callbacks=[*callbacks, keras_clock(clock, tf.keras)], **named)

    fit.MaskedLMTraining = TimedTraining
    params = TrainParams(
        model_type=SHAPES[shape]["model_type"],
        model_config=config_values(shape),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        mlm_probability=PROBABILITY,
        precision=precision,
    )
    with tempfile.TemporaryDirectory() as out:
        Train(TrainOnly(folder / "blocks"), Tokenizer(folder / "tokenizer"), params).run(Path(out))
    return clock.facts()


def run_guide_tf(shape: str, folder: Path) -> dict[str, Any]:
    """The guide's TensorFlow code."""
    if SHAPES[shape]["model_type"] != "roberta":
        return {"missing": f"TensorFlow class of {SHAPES[shape]['model_type']} in transformers"}
    import tensorflow as tf
    from transformers import AdamWeightDecay, DataCollatorForLanguageModeling, TFAutoModelForMaskedLM

    train, tokenizer = load_data(folder)
    clock = Clock()
    data_collator = DataCollatorForLanguageModeling(
        tokenizer=tokenizer, mlm_probability=PROBABILITY, return_tensors="tf"
    )
    optimizer = AdamWeightDecay(learning_rate=LEARNING_RATE, weight_decay_rate=WEIGHT_DECAY)
    model = TFAutoModelForMaskedLM.from_config(config_object(shape))
    tf_train_set = model.prepare_tf_dataset(train, shuffle=True, batch_size=BATCH_SIZE, collate_fn=data_collator)
    model.compile(optimizer=optimizer)
    model.fit(x=tf_train_set, epochs=EPOCHS, callbacks=[keras_clock(clock, tf.keras)], verbose=0)
    clock.trained()
    return clock.facts()


@needs("torch", "accelerate")
def run_guide_pytorch(shape: str, folder: Path) -> dict[str, Any]:
    """The guide's PyTorch code."""
    from transformers import (
        AutoModelForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    train, tokenizer = load_data(folder)
    clock = Clock()

    class Callback(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            clock.batch()

        def on_epoch_begin(self, *arguments: Any, **named: Any) -> None:
            clock.epoch()

    with tempfile.TemporaryDirectory() as out:
        training_args = TrainingArguments(
            output_dir=out,
            learning_rate=LEARNING_RATE,
            num_train_epochs=EPOCHS,
            weight_decay=WEIGHT_DECAY,
            per_device_train_batch_size=BATCH_SIZE,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=AutoModelForMaskedLM.from_config(config_object(shape)),
            args=training_args,
            train_dataset=train,
            data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=PROBABILITY),
            callbacks=[Callback()],
        )
        trainer.train()
    clock.trained()
    return clock.facts()


@needs("keras_hub", "jax")
def run_kerashub(shape: str, folder: Path) -> dict[str, Any]:
    """KerasHub's task, fed as its own preprocessor feeds it once texts are tokens."""
    if SHAPES[shape]["model_type"] != "roberta":
        return {"missing": f"masked-LM task of {SHAPES[shape]['model_type']} here"}
    import keras
    import keras_hub
    import numpy as np
    import tensorflow as tf

    train, _ = load_data(folder)
    clock = Clock()
    values = config_values(shape)
    mask = keras_hub.layers.MaskedLMMaskGenerator(
        vocabulary_size=VOCABULARY,
        mask_selection_rate=PROBABILITY,
        mask_selection_length=PREDICTIONS,
        mask_token_id=SPECIAL_TOKENS.index("<mask>"),
        unselectable_token_ids=list(range(len(SPECIAL_TOKENS))),
    )

    def masked(ids: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        outputs = mask(ids)
        inputs = {
            "token_ids": outputs["token_ids"],
            "padding_mask": tf.ones_like(ids),
            "mask_positions": outputs["mask_positions"],
        }
        return inputs, outputs["mask_ids"], outputs["mask_weights"]

    ids = tf.data.Dataset.from_tensor_slices(np.asarray(train["input_ids"], np.int32))
    dataset = ids.shuffle(len(train)).batch(BATCH_SIZE).map(masked, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    backbone = keras_hub.models.RobertaBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=values["num_hidden_layers"],
        num_heads=values["num_attention_heads"],
        hidden_dim=values["hidden_size"],
        intermediate_dim=values["intermediate_size"],
        max_sequence_length=BLOCK_SIZE,
    )
    model = keras_hub.models.RobertaMaskedLM(backbone=backbone, preprocessor=None)
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(dataset, epochs=EPOCHS, callbacks=[keras_clock(clock, keras)], verbose=0)
    clock.trained()
    return clock.facts()


def load_data(folder: Path) -> tuple[Any, Any]:
    """The train blocks and the tokenizer, as a user of the guide has them."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    return load_from_disk(str(folder / "blocks/dataset/train")), AutoTokenizer.from_pretrained(
        folder / "tokenizer/tokenizer"
    )


CONTESTANTS: dict[str, Callable[[str, Path], dict[str, Any]]] = {
    "project": run_project,
    "project_f32": lambda shape, folder: run_project(shape, folder, "float32"),
    "guide_tf": run_guide_tf,
    "guide_pytorch": run_guide_pytorch,
    "kerashub_tf": run_kerashub,
    "kerashub_jax": run_kerashub,
}


OURS = ("project", "project_f32", "guide_tf", *FLOORS)
"""What runs in the project's own environment, on Keras 2."""


def summary(runs: list[dict]) -> dict[str, float]:
    """Medians over all batches of all rounds, their quartiles, and the highest peak."""
    seconds = sorted(second for run in runs for second in run["seconds"])
    quartiles = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
    return {
        "tokens_per_second": round(TOKENS / statistics.median(seconds), 1),
        "slow_quartile": round(TOKENS / quartiles[2], 1),
        "fast_quartile": round(TOKENS / quartiles[0], 1),
        "epoch_tokens_per_second": round(TOKENS / statistics.median(run["epoch_seconds_a_step"] for run in runs), 1),
        "core_seconds": round(statistics.median(core for run in runs for core in run["core_seconds"]), 4),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "gpu_peak_mib": max(run["gpu_peak_mib"] for run in runs),
    }


def print_table(shape: str, results: dict[str, dict[str, float]]) -> None:
    """A row a contestant."""
    sizes = SHAPES[shape]
    model = f"{sizes['model_type']}, {sizes['layers']} layers x {sizes['hidden']}"
    print(f"\nshape {shape}: {model}, {BATCH_SIZE} x {BLOCK_SIZE} tokens a step\n")
    heads = f"{'tokens/s':>10}{'quartiles':>20}{'project is':>12}{'core s/step':>13}{'epoch':>10}{'peak MiB':>10}"
    print(f"{'':14}{heads}{'GPU MiB':>9}")
    for name, facts in results.items():
        quartiles = f"{facts['slow_quartile']:,.0f} to {facts['fast_quartile']:,.0f}"
        ratio = results["project"]["tokens_per_second"] / facts["tokens_per_second"] if "project" in results else 0
        peak, gpu_peak = (f"{facts[name]:,}" if facts[name] else "–" for name in ("peak_mib", "gpu_peak_mib"))
        print(
            f"{name:14}{facts['tokens_per_second']:>10,.0f}{quartiles:>20}{ratio:>11.2f}x{facts['core_seconds']:>13.3f}"
            f"{facts['epoch_tokens_per_second']:>10,.0f}{peak:>10}{gpu_peak:>9}"
        )


if __name__ == "__main__":
    main()
