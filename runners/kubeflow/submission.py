"""Sends a pipeline to Kubeflow Pipelines, and starts a run of it: REST, v2beta1.

https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
"""

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping
from typing import Any

import httpx

from components.config.runner_settings import KubeflowParams
from foundation.errors import PipelineError

TOKEN = "KUBEFLOW_TOKEN"
"""The environment variable with the token that Kubeflow asks for, if it does."""
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
API = "/apis/v2beta1"
LONGEST_ANSWER = 300
"""How many characters of an answer that says why are shown."""


class SubmissionError(PipelineError):
    """Kubeflow Pipelines is out of reach, or refuses a pipeline or a run of it."""


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A run that Kubeflow has begun.

    Attributes:
        run_id: Its id.
        version: The name of the pipeline's version that it runs.
        url: Its page.
    """

    run_id: str
    version: str
    url: str


def submit(text: str, settings: KubeflowParams, run_name: str | None = None) -> Submitted:
    """Uploads a pipeline, as a new version where there is one of the name, and starts a run of it.

    Args:
        text: The pipeline's file.
        settings: Where to, and its name.
        run_name: What the run is called; None for the version's name.

    Raises:
        SubmissionError: If the server can't be reached or refuses.
    """
    token = os.environ.get(TOKEN, "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    host = str(settings.host).rstrip("/")
    with httpx.Client(base_url=host, headers=headers, timeout=TIMEOUT) as client:
        server = _Server(client, host, bool(token))
        version = f"{settings.pipeline_name} {_now()}"
        reference = _upload(server, text, settings, version)
        body: dict[str, Any] = {
            "display_name": run_name or version,
            "pipeline_version_reference": reference,
            "runtime_config": {},
        }
        if settings.experiment is not None or settings.namespace is not None:
            body["experiment_id"] = _experiment(server, settings)
        run = server.ask("POST", "/runs", "start the run", json=body)
        run_id = server.text(run, "run_id")
    return Submitted(run_id, version, f"{host}/#/runs/details/{run_id}")


def _upload(server: "_Server", text: str, settings: KubeflowParams, version: str) -> dict[str, str]:
    """Uploads the pipeline; which version of which pipeline it is."""
    file = {"uploadfile": ("pipeline.yaml", text.encode(), "application/yaml")}
    pipeline_id = _find(server, "pipelines", "pipeline_id", settings.pipeline_name, settings.namespace)
    if pipeline_id is None:
        parameters = {"name": settings.pipeline_name}
        if settings.namespace is not None:
            parameters["namespace"] = settings.namespace
        made = server.ask("POST", "/pipelines/upload", "take the pipeline", params=parameters, files=file)
        pipeline_id = server.text(made, "pipeline_id")
        newest = {"sort_by": "created_at desc", "page_size": "1"}
        listed = server.ask("GET", f"/pipelines/{pipeline_id}/versions", "list the versions", params=newest)
        made = next(iter(listed.get("pipeline_versions") or [{}]))
    else:
        parameters = {"pipelineid": pipeline_id, "name": version}
        made = server.ask("POST", "/pipelines/upload_version", "take the version", params=parameters, files=file)
    return {"pipeline_id": pipeline_id, "pipeline_version_id": server.text(made, "pipeline_version_id")}


def _experiment(server: "_Server", settings: KubeflowParams) -> str:
    """The id of the run's experiment, which is made where it is missing."""
    name = settings.experiment or "Default"
    found = _find(server, "experiments", "experiment_id", name, settings.namespace)
    if found is not None:
        return found
    body = {"display_name": name} | ({} if settings.namespace is None else {"namespace": settings.namespace})
    made = server.ask("POST", "/experiments", f"make the experiment {name}", json=body)
    return server.text(made, "experiment_id")


def _find(server: "_Server", kind: str, identity: str, name: str, namespace: str | None) -> str | None:
    """The id of what has a name; None where nothing has."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    parameters = {"filter": json.dumps({"predicates": [predicate]})}
    if namespace is not None:
        parameters["namespace"] = namespace
    found = server.ask("GET", f"/{kind}", f"list its {kind}", params=parameters).get(kind) or []
    return server.text(found[0], identity) if found else None


@dataclasses.dataclass(frozen=True)
class _Server:
    """A server of Kubeflow Pipelines.

    Attributes:
        client: Asks it.
        host: Its address.
        has_token: Whether it is given a token.
    """

    client: httpx.Client
    host: str
    has_token: bool

    def ask(self, method: str, path: str, what: str, **request: Any) -> Mapping[str, Any]:
        """What it answers.

        Args:
            method: Of HTTP.
            path: Below the API's.
            what: What it is asked to do, for an error's message.
            request: More of the request, as httpx takes it.

        Raises:
            SubmissionError: If it can't be reached, refuses, or answers something else than JSON.
        """
        try:
            answer = self.client.request(method, API + path, **request)
        except httpx.HTTPError as error:
            raise SubmissionError(
                "kubeflow.host must be the address of Kubeflow Pipelines, and be reached from here",
                received=f"{self.host}: {type(error).__name__}: {error}",
                remedy="correct --kubeflow.host, or forward its port: kubectl port-forward -n kubeflow "
                "svc/ml-pipeline-ui 8080:80 makes it http://localhost:8080; the file is written, and can be uploaded "
                "by hand",
            ) from error
        if answer.status_code in (401, 403) or answer.is_redirect:
            raise SubmissionError(
                f"Kubeflow Pipelines must let you {what}",
                received=f"{answer.status_code} from {self.host}"
                f"{self._reason(answer)}, {'with' if self.has_token else 'without'} a token",
                remedy=f"set the environment variable {TOKEN} to a token that it takes"
                + (", or have its user be allowed that" if self.has_token else "")
                + "; with several users, name yours by --kubeflow.namespace",
            )
        if answer.is_error:
            raise SubmissionError(
                f"Kubeflow Pipelines must {what}",
                received=f"{answer.status_code} from {self.host}{self._reason(answer)}",
                remedy="correct what it names; where it knows no such address, it is older than version 2, or "
                "--kubeflow.host lacks a path",
            )
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._strange(answer.text)
        return content

    def text(self, content: Mapping[str, Any], key: str) -> str:
        """A text of an answer.

        Raises:
            SubmissionError: If it lacks it.
        """
        value = content.get(key)
        if not isinstance(value, str) or not value:
            raise self._strange(json.dumps(dict(content)))
        return value

    def _strange(self, answer: str) -> SubmissionError:
        return SubmissionError(
            "kubeflow.host must be the address of Kubeflow Pipelines 2",
            received=f"{self.host}, which answers {answer[:LONGEST_ANSWER]!r}",
            remedy="correct --kubeflow.host",
        )

    def _reason(self, answer: httpx.Response) -> str:
        """What an answer says of the reason, without the token, should a server repeat it."""
        try:
            content = answer.json()
            reason = content.get("error_message") or content.get("message") or content.get("error") or ""
        except (ValueError, AttributeError):
            reason = "" if answer.is_redirect else answer.text
        token = str(self.client.headers.get("Authorization", "")).removeprefix("Bearer ")
        reason = " ".join(str(reason).split())
        return f": {reason.replace(token, '…') if token else reason}"[:LONGEST_ANSWER] if reason else ""


def _now() -> str:
    """The time, UTC, to the millisecond: two versions need two names."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
