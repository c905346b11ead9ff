"""Records of runs that were never made, as a runner writes them, for lists of many."""

import datetime
import json
from pathlib import Path
from typing import Any

from components.contract import manifest
from runners.run_record import OWN_DIGEST

FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def write_record(root: Path, number: int, **values: Any) -> Path:
    """The folder of the run that began so many minutes after the first."""
    started = FIRST + datetime.timedelta(minutes=number)
    identifier = f"{started:%Y%m%dT%H%M%SZ}-{number:04x}"
    folder = root / "runs" / identifier
    folder.mkdir(parents=True)
    record = {
        "id": identifier,
        "name": None,
        "status": "succeeded",
        "started": started.isoformat(),
        "finished": (started + datetime.timedelta(seconds=30)).isoformat(),
        "configuration": "quickstart",
        "config": {"train": {"epochs": 1}},
        "steps": [],
        "metrics": {"perplexity_before": 800.0, "perplexity_after": 100.0 - number / 100},
        "verdict": {
            "blessed": number % 2 == 0,
            "sentence": "perplexity is below that of counting",
            "masks_digest": "m" * 64,
            "tokenizer_digest": "t" * 64,
        },
        "error": None,
        "library_versions": {},
        **values,
    }
    # Without waiting for the disk, as a runner does.
    (folder / "run.json").write_text(json.dumps(manifest.sealed(record, OWN_DIGEST)), "utf-8")
    return folder
