"""Loading, building and saving masked language models: TensorFlow classes, from every weight format.

`TFAutoModelForMaskedLM.from_pretrained` of transformers 4.55 to 4.57 fails on a PyTorch-format
`model.safetensors`, which is what most repositories hold (huggingface/transformers#40028). Such files are
read here and handed to the library's own conversion as a plain dictionary.
"""

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.modeling import weights
from components.modeling.architectures.records import architecture_of
from components.modeling.checkpoint_checks import (
    missing_weights,
    require_body,
    require_floats_of_the_shapes,
    require_numbers,
    require_readable_hdf5,
)
from components.modeling.configuration import (
    build_config,
    choose_language,
    load_config,
    masked_lm_class,
    require_model_type,
)
from components.modeling.new_model import has_design, new_masked_lm
from components.modeling.pytorch_pickle import read_pytorch_pickles
from foundation.disk import require_room
from foundation.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase, TFPreTrainedModel

logger = logging.getLogger(__name__)

HDF5_BYTES_A_WEIGHT, HDF5_BYTES = 1 << 14, 1 << 20
"""What a `tf_model.h5` takes at most beside the numbers; a `model.safetensors` takes less."""


def load_masked_lm(directory: Path, source: str | None = None, language: str | None = None) -> "TFPreTrainedModel":
    """Loads a masked LM, with float32 weights whatever the checkpoint's precision.

    Weights may be safetensors in PyTorch's or TensorFlow's naming, `tf_model.h5` or `pytorch_model.bin`, each whole or
    in shards. A warning says what of the head the checkpoint lacks; see `load_checkpoint`.

    Example:
        model = load_masked_lm(checkpoint_directory("distilbert/distilroberta-base"))  # of components.hub.checkpoints

    Args:
        directory: A checkpoint's folder.
        source: What messages call it, if not by its path, such as a Hub id.
        language: As for `load_checkpoint`.

    Raises:
        ModelError: If the folder is no checkpoint of a TensorFlow masked LM, or is damaged.
    """
    loaded = load_checkpoint(directory, source, language)
    if loaded.missing:
        logger.warning("%s", loaded.what_is_new)
    return loaded.model


@dataclasses.dataclass(frozen=True)
class LoadedCheckpoint:
    """A masked LM, and what its checkpoint lacked.

    Attributes:
        model: The model.
        source: What messages call the checkpoint.
        kind: The class that the checkpoint says that it was saved from, such as BertModel; None where it says nothing.
        missing: PyTorch's names of the weights that the checkpoint lacks: of the head alone, a refusal says of others.
    """

    model: "TFPreTrainedModel"
    source: str
    kind: str | None
    missing: tuple[str, ...]

    @property
    def has_new_head(self) -> bool:
        """Whether the head has random weights: what it answers before training means nothing then."""
        return any(not name.endswith(".bias") for name in self.missing)

    @property
    def what_is_new(self) -> str:
        """What the checkpoint lacked, in a sentence without its full stop."""
        names = ", ".join(self.missing)
        if not self.has_new_head:
            return f"{self.source} lacks {names}, which {'starts' if len(self.missing) == 1 else 'start'} at zero"
        kind = f" (its config.json says {self.kind})" if self.kind else ""
        return f"{self.source} has no language-model head{kind}: the head starts with random weights ({names})"


def load_checkpoint(directory: Path, source: str | None = None, language: str | None = None) -> LoadedCheckpoint:
    """Loads a masked LM as `load_masked_lm` does, and says what its checkpoint lacked.

    A checkpoint of a base model, or of one with a head for another task, has no head of a masked LM; here it starts
    with random weights. All below the head must be there.

    Args:
        directory: A checkpoint's folder.
        source: What messages call it, if not by its path, such as a Hub id.
        language: That the model is used for, of those that it has parts for; None for the one that it names itself.

    Raises:
        ModelError: If the folder is no checkpoint of a TensorFlow masked LM, or is damaged, or lacks other weights.
    """
    from components.modeling.library.rotary import with_fixed_rotary

    source = source or str(directory)
    _, weight_file, *shards = weights.checkpoint_files(directory)
    config = load_config(directory)
    require_model_type(config.model_type)
    choose_language(config, language)
    # The weights become float32; a saved config must not go on calling them float16.
    config.dtype = None
    if getattr(config, "legacy", None) is False:
        # DeBERTa's TensorFlow classes have the head of that name; PyTorch's class is to look for it in what is saved.
        config.legacy = True
    tensors: dict[str, np.ndarray] = {}
    framework = "tf"
    if weight_file.name.startswith(weights.SAFETENSORS):
        tensors, framework = weights.read_safetensors(shards or [weight_file])
    elif weight_file.name.startswith(weights.PYTORCH):
        tensors, framework = read_pytorch_pickles(shards or [weight_file]), "pt"
    if has_design(config):
        return encoder_checkpoint(config, tensors, framework, source)
    model_class = masked_lm_class(config.model_type)
    if framework == "pt":
        model, lacking = from_pytorch_tensors(model_class, config, tensors, source)
    else:
        require_readable_hdf5([path for path in shards or [weight_file] if path.suffix == ".h5"])
        try:
            with quiet_transformers():
                model, info = model_class.from_pretrained(directory, config=config, output_loading_info=True)
        except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise damaged(source, error) from error
        lacking = info["missing_keys"]
    missing = missing_weights(model, lacking)
    require_body(model, missing, source)
    require_numbers(model, source)
    return LoadedCheckpoint(with_fixed_rotary(model), source, kind_of(config), missing)


def kind_of(config: "PretrainedConfig") -> str | None:
    """The class that a checkpoint says that it was saved from."""
    return next(iter(config.architectures or ()), None)


def encoder_checkpoint(
    config: "PretrainedConfig", tensors: dict[str, np.ndarray], framework: str, source: str
) -> LoadedCheckpoint:
    """Our own encoder with a checkpoint's weights.

    Args:
        config: Its configuration.
        tensors: Its weights by PyTorch's names.
        framework: Whose names they are: `pt`, or `tf`.
        source: What messages call the checkpoint.

    Raises:
        ModelError: As `load_checkpoint`.
    """
    from components.modeling.encoder.building import load_encoder

    if framework != "pt":
        raise ModelError(
            f"a checkpoint of a {config.model_type} must hold its weights by PyTorch's names",
            received=f"{source}, which holds them by TensorFlow's",
            remedy=f"give it a {weights.SAFETENSORS} or {weights.PYTORCH} as PyTorch's classes write them",
        )
    model, missing = load_encoder(config, tensors, source)
    require_body(model, missing, source)
    require_numbers(model, source)
    return LoadedCheckpoint(model, source, kind_of(config), missing)


def build_masked_lm(
    model_type: str, overrides: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase", seed: int
) -> "TFPreTrainedModel":
    """Builds a masked LM with random weights.

    Sets the global seeds of Python, NumPy and TensorFlow, because the library's initializers take no other.

    Args:
        model_type: One of `ARCHITECTURES`.
        overrides: Values that differ from the architecture's defaults.
        tokenizer: Gives the vocabulary's size and the special ids.
        seed: Equal seeds give equal weights.

    Raises:
        ModelError: If the architecture has no TensorFlow class, or refuses the overrides.
    """
    import tensorflow as tf

    config = build_config(model_type, overrides, tokenizer)
    tf.keras.utils.set_random_seed(seed)
    try:
        return new_masked_lm(config)
    except ModelError as error:
        # What a checkpoint's configuration may be blamed for is a setting here.
        raise ConfigError(error.rule, received=error.received, remedy=error.remedy) from error
    except (TypeError, ValueError, KeyError, ZeroDivisionError, NotImplementedError, tf.errors.OpError) as error:
        raise ModelError(
            f"`train.model_config` must describe a {model_type} that can be built",
            received=f"{dict(overrides)}: {str(error).splitlines()[0]}",
            remedy="correct the sizes (the hidden size is a multiple of the number of heads)",
        ) from error


def save_masked_lm(model: "TFPreTrainedModel", tokenizer: "PreTrainedTokenizerBase", directory: Path) -> None:
    """Saves a model and its tokenizer as stock transformers loads them: `config.json`, weights, tokenizer files.

    The weights are `tf_model.h5`; those of our own encoder, for which transformers has no TensorFlow class,
    `model.safetensors` as PyTorch's class writes it.

    Args:
        model: A masked LM.
        tokenizer: Its tokenizer.
        directory: It is created if it doesn't exist.

    Raises:
        PipelineError: If the disk has no room for it.
    """
    from components.modeling.library.hdf5_writing import safe_weights_writing
    from components.modeling.pytorch_weights import save_pytorch_weights

    directory.mkdir(parents=True, exist_ok=True)
    weights_bytes = sum(weight.shape.num_elements() * weight.dtype.size for weight in model.weights)
    size = weights_bytes + len(model.weights) * HDF5_BYTES_A_WEIGHT + HDF5_BYTES
    require_room(directory, size, f"the model in {directory}")
    # The library writes `model.name_or_path` nowhere, so the files don't depend on where they came from.
    if has_design(model.config):
        save_pytorch_weights(model, directory)
    else:
        with safe_weights_writing(model):
            model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def from_pytorch_tensors(
    model_class: "type[TFPreTrainedModel]", config: "PretrainedConfig", tensors: dict[str, np.ndarray], source: str
) -> "tuple[TFPreTrainedModel, list[str]]":
    """A TensorFlow model with the weights of a PyTorch checkpoint, and the names of those that it lacks.

    Args:
        model_class: The TensorFlow class.
        config: Its configuration.
        tensors: Arrays by PyTorch's names, in PyTorch's layout (a dense kernel is (out, in)).
        source: Where they are from, for messages.

    Raises:
        ModelError: If the weights are of other shapes than the configuration says, or of another architecture.
    """
    import tensorflow as tf
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    model = built(model_class, config, source)
    for other_name, name in architecture_of(config).pytorch_aliases.items():
        if other_name in tensors:
            tensors.setdefault(name, tensors.pop(other_name))
    resolve_ties(tensors, model, source)
    require_floats_of_the_shapes(tensors, model, source)
    try:
        with quiet_transformers():
            model, info = load_pytorch_state_dict_in_tf2_model(
                model,
                tensors,
                tf_inputs=False,
                allow_missing_keys=True,
                output_loading_info=True,
                tf_to_pt_weight_rename=getattr(model, "tf_to_pt_weight_rename", None),
                skip_logger_warnings=True,
            )
    except (ValueError, AttributeError, tf.errors.OpError) as error:
        raise damaged(source, error) from error
    own_layers = re.compile(architecture_of(config).layer_name)
    unused = sorted(name for name in info["unexpected_keys"] if own_layers.search(name))
    if unused:
        logger.warning(
            "%s has %d weights of layers that its config.json doesn't describe, such as %s: they aren't used.",
            source,
            len(unused),
            unused[0],
        )
    return model, info["missing_keys"]


def built(model_class: "type[TFPreTrainedModel]", config: "PretrainedConfig", source: str) -> "TFPreTrainedModel":
    """A model with random weights, to load others into.

    Raises:
        ModelError: If its configuration describes none.
    """
    import tensorflow as tf

    try:
        model = model_class(config)
        model.build_in_name_scope()
    except (TypeError, ValueError, KeyError, ZeroDivisionError, NotImplementedError, tf.errors.OpError) as error:
        raise ModelError(
            f"config.json must describe a {config.model_type} that can be built",
            received=f"{source}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}",
            remedy="use the config.json that belongs to the weights",
        ) from error
    return model


def resolve_ties(tensors: dict[str, np.ndarray], model: "TFPreTrainedModel", source: str) -> None:
    """Brings the two names of a tied tensor together, in place.

    PyTorch keeps the head's output matrix and bias under names of their own too (`….decoder.weight` and
    `….decoder.bias` in most architectures); a file may hold either name. Most of TensorFlow's classes have one
    variable for both, so that an output matrix of its own (`tie_word_embeddings=False`) can't be loaded;
    MobileBERT's, RemBERT's and an untied ESM's have two.

    Raises:
        ModelError: If the output matrix isn't the input embeddings, and the class has no variable for it, or if
            the file holds no input embeddings under either name.
    """
    from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name

    record = architecture_of(model.config)
    own = {convert_tf_weight_name_to_pt_weight_name(w.name, tf_weight_shape=w.shape)[0] for w in model.weights}
    embeddings = next(name for name in own if name.endswith(record.input_embeddings))
    # A base model's file has the names without the model's own.
    there = embeddings if embeddings in tensors else embeddings.removeprefix(f"{model.base_model_prefix}.")
    for name in [name for name in tensors if name.endswith(f"{record.output_layer}.weight")]:
        if there not in tensors and model.config.tie_word_embeddings:
            there = embeddings
            tensors[there] = tensors[name]
        elif name not in own and there in tensors and not np.array_equal(tensors[name], tensors[there]):
            raise ModelError(
                "the output matrix must be the input embeddings: TensorFlow's classes tie them",
                received=f"{source}, whose {name} differs from {there}",
                remedy="use a checkpoint with tied embeddings",
            )
    if there not in tensors:
        raise ModelError(
            f"a checkpoint must hold the input embeddings of its config.json's architecture, {model.config.model_type}",
            received=f"{source}, which lacks {embeddings}",
            remedy="use the config.json that belongs to the weights, or another checkpoint",
        )
    for name in [name for name in tensors if name.endswith(".decoder.bias")]:
        tensors.setdefault(name.removesuffix("decoder.bias") + "bias", tensors[name])


def damaged(source: str | Path, error: Exception) -> ModelError:
    """The error for weights that don't fit their configuration."""
    return ModelError(
        "weights must be undamaged and have the shapes that config.json says",
        received=f"{source}: {str(error).strip().splitlines()[0]}",
        remedy="copy or download the checkpoint again, or use the config.json that belongs to it",
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps the library's paragraphs about loaded and missing layers off the terminal: one line here says it."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
