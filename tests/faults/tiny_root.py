"""A tiny job's folder with its root: how it was before a step, and how it must be after it."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.artifacts import Checkpoint, ServingModel
from components.contract.push_record import identity_of, read_record
from foundation.errors import PipelineError

STEPS = ["ingest", "tokenizer", "preprocess", "train", "evaluate", "export", "validate", "push"]
ROOT = "root"
MODEL = f"{ROOT}/serving/tiny"
VARYING = re.compile(r"events\.out\.tfevents\.\S+")
"""Names that hold the time, the host and the process."""


def before(step: str, finished: Path, directory: Path) -> Path:
    """Copies a finished job's folder as it was before a step."""
    shutil.copytree(finished, directory, symlinks=True)
    for later in STEPS[STEPS.index(step) :]:
        shutil.rmtree(directory / ROOT / "artifacts" / later, ignore_errors=True)
    shutil.rmtree(directory / ROOT / "serving", ignore_errors=True)
    return directory


def artifact_of(directory: Path, step: str) -> Path:
    """The directory of a step's only artifact."""
    [artifact] = sorted((directory / ROOT / "artifacts" / step).glob("*/manifest.json"))
    return artifact.parent


def state(directory: Path, until: str) -> dict[str, Any]:
    """All of a root that must be equal after equal commands, up to and including a step's; and what must not be there.

    Where a file's bytes vary without meaning (times, speeds, the order in a SavedModel), its name counts.
    """
    found: dict[str, Any] = {}
    for step in STEPS[: STEPS.index(until) + 1]:
        names = sorted(path.name for path in (directory / ROOT / "artifacts" / step).iterdir() if path.is_dir())
        found[f"{step}: number of directories"] = len(names)
        artifact = directory / ROOT / "artifacts" / step / names[0]
        try:
            content = manifest.read(artifact)
            manifest.verify(artifact, content, {})
        except PipelineError as error:
            found[f"{step}: as written"] = str(error)
            continue
        below = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file()}
        found[f"{step}: files beside those of the manifest"] = below - {manifest.NAME, *content["files"]}
        for name, file in content["files"].items():
            is_equal = step not in ("train", "export", "validate", "push") or name.startswith(("model/", "initial/"))
            found[f"{step}: {VARYING.sub('events', name)}"] = file["sha256"] if is_equal else "is there"
    if STEPS.index(until) >= STEPS.index("push"):
        found |= served(directory)
    record = json.loads((directory / ROOT / "runs/latest/run.json").read_text())
    found["metrics"] = record["metrics"] if STEPS.index(until) >= STEPS.index("evaluate") else None
    found["status"] = record["status"]
    found["statuses"] = {json.loads(path.read_text())["status"] for path in directory.glob("root/runs/2*/run.json")}
    found["statuses"] -= {"succeeded", "killed", "failed", "interrupted"}
    found["still running"] = [str(path) for path in directory.glob("root/runs/*/.running")]
    found["report"] = (directory / ROOT / "runs/latest/report.html").is_file()
    found["left over"] = sorted(
        path.relative_to(directory).as_posix()
        for path in (directory / ROOT).rglob("*")
        if path.name.endswith((".partial", ".replaced")) or path.name.startswith((".pushing-", ".latest-"))
    )
    return found


def served(directory: Path) -> dict[str, Any]:
    """The versions that a server finds, each compared with the exported model."""
    export = artifact_of(directory, "export")
    exported = {
        name.removeprefix("saved_model/"): file["sha256"]
        for name, file in manifest.read(export)["files"].items()
        if name.startswith("saved_model/")
    }
    found: dict[str, Any] = {"versions": sorted(name for name in os.listdir(directory / MODEL) if name[0] != ".")}
    for version in found["versions"]:
        copied = {
            path.relative_to(directory / MODEL / version).as_posix(): manifest.digest_of_file(path)
            for path in (directory / MODEL / version).rglob("*")
            if path.is_file() and path.name != "pushed.json"
        }
        found[f"version {version} is the exported model"] = copied == exported
        record = read_record(directory / MODEL / version)
        identity = identity_of(ServingModel(export), Checkpoint(artifact_of(directory, "train")))
        found[f"version {version}: recorded identity"] = record is not None and record["identity"] == identity
    return found


def differences(directory: Path, finished: Path, until: str) -> dict[str, tuple[Any, Any]]:
    """Where a root differs from that of an undisturbed run: what is there, and what must be."""
    mine, theirs = state(directory, until), state(finished, until)
    return {name: (mine.get(name), theirs.get(name)) for name in mine | theirs if mine.get(name) != theirs.get(name)}
