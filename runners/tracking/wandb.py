"""A run in Weights & Biases. Offline (`WANDB_MODE=offline`), `wandb sync` sends it later.

No code, command line, host, environment or output of the terminal is logged, and no file: the report shows sentences
of the corpus.
"""

import os
from collections.abc import Sequence
from typing import Any

from runners.tracking.tracker import Row, RunEnd, RunStart

ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
EXIT_CODES = {"succeeded": 0, "failed": 1, "interrupted": 130}


class WandB:
    """Tells Weights & Biases.

    Args:
        project: The project's name.
    """

    name = "wandb"

    def __init__(self, project: str) -> None:
        self.project = project
        self._logged: Any = None
        self._seen: dict[str, int] = {}

    def begin(self, run: RunStart) -> None:
        """Begins a run, or goes on in that of the run that was cut off, and logs the settings."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import wandb

        earlier = (run.earlier or {}).get("id") if not is_offline() else None
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
            host="",
        )
        self._logged = wandb.init(
            project=self.project,
            name=run.called,
            id=earlier or run.id,
            resume="allow" if earlier else None,
            dir=str(run.directory),
            config={**run.settings, "run_id": run.id, "configuration": run.configuration},
            # The library reads its environment once, and whoever runs a pipeline in a notebook may set it later.
            mode="offline" if is_offline() else "online",
            reinit="create_new",
            settings=settings,
        )
        run.keep({"id": self._logged.id})
        self._logged.define_metric("step")
        self._logged.define_metric("*", step_metric="step")
        if earlier:
            for kind in ("train", "validation"):
                self._seen[kind] = int(self._logged.summary.get(f"{kind}/step") or 0)

    def rows(self, rows: Sequence[Row]) -> None:
        """Logs the rows that aren't logged yet."""
        for row in rows:
            if row.step > self._seen.get(row.kind, 0):
                values = {f"{row.kind}/{name}": value for name, value in row.values.items()}
                self._logged.log({"step": row.step, f"{row.kind}/step": row.step, **values})
                self._seen[row.kind] = row.step

    def end(self, end: RunEnd) -> None:
        """Logs the evaluation, the verdict and where the model is, and closes the run."""
        for name, value in end.metrics.items():
            self._logged.summary[f"evaluation/{name}"] = value
        for name, fact in end.facts.items():
            self._logged.summary[name] = fact
        self._logged.summary["status"] = end.status
        self._logged.finish(exit_code=EXIT_CODES.get(end.status, 1))


def is_offline() -> bool:
    """Whether the user wants nothing to be sent for now."""
    return os.environ.get("WANDB_MODE", "online").lower() not in ("online", "shared")
