"""What a user types for a file, a folder or a checkpoint, and what it stands for."""

import json
import os
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from components.contract.run_names import IDENTIFIER, LATEST, RECORD, RUNS, named, nearest_name
from foundation.errors import ConfigError
from foundation.versions import SAVED_MODEL, versions

CONTINUED = "train.continue_from"
PATHS = ("ingest.path", "ingest.test_path", "train.pretrained", CONTINUED, "tokenizer.pretrained", "evaluate.baseline")
"""Settings that may name something on this disk; a shell leaves a `~` behind `=` as it is, and so does YAML."""
CHECKPOINTS = ("train.pretrained", "tokenizer.pretrained", "evaluate.baseline")
REVISIONS = ("train.pretrained", "tokenizer.pretrained")
"""Those of which a revision may be given."""
HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)/?(?:tree/([^/\s?#]+)/?)?")
CONFIG = "config.json"
TRAIN = "train"
WEIGHTS = (".safetensors", ".bin", ".h5", ".index.json", CONFIG)
"""How the files of a checkpoint end."""
LONGEST_PART = 255
"""The longest name that file systems take, in bytes."""


def name_places(values: MutableMapping[str, Any], root: Path) -> list[str]:
    """Writes the settings that name files and checkpoints as the steps read them.

    Args:
        values: The values of all settings, by `section.key`. They are changed in place.
        root: The pipeline root, whose runs may be named by their ids or names.

    Returns:
        A sentence for each checkpoint that is another folder than the one that was typed.

    Raises:
        ConfigError: If a checkpoint is named by a folder that serves a model, and has no weights to train, by one of
            its files, or by a run that trained no model, or if a folder is given a revision.
    """
    for key in (*PATHS, "push.serving_dir"):
        _require_name(key, values[key])
    for key in PATHS:
        if isinstance(values[key], str) and values[key].startswith("~"):
            values[key] = os.path.expanduser(values[key])
    notes = []
    for key in CHECKPOINTS:
        if isinstance(values[key], str) and values[key].strip():
            name = values[key].strip()
            values[key], note = checkpoint_of(key, name, root)
            notes += note
            page = HUB_PAGE.fullmatch(name)
            if page and page[2] and key in REVISIONS and values[key.replace("pretrained", "revision")] is None:
                values[key.replace("pretrained", "revision")] = page[2]
    if isinstance(values[CONTINUED], str):
        values[CONTINUED], note = training_of(values[CONTINUED].strip(), root)
        notes += note
    for key in REVISIONS:
        _refuse_revision(key, values[key.replace("pretrained", "revision")], values[key])
    return list(dict.fromkeys(notes))


def _refuse_revision(key: str, revision: object, name: object) -> None:
    """Refuses a revision of a folder, which has none and would be read as it is.

    Raises:
        ConfigError: If so.
    """
    if revision is not None and isinstance(name, str) and os.path.exists(name):
        option = key.replace("pretrained", "revision")
        raise ConfigError(
            f"{option} must be given only with a model on the Hub",
            received=f"{revision}, with {key} {name} on this disk",
            remedy=f"leave out --{option}, or name the model on the Hub with --{key}",
        )


def _require_name(key: str, name: object) -> None:
    """Refuses what no file's name can be, and no Hub's.

    Raises:
        ConfigError: If a part of it is too long, or there is a NUL in it.
    """
    parts = str(name).split("/")
    if "\0" in str(name) or any(len(part.encode("utf-8", "replace")) > LONGEST_PART for part in parts):
        raise ConfigError(
            f"{key} must be a name, each part of which has at most {LONGEST_PART} bytes, without NUL",
            received=f"{str(name)[:40]!r}{'…' if len(str(name)) > 40 else ''}",
            remedy=f"correct --{key}",
        )


def checkpoint_of(key: str, name: str, root: Path) -> tuple[str, list[str]]:
    """The folder or the Hub's name of the checkpoint that a name stands for.

    Args:
        key: The setting that names it, or what else messages call it.
        name: A folder, a run, an artifact, a page of the Hub, or a name there.
        root: The pipeline root, whose runs may be named by their ids.

    Returns:
        Where the checkpoint is, and a sentence where that is another folder than the one that was named.

    Raises:
        ConfigError: As `name_places` does.
    """
    option = f"--{key} " if key in CHECKPOINTS else ""
    if page := HUB_PAGE.fullmatch(name):
        return page[1], []
    for found in _folders_behind(name, root):
        if found != Path(name):
            return str(found), [f"{name} stands for the checkpoint {found}"]
        return name, []
    folder = Path(name)
    if os.path.isdir(folder) and _is_served(folder):
        raise ConfigError(
            f"{key} must name a checkpoint, with weights to go on from",
            received=f"{name}, a model that is exported for servers",
            remedy="name the run that made it, as in pipeline_root/runs/latest, or the folder that it was trained to, "
            "pipeline_root/artifacts/train/.../model",
        )
    if os.path.isfile(folder) and name.endswith(WEIGHTS):
        raise ConfigError(
            f"{key} must name a checkpoint by its folder, which has its configuration too",
            received=f"{name}, a file",
            remedy=f"write {option}{folder.parent}",
        )
    called = [] if "/" in name or os.path.exists(folder) else named(root, name)
    if called or name == LATEST or IDENTIFIER.fullmatch(folder.name) or os.path.isfile(folder / RECORD):
        run = folder if os.path.isdir(folder) else called[0] if called else root / RUNS / name
        runs = sorted((root / RUNS).glob("*Z-*"), reverse=True)
        newest = next((each.name for each in runs if _trained_by(each) is not None), None)
        raise ConfigError(
            f"{key} must name a checkpoint, or a run that trained one",
            received=f"{name}, and {run} {'trained no model' if os.path.isdir(run) else 'does not exist'}",
            remedy=f"write {option}{newest}, the newest run here that trained a model"
            if newest is not None
            else "name the folder of a checkpoint, or a Hub id: no run here trained a model",
        )
    if "/" not in name and not os.path.exists(folder) and (nearest := nearest_name(root, name)) is not None:
        return name, [f"{name} is looked for on the Hub: no run here has that name; one is called {nearest}"]
    return name, []


def training_of(name: str, root: Path) -> tuple[str, list[str]]:
    """The artifact of the finished training that a name stands for.

    Args:
        name: An artifact, a run, or another word, which stays as it is.
        root: The pipeline root, whose runs may be named by their ids or names.

    Returns:
        Where the training is, and a sentence where that is another folder than the one that was named.
    """
    is_name = "/" not in name and not os.path.exists(name)
    runs = [root / RUNS / name, *named(root, name)] if is_name else [Path(name)]
    found = next((model.parent for run in runs if (model := _trained_by(run)) is not None), None)
    return (name, []) if found is None else (str(found), [f"{name} stands for the training {found}"])


def _folders_behind(name: str, root: Path) -> Iterator[Path]:
    """The folder of a checkpoint: itself, the one in an artifact of train, or the one that a run trained."""
    folder = Path(name)
    # Of several runs of one name, the newest that trained a model.
    runs = [root / RUNS / name, *named(root, name)] if "/" not in name and not os.path.exists(folder) else []
    for each in (folder, *runs):
        if os.path.isfile(each / CONFIG):
            yield each
        elif os.path.isfile(each / "model" / CONFIG):
            yield each / "model"
        elif os.path.isfile(each / RECORD) and (trained := _trained_by(each)) is not None:
            yield trained


def _trained_by(run: Path) -> Path | None:
    """The checkpoint that a run trained or took from the cache; None where there is none."""
    try:
        steps = json.loads((run / RECORD).read_text("utf-8"))["steps"]
        artifacts = [Path(step["artifact"]) for step in steps if step["name"] == TRAIN and step["artifact"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    root = run.resolve().parent.parent
    models = [root.joinpath(*artifact.parts[-3:]) / "model" for artifact in artifacts]
    return next((model for model in models if os.path.isfile(model / CONFIG)), None)


def _is_served(folder: Path) -> bool:
    if os.path.isfile(folder / SAVED_MODEL) or os.path.isfile(folder / "saved_model" / SAVED_MODEL):
        return True
    return any(os.path.isfile(version / SAVED_MODEL) for version in versions(folder).values())
