"""A run in MLflow. Only the client is needed here (mlflow-skinny); the server is wherever it is.

Nothing is told that MLflow's own commands would add by themselves: no user, no host, no environment.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runners.tracking.tracker import Row, RunEnd, RunStart, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    # A server that doesn't answer is noticed in seconds, and is tried again anyway.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # The client would send word of its own use to its makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LONGEST_VALUE = 5000
"""Characters of a param or tag; MLflow takes a few more."""
MOST_METRICS = 900
"""In one request; MLflow takes 1,000."""
TAG = "pipeline."


class MLflow:
    """Tells an MLflow server.

    Args:
        uri: Its address, as `MLFLOW_TRACKING_URI` has it.
        experiment: The experiment's name; it is made where it is missing.
    """

    name = "mlflow"

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment
        self.run_id: str | None = None
        self._run: RunStart | None = None
        self._has_params = False
        self._seen: dict[str, int] = {}
        self._uploaded: set[str] = set()

    @property
    def client(self) -> "MlflowClient":
        """A client, which holds no connection."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def begin(self, run: RunStart) -> None:
        """Begins a run, or goes on in that of the run that was cut off, and logs the settings."""
        from mlflow.entities import Param

        self._run = run
        client = self.client
        if self.run_id is None:
            earlier = self._earlier(client, run)
            self.run_id = earlier or self._new_run(client, run)
            run.keep({"run_id": self.run_id, "uri": without_credentials(self.uri)})
            if earlier is not None:
                self._go_on(client, run, earlier)
        if not self._has_params:
            params = [Param(key, _text(value)) for key, value in run.settings.items()]
            for start in range(0, len(params), 100):
                client.log_batch(self.run_id, params=params[start : start + 100])
            self._has_params = True

    def rows(self, rows: Sequence[Row]) -> None:
        """Logs the rows that the server doesn't have yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics, seen = [], dict(self._seen)
        for row in rows:
            if row.step > self._seen.get(row.kind, 0):
                metrics += [Metric(f"{row.kind}/{name}", value, now, row.step) for name, value in row.values.items()]
                seen[row.kind] = row.step
        for start in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(self._known, metrics=metrics[start : start + MOST_METRICS])
        self._seen = seen

    def end(self, end: RunEnd) -> None:
        """Logs the evaluation, the verdict and where the model is; uploads the report; and closes the run."""
        from mlflow.entities import Metric, RunTag

        client, now = self.client, int(time.time() * 1000)
        metrics = [Metric(f"evaluation/{name}", value, now, end.step) for name, value in end.metrics.items()]
        tags = [RunTag(f"{TAG}{name}", _text(value)) for name, value in {**end.facts, "status": end.status}.items()]
        client.log_batch(self._known, metrics=metrics, tags=tags)
        for path in end.files:
            if str(path) not in self._uploaded:
                client.log_artifact(self._known, str(path))
                self._uploaded.add(str(path))
        client.set_terminated(self._known, STATUSES.get(end.status, "FAILED"))

    @property
    def _known(self) -> str:
        """The run's id in MLflow; the calls come in order, so it has begun."""
        if self.run_id is None:
            raise RuntimeError("the run has not begun")
        return self.run_id

    def _earlier(self, client: "MlflowClient", run: RunStart) -> str | None:
        """The run to go on in: that of the pipeline's run that was cut off, unless somebody has removed it."""
        from mlflow.exceptions import MlflowException

        kept: Mapping[str, Any] = run.earlier or {}
        if kept.get("uri") != without_credentials(self.uri) or not isinstance(kept.get("run_id"), str):
            return None
        try:
            found = client.get_run(kept["run_id"])
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return str(found.info.run_id) if found.info.lifecycle_stage == "active" else None

    def _go_on(self, client: "MlflowClient", run: RunStart, earlier: str) -> None:
        client.update_run(earlier, status="RUNNING")
        client.set_tag(earlier, f"{TAG}run_id", run.id)
        client.set_tag(earlier, f"{TAG}goes_on_from", run.earlier_id or "")
        for kind in ("train", "validation"):
            history = client.get_metric_history(earlier, f"{kind}/loss")
            self._seen[kind] = max((each.step for each in history), default=0)

    def _new_run(self, client: "MlflowClient", run: RunStart) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                experiment = client.create_experiment(self.experiment)
            except MlflowException:  # another run has made it meanwhile
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found is not None:
            experiment = found.experiment_id
        tags = {f"{TAG}run_id": run.id, f"{TAG}configuration": run.configuration or ""}
        if run.name:
            tags[f"{TAG}name"] = run.name
        return str(client.create_run(experiment, run_name=run.called, tags=tags).info.run_id)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
