"""Settings of the runners that use more than this machine.

None of them changes what a step makes, so none is in a key.
"""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class KubeflowParams:
    """What `--runner kubeflow` writes into the pipeline's file, and where it sends it.

    Attributes:
        output: The file to write, for Kubeflow Pipelines 2 or Vertex AI.
        host: The address of Kubeflow Pipelines, to run the pipeline there; null to write the file alone.
        pipeline_name: The pipeline's name there.
        image: The container image that every step runs in: this program, as its Dockerfile builds it.
        cpus: Processor cores that a step asks for.
        memory: Memory that a step asks for, such as 16G.
        accelerator: The resource that train and evaluate ask for, such as nvidia.com/gpu; null for none.
        accelerators: How many of them.
        volume: A volume claim that all steps see, for local sources and the serving directory; null for none.
        volume_path: Where it is mounted.
    """

    output: str = "pipeline.yaml"
    host: str | None = None
    pipeline_name: str = "masked-lm-pipeline"
    image: str = "masked-lm-pipeline:latest"
    cpus: float = 4.0
    memory: str = "16G"
    accelerator: str | None = None
    accelerators: int = 1
    volume: str | None = None
    volume_path: str = "/data"

    def __post_init__(self) -> None:
        _at_least("kubeflow.cpus", self.cpus, 0.01)
        _at_least("kubeflow.accelerators", self.accelerators, 1)


def _at_least(key: str, value: float, least: float) -> None:
    """Refuses a number that is too small.

    Raises:
        ConfigError: If it is.
    """
    if not value >= least:
        raise ConfigError(f"{key} must be at least {least:g}", received=f"{value:g}", remedy=f"set --{key} {least:g}")
