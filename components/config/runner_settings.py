"""Settings of the runners that use more than this machine.

None of them changes what a step makes, so none is in a key.
"""

import dataclasses
import math
import re

from foundation.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class RayParams:
    """Where `--runner ray` runs the parts of steps, and with how many workers.

    Attributes:
        address: A cluster to join, of which this machine is a node, as auto or HOST:6379; null for one of this machine
            alone, which ends with the run.
        workers: How many processes share a step's work.
        cpus_per_worker: Processor cores that each of them has.
        gpus_per_worker: GPUs that each of them has; without any, it works on the CPU alone.
        max_failures: How often in one step workers that die are replaced, before the step fails.
        timeout_seconds: How long to wait for the cluster, and for all workers to have their places in it.
    """

    address: str | None = None
    workers: int = 2
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    max_failures: int = 3
    timeout_seconds: float = 300.0

    def __post_init__(self) -> None:
        _at_least("ray.workers", self.workers, 1)
        _at_least("ray.cpus_per_worker", self.cpus_per_worker, 0.01)
        _at_least("ray.gpus_per_worker", self.gpus_per_worker, 0)
        _at_least("ray.max_failures", self.max_failures, 0)
        _at_least("ray.timeout_seconds", self.timeout_seconds, 1)
        if self.address is not None:
            _require_address(self.address)


@dataclasses.dataclass(frozen=True)
class KubeflowParams:
    """What `--runner kubeflow` writes into the pipeline's file, and where it sends it.

    Attributes:
        output: The file to write, for Kubeflow Pipelines 2 or Vertex AI.
        host: The address of Kubeflow Pipelines, to run the pipeline there; null to write the file alone. A token is
            read from KUBEFLOW_TOKEN.
        namespace: The namespace of the run, where Kubeflow serves several users; null where it serves one.
        experiment: The experiment that the run belongs to, made where it is missing; null for Kubeflow's default one.
        pipeline_name: The pipeline's name there.
        image: The container image that every step runs in: this program, as its Dockerfile builds it.
        cpus: Processor cores that a step gets.
        memory: Memory that a step gets, such as 16G.
        accelerator: The resource that train and evaluate ask for, such as nvidia.com/gpu; null for none.
        accelerators: How many of them.
        node_labels: Labels of the nodes that train and evaluate may run on; null for any node.
        volume: A volume claim that all steps see, for local sources, the serving directory, and a root in which steps
            find what they made before; null for none.
        volume_path: Where it is mounted; a relative --root is below it.
        hub_secret: A Kubernetes secret whose key HF_TOKEN is the token for the Hub; null for none.
        retries: How often a step that fails is tried again. With a volume, training then goes on where it was.
    """

    output: str = "pipeline.yaml"
    host: str | None = None
    namespace: str | None = None
    experiment: str | None = None
    pipeline_name: str = "masked-lm-pipeline"
    image: str = "masked-lm-pipeline:latest"
    cpus: float = 4.0
    memory: str = "16G"
    accelerator: str | None = None
    accelerators: int = 1
    node_labels: dict[str, str] | None = None
    volume: str | None = None
    volume_path: str = "/data"
    hub_secret: str | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        _at_least("kubeflow.cpus", self.cpus, 0.01)
        _at_least("kubeflow.accelerators", self.accelerators, 1)
        _at_least("kubeflow.retries", self.retries, 0)
        for key, (pattern, rule, example) in _FORMS.items():
            value = getattr(self, key)
            if value is not None and not re.fullmatch(pattern, value):
                raise ConfigError(
                    f"kubeflow.{key} must be {rule}",
                    received=repr(value if "@" not in value else "one with an @"),
                    remedy=f"give e.g. --kubeflow.{key} {example}",
                )


MOST_PORT = 65535
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_FORMS = {
    "output": (r"(?s).*\S.*", "the path of a file", "pipeline.yaml"),
    # What stands before an @ would be a password, and be written wherever the configuration is.
    "host": (r"https?://[^\s/?#@]+(/[^\s?#@]*)?", "an address without a name and a password", "http://localhost:8080"),
    "namespace": (_LABEL, "the name of a namespace in Kubernetes", "kubeflow-user-example-com"),
    "experiment": (r"(?s).*\S.*", "a name", "masked-lm"),
    # Vertex AI's rule, which is the strictest.
    "pipeline_name": (r"[a-z0-9][a-z0-9-]{0,127}", "lower-case letters, digits and '-'", "masked-lm-pipeline"),
    "image": (
        r"[A-Za-z0-9][A-Za-z0-9._:/@-]*",
        "the name of a container image",
        "registry.example.com/masked-lm-pipeline:1",
    ),
    "memory": (r"[0-9]+(\.[0-9]+)?([KMGTP]i?)?", "a number with K, M, G, T, Ki, Mi, Gi or Ti", "16G"),
    "accelerator": (r"[A-Za-z0-9][A-Za-z0-9._/-]*", "the name of a resource", "nvidia.com/gpu"),
    "volume": (rf"{_LABEL}(\.{_LABEL})*", "the name of a persistent volume claim", "masked-lm-data"),
    "volume_path": (r"(?s)/[^\0{}:]*[^\0{}:/.][^\0{}:]*", "an absolute path", "/data"),
    "hub_secret": (rf"{_LABEL}(\.{_LABEL})*", "the name of a secret in Kubernetes", "hugging-face"),
}
"""What texts must look like: a pattern, in words, and an example. Kubernetes would refuse others when a step starts."""


def _at_least(key: str, value: float, least: float) -> None:
    """Refuses a number that is too small.

    Raises:
        ConfigError: If it is.
    """
    if not (value >= least and math.isfinite(value)):
        rule = "a finite number" if value > least else f"at least {least:g}"
        raise ConfigError(f"{key} must be {rule}", received=f"{value:g}", remedy=f"set --{key} {least:g}")


def _require_address(address: str) -> None:
    """Refuses what can't be the address of a Ray cluster.

    Raises:
        ConfigError: If it is that.
    """
    shown = "one with an @" if "@" in address else address or "an empty one"
    if address.startswith("ray://"):
        raise ConfigError(
            "ray.address must be one that the driver can join as a part of the cluster",
            received=f"{shown}, an address of Ray Client, whose work is lost when its connection breaks",
            remedy="run the command on a node of the cluster with --ray.address auto, such as by ray job submit",
        )
    found = re.fullmatch(r"(?:[^\s/@:\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", address)
    if address != "auto" and not (found and 0 < int(found[1]) <= MOST_PORT):
        raise ConfigError(
            "ray.address must be auto, or HOST:PORT with the port of the cluster's head",
            received=shown,
            remedy="give e.g. --ray.address 10.0.0.5:6379, or leave it out for a cluster on this machine alone",
        )
