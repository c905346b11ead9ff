"""One training step of a masked LM under `fit`: where the labels are, the loss there, its gradients and the step."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from components.masking.masking import IGNORED_LABEL
from components.modeling.frozen_layers import trained_weights
from components.modeling.library.adapter import as_masked_lm
from components.modeling.library.dropout import step_key
from components.training.replicas import MeanLoss, bytes_to_sum, sum_over_replicas, travels_as_rows

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

Batch = tuple[Mapping[str, tf.Tensor], tf.Tensor]
"""inputs such as input_ids (batch, length), and labels (batch, length), -100 where there is no label."""


class MaskedLMTraining(tf.keras.Model):
    """A masked LM as `fit` trains it: its head runs at the labeled positions only.

    The model inside stays an ordinary one, to save and call as ever. The loss is the mean cross-entropy over the
    labels of a batch; over an epoch it is weighted by their number.

    A batch is what one optimizer step learns from. With `accumulation_steps` above 1 it goes through the model in so
    many parts, and the step is that of the whole batch, dropout included: each part counts by its labels.
    So do the replicas of a `tf.distribute` strategy, in whose scope this is made.

    Args:
        masked_lm: Any of transformers' TensorFlow masked language models.
        predictions: The most labels a row has, in training or validation.
        block_size: Positions of the rows that have so many labels, where batches may be shorter; those have
            proportionally fewer. None where all batches have one length.
        whole_words: Whether a shorter row may have as many labels as any.
        seed: Of dropout, together with the step; from 0 below 2**32.
        accumulation_steps: Parts of a batch that go through the model one after the other.
        max_grad_norm: Largest norm of all gradients together, to which larger ones are scaled; 0 for any.
        ema_decay: Decay of an average of the weights, which `evaluate` looks at; 0 for none.
        frozen_layers: How many of the lowest layers stay as they are, with the embeddings.
        gradient_checkpointing: Whether the encoder layers' inner values are computed again for the gradient.
        compiled: Whether XLA compiles a step: all of it, but with several replicas or a loss scale the forward and
            backward pass. (`compile(jit_compile=True)` would take in the sums over replicas, which XLA can't do
            everywhere, and the last, smaller batch of a validation, which would be compiled anew.)

    Attributes:
        first_step: At which step of its first epoch `fit` begins.
        gradient_bytes: Of the gradients of a step, as `bytes_to_sum` counts them; None before the first.
    """

    def __init__(
        self,
        masked_lm: "TFPreTrainedModel",
        predictions: int,
        *,
        block_size: int | None = None,
        whole_words: bool = False,
        seed: int = 0,
        accumulation_steps: int = 1,
        max_grad_norm: float = 0.0,
        ema_decay: float = 0.0,
        frozen_layers: int = 0,
        gradient_checkpointing: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(name="masked_lm_training")
        self.masked_lm = masked_lm
        self.predictions = self.step_predictions = predictions
        self.step_blocks: int | None = None
        self.block_size = block_size
        self.whole_words = whole_words
        self.seed = seed
        self.accumulation_steps = accumulation_steps
        self.max_grad_norm = max_grad_norm
        self.frozen_layers = frozen_layers
        self.gradient_checkpointing = gradient_checkpointing
        self.compiled = compiled
        self.average = WeightAverage(self.trained_variables, ema_decay) if ema_decay else None
        self.mean_loss = MeanLoss(name="loss")
        self.first_step = 0
        self.gradient_bytes: int | None = None
        # What a step returns is the same on every replica; Keras would add it up.
        self.distribute_reduction_method = "first"

    @functools.cached_property
    def trained_variables(self) -> list[tf.Variable]:
        """The weights that are trained."""
        return trained_weights(self.masked_lm, self.frozen_layers)

    def begin_stage(self, blocks: int, predictions: int) -> None:
        """Has the steps from here on traced for batches of one size, while `fit` runs or before.

        Args:
            blocks: Blocks of a batch, on all replicas together.
            predictions: The most labels that a row of them has; at most those of the whole training.
        """
        self.step_blocks, self.step_predictions = blocks, predictions
        if self.train_function is not None:
            self.make_train_function(force=True)

    def total_loss(
        self, batch: Batch, training: bool, part: tf.Tensor | int = 0, predictions: int | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The batch's summed cross-entropy () float32 in nats and the number of its labels () float32.

        In training, dropout is a function of the seed, the optimizer's step and the row's place in that step's whole
        batch, of which this is a part, numbered from 0. The head has as many places a row as `predictions`, those of
        the block size; None for as many as there may be labels.
        """
        inputs, labels = batch
        if predictions is None:
            predictions = self.step_predictions if training else self.predictions
        predictions = self.predictions_of(predictions, labels)
        positions, labels = label_positions(labels, predictions)  # (batch, predictions) each
        logits = as_masked_lm(self.masked_lm).logits_at(
            inputs,
            positions,
            dropout_key=self.dropout_key(part, labels) if training else None,
            recomputed=self.gradient_checkpointing,
            fused=True,
        )  # (batch, predictions, vocabulary)
        return masked_cross_entropy(logits, labels)

    def dropout_key(self, part: tf.Tensor | int, labels: tf.Tensor) -> tf.Tensor:
        """What dropout is a function of in one part of a step's batch, whose labels are (rows, predictions)."""
        step, parts = self.optimizer.iterations, self.accumulation_steps
        return step_key(self.seed, step, part=part, parts=parts, rows=tf.shape(labels)[0])

    def predictions_of(self, predictions: int, labels: tf.Tensor) -> int | tf.Tensor:
        """The most labels of a row.

        Args:
            predictions: Those of a row of the block size.
            labels: The batch's, (batch, length).

        Returns:
            A number, or where the length isn't known while the step is traced, () int32.
        """
        if self.block_size is None:
            return predictions
        known = labels.shape[1]
        length = tf.shape(labels)[1] if known is None else known
        if self.whole_words:
            return tf.minimum(predictions, length) if known is None else min(predictions, known)
        return (length * predictions + self.block_size - 1) // self.block_size

    def gradients(
        self, batch: Batch, weight: tf.Tensor, part: tf.Tensor | int = 0
    ) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """The batch's summed cross-entropy, and the gradients of that sum times a weight () float32.

        The gradients are dense, but for those of tables of which fewer rows travel than they have; see
        `travels_as_rows`. None stands for those of weights that a masked LM doesn't use, such as a pooler's.
        """
        variables = self.trained_variables
        with tf.GradientTape() as tape:
            total, _ = self.total_loss(batch, training=True, part=part)
            weighted = total * weight
        gradients = tape.gradient(weighted, variables)
        return total, [
            gradient
            if gradient is None or (self.accumulation_steps == 1 and travels_as_rows(gradient, variable.shape))
            else dense(gradient, variable.shape)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def accumulated_gradients(self, batch: Batch, weight: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """What `gradients` gives, of one part of the batch at a time."""
        if self.accumulation_steps == 1:
            return self.gradients(batch, weight)
        parts = tf.nest.map_structure(self.in_parts, batch)
        used = [False] * len(self.trained_variables)

        def add_part(part: tf.Tensor, total: tf.Tensor, sums: list[tf.Tensor]) -> tuple[Any, ...]:
            batch = tf.nest.map_structure(lambda tensor: tensor[part], parts)
            part_total, gradients = self.gradients(batch, weight, part=part)
            used[:] = [gradient is not None for gradient in gradients]
            added = [sum if gradient is None else sum + gradient for sum, gradient in zip(sums, gradients, strict=True)]
            return part + 1, total + part_total, added

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trained_variables]
        _, total, sums = tf.while_loop(
            lambda part, total, sums: part < self.accumulation_steps,
            add_part,
            (tf.constant(0), tf.constant(0.0), zeros),
            # Two parts at once would need the memory that this is to save.
            parallel_iterations=1,
        )
        return total, [sum if is_used else None for sum, is_used in zip(sums, used, strict=True)]

    def in_parts(self, tensor: tf.Tensor) -> tf.Tensor:
        """(batch, ...) as (accumulation_steps, batch / accumulation_steps, ...)."""
        return tf.reshape(tensor, tf.concat([[self.accumulation_steps, -1], tf.shape(tensor)[1:]], axis=0))

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One optimizer step."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        alone = replicas == 1
        if self.step_blocks is not None:
            # Where batches have several sizes, their data set doesn't say which one this is.
            rows = self.step_blocks // replicas
            batch = tf.nest.map_structure(lambda tensor: tf.ensure_shape(tensor, [rows, *tensor.shape[1:]]), batch)
        # XLA takes the whole step where it can: else the optimizer's own operations, some small ones for each weight,
        # are launched one by one. Sums over replicas, and a loss scale that skips steps, it can't take.
        whole = self.compiled and alone and not self.has_loss_scale
        loss, count, norm = (tf.function(self.step, jit_compile=True) if whole else self.step)(batch)
        self.mean_loss.update_state(loss, count)
        return {"loss": self.mean_loss.result(), "step_loss": loss, "gradient_norm": norm}

    def step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One optimizer step. Returns its loss in nats, its labels and its gradients' norm, () float32 each."""
        count = tf.maximum(sum_over_replicas(self.label_count(batch[1])), 1.0)
        weight = self.optimizer.get_scaled_loss(1.0 / count) if self.has_loss_scale else 1.0 / count
        compute = self.accumulated_gradients
        total, gradients = (tf.function(compute, jit_compile=True) if self.compiled else compute)(batch, weight)
        gradients_and_weights = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self.trained_variables, strict=True)
            if gradient is not None
        ]
        total, norm = self.apply(total, gradients_and_weights)
        return total / count, count, norm

    @property
    def has_loss_scale(self) -> bool:
        """Whether the optimizer scales the loss, as `mixed_float16` needs it."""
        return isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def apply(
        self, total: tf.Tensor, gradients_and_weights: list[tuple[tf.Tensor, tf.Variable]]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums each replica's losses and gradients, clips these, and makes the step.

        Args:
            total: () the replica's summed loss.
            gradients_and_weights: Of the weights that have a gradient.

        Returns:
            The loss () of all replicas, and the norm () of the gradients before they were clipped.
        """
        gradients = [gradient for gradient, _ in gradients_and_weights]
        weights = [weight for _, weight in gradients_and_weights]
        self.gradient_bytes = sum(bytes_to_sum(gradient) for gradient in gradients)
        # Together, because each sum waits for the slowest replica. The loss is known before any gradient.
        *gradients, total = sum_over_replicas([*gradients, total])
        # Dense from here on: the norm of a table's rows would count a token's one by one.
        gradients = list(map(tf.convert_to_tensor, gradients))
        if self.has_loss_scale:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        norm = tf.linalg.global_norm(gradients)
        if self.max_grad_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.max_grad_norm, use_norm=norm)
        # Where the loss scale was too large a gradient is no number, and the optimizer leaves the step out.
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True), experimental_aggregate_gradients=False)
        if self.average is not None:
            self.average.update(self.optimizer.iterations)
        return total, norm

    def _maybe_load_initial_counters_from_ckpt(self, steps_per_epoch: int, initial_epoch: int) -> tuple[int, int]:
        """Keras asks here where `fit` begins, in epochs and in steps of that epoch."""
        return initial_epoch, self.first_step

    def label_count(self, labels: tf.Tensor) -> tf.Tensor:
        """How many of the labels (batch, block_size) the loss counts, () float32."""
        labeled = tf.reduce_sum(tf.cast(labels != IGNORED_LABEL, tf.float32), axis=1)  # (batch,)
        return tf.reduce_sum(tf.minimum(labeled, float(self.step_predictions)))

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The loss of a batch, without dropout."""
        total, count = self.total_loss(batch, training=False)
        total, count = sum_over_replicas([total, count])
        self.mean_loss.update_state(total / tf.maximum(count, 1.0), count)
        return {"loss": self.mean_loss.result()}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as Keras does, with the averaged weights where there are any: those are what is kept in the end."""
        with self.averaged_weights():
            return super().evaluate(*args, **kwargs)

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the model has its averaged weights, to evaluate or save; its own where none are."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def keep_averaged_weights(self) -> None:
        """Gives the model its averaged weights, where there are any, once training is over."""
        if self.average is not None:
            self.average.swap()


def dense(gradient: tf.Tensor | tf.IndexedSlices, shape: tf.TensorShape) -> tf.Tensor:
    """A weight's gradient as a tensor of the weight's shape, which tracing may lose where lengths aren't known."""
    gradient = tf.convert_to_tensor(gradient)
    return gradient if gradient.shape.is_fully_defined() else tf.ensure_shape(gradient, shape)


def label_positions(labels: tf.Tensor, predictions: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where a batch's labels are, in a fixed number of slots a row, so that shapes are known before the data.

    Args:
        labels: (batch, sequence) integers, `IGNORED_LABEL` where nothing is asked.
        predictions: Slots a row. A row with fewer labels fills up with positions whose label is ignored; of a row
            with more, the last ones are left out.

    Returns:
        positions (batch, predictions) int32 and their labels (batch, predictions) int32.
    """
    asked = tf.cast(labels != IGNORED_LABEL, tf.int32)  # (batch, sequence)
    # Equal values keep their order in top_k, so a row's labels come first, from left to right.
    positions = tf.math.top_k(asked, k=predictions).indices  # (batch, predictions)
    return positions, tf.cast(tf.gather(labels, positions, batch_dims=1), tf.int32)


def masked_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The summed cross-entropy of the labels that count, and how many they are.

    The mean is `total / max(count, 1)`: a batch without labels has loss 0 and gradient 0, where a plain mean
    would be NaN.

    Args:
        logits: (batch, predictions, vocabulary) float32.
        labels: (batch, predictions) int32, `IGNORED_LABEL` where nothing is asked.

    Returns:
        total () float32, in nats, and count () float32.
    """
    counted = tf.cast(labels != IGNORED_LABEL, tf.float32)  # (batch, predictions)
    return tf.reduce_sum(cross_entropy(logits, tf.maximum(labels, 0)) * counted), tf.reduce_sum(counted)


@tf.custom_gradient
def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> Any:
    """The cross-entropy of each label, as `tf.nn.sparse_softmax_cross_entropy_with_logits`, in a quarter of its time.

    XLA makes one pass for the largest logits, one for the sums, and one for the gradient, which recomputes the
    exponentials: a vocabulary of logits is read faster than it is written.

    Args:
        logits: (batch, predictions, vocabulary) float32.
        labels: (batch, predictions) int32, from 0 to the vocabulary's size, exclusive.

    Returns:
        (batch, predictions) float32, in nats, and the gradient's function.
    """
    normalizers = _log_sum_exp(logits)  # (batch, predictions)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return _logits_gradient(logits, labels, normalizers, upstream), None

    return normalizers - tf.gather(logits, labels, batch_dims=2), gradient


@tf.function(jit_compile=True, autograph=False)
def _log_sum_exp(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(logits, axis=-1)


@tf.function(jit_compile=True, autograph=False)
def _logits_gradient(logits: tf.Tensor, labels: tf.Tensor, normalizers: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Of the loss by the logits: probability less 1 at the label, times upstream."""
    probabilities = tf.exp(logits - normalizers[..., tf.newaxis])  # (batch, predictions, vocabulary)
    is_label = tf.range(tf.shape(logits)[-1]) == labels[..., tf.newaxis]
    return (probabilities - tf.cast(is_label, tf.float32)) * upstream[..., tf.newaxis]


class WeightAverage(tf.Module):
    """Averages of variables over the steps of training, which can take the variables' place.

    Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", with exponential weights. The
    decay of step t is at most (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`: else a short training
    would keep much of the random weights that it started from.

    Args:
        weights: The variables.
        decay: From 0 to 1, exclusive: how much of the average a step keeps.
    """

    def __init__(self, weights: Sequence[tf.Variable], decay: float) -> None:
        super().__init__(name="weight_average")
        self.decay = decay
        self.weights = list(weights)
        self.averages = [tf.Variable(weight.read_value(), trainable=False) for weight in weights]
        self._swapped = False

    def update(self, step: tf.Tensor) -> None:
        """Takes the weights after a step () integer, counted from 1, into the averages."""
        step = tf.cast(step, tf.float32)
        part = 1.0 - tf.minimum(self.decay, (1.0 + step) / (10.0 + step))

        def update_all(strategy: tf.distribute.Strategy, part: tf.Tensor) -> None:
            for average, weight in zip(self.averages, self.weights, strict=True):
                strategy.extended.update(average, move_towards, args=(weight, part))

        # On each replica from its own copy, so that no weight travels between devices.
        tf.distribute.get_replica_context().merge_call(update_all, args=(part,))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Exchanges the weights with their averages while the context lasts; inside another it does nothing."""
        if self._swapped:
            yield
            return
        self.swap()
        self._swapped = True
        try:
            yield
        finally:
            self.swap()
            self._swapped = False

    def swap(self) -> None:
        """Exchanges the weights with their averages."""
        for average, weight in zip(self.averages, self.weights, strict=True):
            value = weight.read_value()
            weight.assign(average.read_value())
            average.assign(value)


def move_towards(average: tf.Variable, weight: tf.Variable, part: tf.Tensor) -> tf.Operation:
    """Moves an average a part of the way to a weight."""
    return average.assign_sub(part * (average - weight))
