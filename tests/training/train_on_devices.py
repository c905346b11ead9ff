"""Trains a small model on one and on two logical devices of the CPU, in a process of its own: devices are fixed early.

python train_on_devices.py OUT, OUT being a directory; writes `<case>-<replicas>.npz` with the history and the weights.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from foundation.keras_choice import choose_keras

choose_keras()

import numpy as np
import tensorflow as tf

from components.modeling.layer_matrices import layer_matrices
from components.modeling.library.documents_apart import keep_documents_apart
from components.training.batches import cut, without_autotune
from components.training.devices import Devices
from components.training.execution import Execution
from components.training.optimizer import build_optimizer, create_slots
from components.training.params import TrainParams, training_steps
from components.training.stages import Stage, StageBegins, Stages
from components.training.training_model import MaskedLMTraining
from tests.modeling.tiny_models import LENGTH, VOCABULARY, random_model

CASES = {
    "clipped and averaged": ("float32", {"max_grad_norm": 0.1, "ema_decay": 0.5}),
    "accumulated with a loss scale": ("mixed_float16", {"accumulation_steps": 2, "max_grad_norm": 0.1}),
    "compiled and recomputed": ("float32", {"compiled": True, "gradient_checkpointing": True}),
    "in stages": ("float32", {"max_grad_norm": 0.1}),
    "packed": ("float32", {"gradient_checkpointing": True}),
    "of several lengths": ("float32", {"max_grad_norm": 0.1, "block_size": LENGTH, "whole_words": True}),
    "by Muon": ("float32", {"max_grad_norm": 0.1, "ema_decay": 0.9}),
    "in bfloat16": ("mixed_bfloat16", {"max_grad_norm": 0.1}),
}
BATCH, BATCHES, EPOCHS, PREDICTIONS = 8, 3, 2, 4
STAGES = Stages((Stage(0, BATCH // 2, PREDICTIONS), Stage(2, BATCH, PREDICTIONS)))
"""The first two batches are half of one each."""


def train(precision, names, devices, settings, packed=False, in_stages=False, by_muon=False):
    """The history and the weights after some steps on the named devices."""
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, (BATCH * BATCHES, LENGTH)).astype(np.int32)
    # Rows with no label to four, so that one replica has more of them than the other.
    labels = np.where(np.arange(LENGTH) < random.integers(0, PREDICTIONS + 1, (len(ids), 1)), ids, -100)
    # Two documents a row, of other lengths in each, and some padding.
    ends = random.integers(3, LENGTH - 3, (len(ids), 1))
    documents = np.where(np.arange(LENGTH) < ends, 1, np.where(np.arange(LENGTH) < LENGTH - 2, 2, 0))
    inputs = {"input_ids": ids, "attention_mask": documents if packed else np.ones_like(ids)}
    rows = tf.data.Dataset.from_tensor_slices((inputs, labels.astype(np.int32)))
    # A larger epsilon than usual: else rounding decides about the sign of steps of weights that hardly matter.
    # That of StableAdamW isn't enlarged in the first steps, as the library does it.
    how = {"optimizer": "stable_adamw", "adam_epsilon": 3e-2} if in_stages else {"adam_epsilon": 1e-3}
    how |= {"optimizer": "muon"} if by_muon else {}
    params = TrainParams(model_type="roformer", batch_size=BATCH, epochs=EPOCHS, learning_rate=1e-2, **how)
    batches = rows.repeat(EPOCHS).batch(BATCH, drop_remainder=True)
    if in_stages:
        batches = rows.take(BATCH).batch(BATCH // 2, drop_remainder=True).concatenate(batches.skip(2))
    if "block_size" in settings:
        # Every other batch is half as long; none of its labels, which stand at the beginning, is beyond that.
        lengths = tf.data.Dataset.from_tensor_slices([LENGTH, LENGTH // 2]).repeat()
        batches = tf.data.Dataset.zip((batches, lengths)).map(cut)
    with Execution(precision, False, names, devices, {}).scope():
        assert tf.distribute.get_strategy().num_replicas_in_sync == len(names)
        model = random_model("roformer", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        if packed:
            keep_documents_apart(model)
        training = MaskedLMTraining(model, PREDICTIONS, **settings)
        training.compile(optimizer=build_optimizer(params, training_steps(params, len(ids)), layer_matrices(model)))
        # Those that the first step would make, under a strategy, XLA couldn't.
        create_slots(training.optimizer, model.trainable_variables)
        # The last batch of the validation is one row, which the replicas can't share.
        history = training.fit(
            without_autotune(batches),
            validation_data=without_autotune(rows.take(BATCH + 1).batch(BATCH)),
            epochs=EPOCHS,
            steps_per_epoch=BATCHES,
            callbacks=[StageBegins(STAGES, seed=0)] if in_stages else [],
            verbose=0,
        ).history
        assert int(training.optimizer.iterations.numpy()) == EPOCHS * BATCHES
        with training.averaged_weights():
            weights = {f"weight {number}": weight.numpy() for number, weight in enumerate(model.weights)}
        return history | weights


def main(out):
    """Every case on one device and on both."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = Devices.visible()
    for case, (precision, settings) in CASES.items():
        for names in (devices.names[:1], devices.names):
            results = train(
                precision, names, devices, settings, case == "packed", case == "in stages", case == "by Muon"
            )
            np.savez(out / f"{case}-{len(names)}.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
