"""Joining a cluster that is there: whether it can be reached, and whether its nodes have what a worker needs."""

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from components.config.runner_settings import RayParams
from foundation.errors import ConfigError
from runners.ray import node_probe
from runners.ray.places import places_of

LONGEST_REACH_SECONDS = 20.0
"""How long an address may be silent: a head that restarts answers within this, and a mistyped one never does."""
CONNECT_SECONDS = 2.0
CHECK_SECONDS = (20.0, 60.0)
"""The least and the most that Ray's own check has, which first has to start."""
PROBE_SECONDS = 60.0


def join(params: RayParams) -> None:
    """Joins the cluster at the address.

    Raises:
        ConfigError: If nothing answers there, or what answers isn't the same Ray.
    """
    import ray

    address = str(params.address)
    # `auto` may find a cluster that lets nobody else in, such as another run's own, and `ray.init` would wait for it.
    found = _found() if address == "auto" else address
    _require_answer(found, params.timeout_seconds, f"auto, found as {found}" if address == "auto" else address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise _unreachable(address, " ".join(str(error).split())[:300] or type(error).__name__) from error
    ray._private.worker._worker_logs_enabled = False


def _found() -> str:
    """The address that Ray finds on this machine for `auto`.

    Raises:
        ConfigError: If it finds none.
    """
    from ray._private import services

    try:
        found = services.canonicalize_bootstrap_address("auto", None)
    except Exception as error:
        raise _unreachable("auto", " ".join(str(error).split())[:300] or type(error).__name__) from error
    if not found:
        raise _unreachable("auto", "no cluster runs on this machine")
    return str(found)


def _require_answer(address: str, seconds: float, named: str) -> None:
    """Waits until Ray answers. `ray.init` would wait for minutes, and end the process if something else answers.

    Raises:
        ConfigError: If it doesn't within the time.
    """
    until = time.monotonic() + min(seconds, LONGEST_REACH_SECONDS)
    host, _, port = address.rpartition(":")
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            break
        except OSError as error:
            if time.monotonic() > until:
                raise _unreachable(named, error.strerror or str(error)) from error
        time.sleep(0.2)
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    check_seconds = min(max(seconds, CHECK_SECONDS[0]), CHECK_SECONDS[1])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=check_seconds)
    except subprocess.TimeoutExpired as error:
        said = f"what answers there isn't Ray, or not within {check_seconds:.0f} seconds"
        raise _unreachable(named, said) from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise _unreachable(named, lines[-1][:300] if lines else "Ray's health check failed")


def _unreachable(address: str, said: str) -> ConfigError:
    return ConfigError(
        "ray.address must be that of a running cluster of the same Ray and Python, which this machine is a node of",
        received=f"{address}: {said}",
        remedy="start one (ray start --head), run the command on one of its nodes with --ray.address auto, or leave "
        "--ray.address out for a cluster on this machine alone",
    )


def require_this_program(params: RayParams) -> None:
    """Asks every node that has room for a worker whether it has this very program, and sees the run's files.

    Raises:
        ConfigError: If one hasn't, or doesn't.
    """
    import ray
    from ray import cloudpickle

    # By value, so that it works on a node without this program, too.
    cloudpickle.register_pickle_by_value(node_probe)
    try:
        with tempfile.NamedTemporaryFile(prefix="seen-by-workers-") as file:
            here = node_probe.probe(file.name)
            nodes = [node for node in ray.nodes() if node["Alive"] and places_of([node], params)]
            answers = [_asked(node["NodeID"], file.name) for node in nodes]
            for node, answer in zip(nodes, answers, strict=True):
                said = _answer(answer, node["NodeManagerAddress"])
                _require_same(here, said, node["NodeManagerAddress"], Path(file.name).parent)
    finally:
        cloudpickle.unregister_pickle_by_value(node_probe)


def _asked(node: str, file: str) -> Any:
    """The answer to come of a node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(node_probe.probe).remote(file)


def _answer(answer: Any, address: str) -> node_probe.Node:
    import ray

    try:
        said: node_probe.Node = ray.get(answer, timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise ConfigError(
            "every node of the cluster must run a worker's first task",
            received=f"node {address}: {str(error).strip().splitlines()[-1][:300]}",
            remedy="look at that node's logs, or take it out of the cluster",
        ) from error
    return said


def _require_same(here: node_probe.Node, there: node_probe.Node, address: str, directory: Path) -> None:
    """Refuses a node on which no worker can do its part.

    Raises:
        ConfigError: If it is one.
    """
    node = f"node {address} ({there.host})"
    if there.missing:
        raise ConfigError(
            "every node of the cluster must have this program installed",
            received=f"{node} has no package {there.missing[0]}",
            remedy="build the nodes' image with the program's Dockerfile (--build-arg EXTRAS=gpu,kuberay), or there "
            "pip install 'masked-lm-pipeline[ray]'",
        )
    if there.code != here.code:
        raise ConfigError(
            "every node of the cluster must have the driver's version of this program",
            received=f"other code on {node}: {there.code[:12]}, here {here.code[:12]}",
            remedy="build the nodes' image anew from the same files, and start the cluster again",
        )
    if not there.sees:
        raise ConfigError(
            "every node of the cluster must see the pipeline root, at the same path",
            received=f"{node} doesn't see what this process writes to {os.path.abspath(directory)}",
            remedy="put --root on a file system that all nodes mount, such as a volume of many readers and writers",
        )
