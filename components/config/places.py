"""What a user types for a file, a folder or a checkpoint, and what it stands for."""

import json
import os
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from foundation.versions import SAVED_MODEL, versions

PATHS = ("ingest.path", "ingest.test_path", "train.pretrained", "tokenizer.pretrained", "evaluate.baseline")
"""Settings that may name something on this disk; a shell leaves a `~` behind `=` as it is, and so does YAML."""
CHECKPOINTS = ("train.pretrained", "tokenizer.pretrained", "evaluate.baseline")
REVISIONS = ("train.pretrained", "tokenizer.pretrained")
"""Those of which a revision may be given."""
HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)/?(?:tree/([^/\s?#]+)/?)?")
CONFIG = "config.json"
TRAIN = "train"
WEIGHTS = (".safetensors", ".bin", ".h5", ".index.json", CONFIG)
"""How the files of a checkpoint end."""
LATEST = "latest"
RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
"""The id of a run."""
LONGEST_PART = 255
"""The longest name that file systems take, in bytes."""


def name_places(values: MutableMapping[str, Any], root: Path) -> list[str]:
    """Writes the settings that name files and checkpoints as the steps read them.

    Args:
        values: The values of all settings, by `section.key`. They are changed in place.
        root: The pipeline root, whose runs may be named by their ids.

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
            values[key], note = _checkpoint(key, name, root)
            notes += note
            page = HUB_PAGE.fullmatch(name)
            if page and page[2] and key in REVISIONS and values[key.replace("pretrained", "revision")] is None:
                values[key.replace("pretrained", "revision")] = page[2]
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


def _checkpoint(key: str, name: str, root: Path) -> tuple[str, list[str]]:
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
            remedy=f"write --{key} {folder.parent}",
        )
    if name == LATEST or RUN.fullmatch(folder.name) or os.path.isfile(folder / "run.json"):
        run = folder if os.path.isdir(folder) else root / "runs" / name
        runs = sorted((root / "runs").glob("*Z-*"), reverse=True)
        newest = next((each.name for each in runs if _trained_by(each) is not None), None)
        raise ConfigError(
            f"{key} must name a checkpoint, or a run that trained one",
            received=f"{name}, and {run} {'trained no model' if os.path.isdir(run) else 'does not exist'}",
            remedy=f"write --{key} {newest}, the newest run here that trained a model"
            if newest is not None
            else "name the folder of a checkpoint, or a Hub id: no run here trained a model",
        )
    return name, []


def _folders_behind(name: str, root: Path) -> Iterator[Path]:
    """The folder of a checkpoint: itself, the one in an artifact of train, or the one that a run trained."""
    folder = Path(name)
    run = root / "runs" / name
    for each in (folder, *([run] if "/" not in name and not os.path.exists(folder) else [])):
        if os.path.isfile(each / CONFIG):
            yield each
        elif os.path.isfile(each / "model" / CONFIG):
            yield each / "model"
        elif os.path.isfile(each / "run.json") and (trained := _trained_by(each)) is not None:
            yield trained


def _trained_by(run: Path) -> Path | None:
    """The checkpoint that a run trained or took from the cache; None where there is none."""
    try:
        steps = json.loads((run / "run.json").read_text("utf-8"))["steps"]
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
