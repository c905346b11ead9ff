"""Whether a cluster has room for the workers asked for: all of them at the same time."""

import os
import time
from typing import Any

from components.config.runner_settings import RayParams
from foundation.errors import ConfigError

LOOK_SECONDS = 1.0
MOST_WORKERS_PER_CORE = 4
LEAST_LIMIT = 8
"""So many workers every machine may have, for a trial."""


def require_sensible_number(params: RayParams) -> None:
    """Refuses more workers than this machine could start, where they would all be on it.

    Raises:
        ConfigError: If there are many times as many as cores, which would fill its memory and be slower than fewer.
    """
    cores = os.cpu_count() or 1
    most = max(LEAST_LIMIT, MOST_WORKERS_PER_CORE * cores)
    if params.address is None and params.workers > most:
        raise ConfigError(
            f"a cluster of this machine alone must have at most {most:,} workers",
            received=f"{params.workers:,} workers for {cores:,} cores",
            remedy=f"set --ray.workers {cores}, or join a cluster with --ray.address",
        )


def require_places(params: RayParams) -> None:
    """Waits until the cluster has places for all workers, some of whose nodes may come late.

    Raises:
        ConfigError: If it hasn't within the time, with both numbers.
    """
    import ray
    from ray.util import placement_group, remove_placement_group

    if params.address is None and places_of(ray.nodes(), params) < params.workers:
        # Nobody joins a cluster of this machine alone.
        raise too_few_places(ray.nodes(), params)
    # Ray's own way to ask: a cluster that grows on demand begins to grow by it.
    places = placement_group([needs_of(params)] * params.workers, strategy="PACK")
    until = time.monotonic() + params.timeout_seconds
    try:
        while not places.wait(LOOK_SECONDS):
            if time.monotonic() > until:
                raise too_few_places(ray.nodes(), params)
    finally:
        remove_placement_group(places)


def needs_of(params: RayParams) -> dict[str, float]:
    """What one worker needs of its node, in Ray's names."""
    needs = {"CPU": params.cpus_per_worker}
    if params.gpus_per_worker:
        needs["GPU"] = params.gpus_per_worker
    return needs


def places_of(nodes: list[dict[str, Any]], params: RayParams) -> int:
    """How many workers some nodes have room for, if nobody else is there.

    Args:
        nodes: As Ray lists them.
        params: Has what a worker needs.
    """
    needs = needs_of(params)
    # A thousandth, because 0.1 + 0.2 of a processor is no more than 0.3.
    return sum(
        int(min(node["Resources"].get(name, 0) / need + 1e-3 for name, need in needs.items()))
        for node in nodes
        if node["Alive"]
    )


def too_few_places(nodes: list[dict[str, Any]], params: RayParams) -> ConfigError:
    """The error of a cluster that is too small, or busy with other things."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    cpus, gpus = (sum(resources.get(name, 0) for resources in alive) for name in ("CPU", "GPU"))
    room = places_of(nodes, params)
    each = f"{params.cpus_per_worker:g} CPUs"
    if params.gpus_per_worker:
        each += f" and {params.gpus_per_worker:g} GPUs"
    busy = ", some of which others use" if room >= params.workers else ""
    waited = "" if params.address is None else f" after {params.timeout_seconds:g} seconds"
    return ConfigError(
        f"the cluster must have room for {params.workers:,} workers with {each} each",
        received=f"room for {room:,}{busy}{waited}: {len(alive):,} nodes with {cpus:g} CPUs and {gpus:g} GPUs",
        remedy="lower --ray.workers, --ray.cpus_per_worker or --ray.gpus_per_worker, add nodes, or wait longer with "
        "--ray.timeout_seconds",
    )
