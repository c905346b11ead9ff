"""What is said of each run where runs are listed: on a terminal, on a page and to other programs."""

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.artifacts import Evaluation
from foundation.errors import PipelineError
from foundation.versions import versions
from runners import run_record
from runners.housekeeping.inventory import Inventory, Run


@dataclasses.dataclass(frozen=True)
class Served:
    """A version that servers find.

    Attributes:
        model_name: What servers call the model.
        version: Its number.
        is_latest: Whether it is the one that servers take unless they are asked for another.
    """

    model_name: str
    version: int
    is_latest: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run. What isn't known, because it came to nothing or its record is damaged, is None.

    Attributes:
        id: The name of its folder.
        name: What the user calls it.
        directory: Its folder.
        status: `succeeded`, `failed`, `interrupted`, `running`, `killed` or `damaged`.
        started: When it began.
        finished: When it ended.
        seconds: How long it took, or has been running.
        configuration: The name or path of the configuration.
        perplexity_before: Of the model before training.
        perplexity_after: After it.
        perplexity_unigram: Of guessing by word frequency.
        blessed: Whether the model may be pushed.
        verdict: Why, in a sentence without its full stop.
        questions: Equal ones mean that the perplexities are comparable: the same masks over the same tokens.
        bytes: The size of its artifacts, which other runs may share.
        served: What it pushed, as far as it is still there.
        error: The message that it ended with.
        damage: Why its record can't be read.
    """

    id: str
    name: str | None
    directory: Path
    status: str
    started: datetime.datetime | None
    finished: datetime.datetime | None
    seconds: float | None
    configuration: str | None
    perplexity_before: float | None
    perplexity_after: float | None
    perplexity_unigram: float | None
    blessed: bool | None
    verdict: str | None
    questions: str | None
    bytes: int | None
    served: Served | None
    error: str | None
    damage: str | None

    @property
    def called(self) -> str:
        """Its name, else its id."""
        return self.name or self.id

    def as_plain(self) -> dict[str, Any]:
        """The same as values for JSON."""
        content = dataclasses.asdict(self)
        moments = {key: each and each.isoformat() for key, each in content.items() if key in ("started", "finished")}
        return {**content, **moments, "directory": str(self.directory)}


def listed_runs(inventory: Inventory) -> list[ListedRun]:
    """The runs of a root, the newest first."""
    now = datetime.datetime.now(datetime.UTC)
    there: dict[Path, list[int]] = {}
    return [_listed(run, inventory, now, there) for run in reversed(inventory.runs)]


def _listed(run: Run, inventory: Inventory, now: datetime.datetime, there: dict[Path, list[int]]) -> ListedRun:
    # A run that has just begun may have no record yet.
    record = run.record or {}
    metrics, verdict = record.get("metrics", {}), _verdict(run, inventory.root) if run.record else {}
    started, finished = moment(record.get("started")), moment(record.get("finished"))
    end = now if run.is_running else finished
    sizes = [inventory.artifacts[name].bytes for name in run.artifacts.values() if name in inventory.artifacts]
    return ListedRun(
        id=run.name,
        name=record.get("name"),
        directory=run.directory,
        status=run.status,
        started=started,
        finished=finished,
        seconds=None if started is None or end is None else max(0.0, round((end - started).total_seconds(), 3)),
        configuration=record.get("configuration"),
        perplexity_before=metrics.get("perplexity_before"),
        perplexity_after=metrics.get("perplexity_after"),
        perplexity_unigram=metrics.get("perplexity_unigram"),
        blessed=verdict.get("blessed"),
        verdict=verdict.get("sentence"),
        questions=f"{verdict['masks_digest']}/{verdict['tokenizer_digest']}" if verdict else None,
        bytes=sum(sizes) if sizes else None,
        served=_served(run, inventory.root, there),
        error=record.get("error"),
        damage=run.damage,
    )


def _verdict(run: Run, root: Path) -> Mapping[str, Any]:
    """What the record says of the evaluation; of a record that an earlier version wrote, what the artifact says."""
    record = run.record or {}
    if record.get("verdict") or "evaluate" not in run.artifacts:
        return record.get("verdict") or {}
    try:
        return run_record.verdict_of(Evaluation(root / run.artifacts["evaluate"]))
    except (PipelineError, OSError):
        return {}


def _served(run: Run, root: Path, there: dict[Path, list[int]]) -> Served | None:
    """What a run pushed, if it is still there.

    Args:
        run: The run.
        root: The pipeline root.
        there: The versions of each base path that was looked at; filled here.
    """
    pushed = run.pushed_to(root)
    if pushed is None:
        return None
    base_path, version = pushed
    if base_path not in there:
        try:
            there[base_path] = list(versions(base_path))
        except OSError:
            there[base_path] = []
    found = there[base_path]
    return Served(base_path.name, version, version == found[-1]) if version in found else None


def moment(text: object) -> datetime.datetime | None:
    """A moment in ISO 8601; None where there is none."""
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
