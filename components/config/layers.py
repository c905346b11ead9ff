"""What the command line's settings change in a configuration beyond what they name.

A configuration names a source together with its split, and a model together with its tokenizer. Where the command line
names another source or model, settings that belong to the old one no longer apply. They are removed, and a sentence
says so for each, unless the command line sets them itself.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from components.ingest import IngestParams
from components.sources.embedded import NAME as EMBEDDED
from components.training.params import TrainParams
from foundation.errors import ConfigError

Layer = Mapping[str, Mapping[str, Any]]
"""Values by section and key, only those that a file or the command line sets."""
Values = MutableMapping[str, Any]
"""The values of all settings, by `section.key`."""

OF_A_LANGUAGE = (("export", "example"), ("evaluate", "sample_texts"))
"""Sentences to try the model on, which belong to the source; without them, they are taken from the test split."""
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.txt")
USUAL_LEARNING_RATE = 1e-4
"""The largest learning rate that is usual for a checkpoint; a new model learns with ten times as much."""


def drop_replaced(options: Values, file: Layer, typed: Layer) -> list[str]:
    """Removes settings of the file that belong to a source or a model that the command line replaces.

    Args:
        options: All settings: the command line's before the file's before the defaults. They are changed in place.
        file: The settings of the configuration file.
        typed: The settings of the command line.

    Returns:
        A sentence for each change that a user may not expect.

    Raises:
        ConfigError: If a split is given together with a path and a Hub dataset, so that it could belong to either.
    """
    return [*_replace_source(options, file, typed), *_replace_model(options, file, typed)]


def _replace_source(options: Values, file: Layer, typed: Layer) -> Iterator[str]:
    """Leaves one source, with the settings that belong to it; yields a sentence for each one removed."""
    old, new = source_of(file), source_of(typed)
    given, ours = file.get("ingest", {}), typed.get("ingest", {})
    for layer, others in ((given, ours), (ours, {})):
        if not others.keys() & {"path", "dataset", "split"}:
            _refuse_two_sources(layer)
    if new is None or old is None or new == old:
        return
    (old_kind, old_name), (new_kind, new_name) = old, new
    if new_kind in ("path", "sources") and "dataset" not in ours:
        options["ingest.dataset"] = IngestParams.dataset
    if new_kind != "path" and "path" not in ours:
        options["ingest.path"] = None
    if new_kind != "sources" and "sources" not in ours:
        options["ingest.sources"] = None
    if new_kind != old_kind:
        for section, key in OF_A_LANGUAGE:
            if key not in typed.get(section, {}):
                options[f"{section}.{key}"] = None
        for key in ("config", "split", "revision", "encoding"):
            if given.get(key) is not None and key not in ours:
                options[f"ingest.{key}"] = None
                yield (
                    f"ingest.{key} {given[key]} of the configuration belongs to {old_name}, and isn't applied to "
                    f"{new_name}"
                )
    if given.get("test_path") is not None and "test_path" not in ours:
        options["ingest.test_path"] = None
        yield f"ingest.test_path {given['test_path']} of the configuration belongs to {old_name}, and isn't read"
    column = file.get("preprocess", {}).get("text_column")
    if column is not None and "text_column" not in typed.get("preprocess", {}):
        # The new source may have this column too; if not, another is read.
        names = ",".join(column) if isinstance(column, list) else str(column)
        options["preprocess.text_column"] = f"{names.removesuffix('?')}?"


def source_of(layer: Layer) -> tuple[str, str] | None:
    """The kind and the name of the source that a layer names; None where it names none."""
    ingest = layer.get("ingest", {})
    if ingest.get("sources") is not None:
        return "sources", "ingest.sources"
    if ingest.get("path") is not None:
        return "path", str(ingest["path"])
    if "dataset" in ingest:
        name = str(ingest["dataset"])
        return ("embedded" if name == EMBEDDED else "hub"), name
    return None


def _refuse_two_sources(ingest: Mapping[str, Any]) -> None:
    """Refuses a split together with two sources in one file, or in one command line.

    Raises:
        ConfigError: If all three are given.
    """
    path, dataset, split = (ingest.get(key) for key in ("path", "dataset", "split"))
    if path is not None and split is not None and dataset not in (None, EMBEDDED):
        raise ConfigError(
            "ingest.split must be given with one source alone, ingest.path or ingest.dataset",
            received=f"split {split} with path {path} and dataset {dataset}, which the path replaces",
            remedy="leave out ingest.dataset if the split is of the files, ingest.split if it is of the dataset",
        )


def _replace_model(options: Values, file: Layer, typed: Layer) -> Iterator[str]:
    """Leaves a checkpoint, with its own tokenizer, or a new model, whichever the command line names."""
    given, ours = file.get("train", {}), typed.get("train", {})
    removed = []
    if ours.get("pretrained") is not None and ours.get("model_type") is None:
        if given.get("model_type") is not None and "model_type" not in ours:
            options["train.model_type"] = None
            removed.append(f"train.model_type {given['model_type']}")
        if given.get("model_config"):
            options["train.model_config"] = dict(ours.get("model_config", {}))
            removed.append("train.model_config")
        if (
            given.get("revision") is not None
            and "revision" not in ours
            and given.get("pretrained") != ours["pretrained"]
        ):
            options["train.revision"] = None
            removed.append(f"train.revision {given['revision']}")
        new = f"train.pretrained {ours['pretrained']}"
    elif ours.get("model_type") is not None and ours.get("pretrained") is None:
        new = f"train.model_type {ours['model_type']}"
        for key in ("pretrained", "revision"):
            if given.get(key) is not None and key not in ours:
                options[f"train.{key}"] = None
                removed.append(f"train.{key} {given[key]}")
    brings = _use_own_tokenizer(options, file, typed)
    if removed:
        with_it = ", and brings its own tokenizer (tokenizer.pretrained)" if brings else ""
        yield f"{new} takes the place of the configuration's {' and '.join(removed)}{with_it}"
    elif brings:
        yield f"train.pretrained {options['train.pretrained']} brings its own tokenizer (tokenizer.pretrained)"
    rate = 0.0 if "learning_rate" in ours else float(given.get("learning_rate") or 0)
    if ours.get("pretrained") is not None and removed and rate > USUAL_LEARNING_RATE:
        options["train.learning_rate"] = TrainParams.learning_rate
        yield (
            f"train.learning_rate {rate:g} of the configuration is meant for a new model, and would spoil a "
            f"checkpoint: it is {TrainParams.learning_rate:g} unless --train.learning_rate says otherwise"
        )
    if ours.get("pretrained") is not None and removed and given.get("optimizer") == "muon" and "optimizer" not in ours:
        options["train.optimizer"] = TrainParams.optimizer
        yield (
            "train.optimizer muon of the configuration is meant for a new model: a checkpoint is trained by "
            f"{TrainParams.optimizer} unless --train.optimizer says otherwise"
        )


def _use_own_tokenizer(options: Values, file: Layer, typed: Layer) -> bool:
    """Sets a checkpoint's own tokenizer, unless another is named; returns whether it did."""
    checkpoint = options["train.pretrained"]
    if not (checkpoint or "").strip() or "pretrained" in typed.get("tokenizer", {}):
        return False
    named = file.get("tokenizer", {})
    if typed.get("train", {}).get("pretrained") is None:
        # Both are the file's, where null says that no pretrained tokenizer is wanted.
        if "pretrained" in named:
            return False
    elif named.get("pretrained") not in (None, file.get("train", {}).get("pretrained")):
        return False
    options["tokenizer.pretrained"] = _with_tokenizer(checkpoint)
    if "revision" not in typed.get("tokenizer", {}):
        options["tokenizer.revision"] = options["train.revision"]
    return named.get("pretrained") != checkpoint


def _with_tokenizer(checkpoint: str) -> str:
    """Where a checkpoint's own tokenizer is: in its folder, or in one named so within."""
    folder = os.path.expanduser(checkpoint)
    within = os.path.join(folder, "tokenizer")
    # os.path, because a name may be too long for a folder's.
    beside, inside = (
        any(os.path.isfile(os.path.join(place, name)) for name in TOKENIZER_FILES) for place in (folder, within)
    )
    return within if inside and not beside else checkpoint
