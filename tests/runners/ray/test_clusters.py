"""Clusters that are joined, and what ends with a driver: real nodes and drivers on 127.0.0.1, each a process."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import pipeline
from components.config.runner_settings import RayParams
from foundation.errors import ConfigError
from runners.ray import joining, node_probe
from runners.ray.places import places_of, too_few_places

ROOT = Path(pipeline.__file__).parent
HERE = Path(__file__).parent
MARK = "PROCESS_OF_THIS_TEST"
SQUARES = [number * number for number in range(10)]
END_SECONDS = 90.0
"""How long processes may take to notice that their driver was killed, on a machine that does other things as well."""
HIDES_THIS_PROGRAM = """
import sys
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in getattr(each, "__module__", "")]
"""


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def environment(**more: str) -> dict[str, str]:
    """Has Ray listen on 127.0.0.1 alone, and nodes and drivers have the same token."""
    return {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", **more}


def command(params: dict[str, object], what: str, directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.runners.ray.driver", json.dumps(params), what, str(directory)]


class SmallCluster:
    """A cluster with one place for a worker, at first.

    Args:
        directory: Of Ray's files; with a short path.
        python_path: What its nodes find modules in before all else.
    """

    def __init__(self, directory: Path, python_path: Path | None = None) -> None:
        self.token = uuid.uuid4().hex * 2
        settings = {"RAY_TMPDIR": str(directory), "RAY_AUTH_TOKEN": self.token, "PYTHONPATH": str(python_path or "")}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "small_cluster.py")],
            env=environment(**settings),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def add_node(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def start_driver(self, directory: Path, at: Path = ROOT, **params: object) -> "subprocess.Popen[str]":
        """A driver that works in some directory, which its workers find modules in, too."""
        params = {"address": self.address, "workers": 1, "timeout_seconds": 60, **params}
        return subprocess.Popen(
            command(params, "map", directory),
            env=environment(RAY_AUTH_TOKEN=self.token, PYTHONPATH=str(ROOT)),
            cwd=at,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def refusal(self, directory: Path, **params: object) -> str:
        """What a driver is refused with, before any work."""
        out, told = self.start_driver(directory, directory, **params).communicate(timeout=200)
        assert out == ""
        return told

    def end(self) -> None:
        try:
            self.process.communicate(timeout=60)  # its standard input ends
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def small_cluster() -> Iterator[Callable[..., SmallCluster]]:
    clusters = []
    with tempfile.TemporaryDirectory(prefix="small-", dir="/tmp", ignore_cleanup_errors=True) as directory:

        def start(python_path: Path | None = None) -> SmallCluster:
            clusters.append(SmallCluster(Path(directory), python_path))
            return clusters[-1]

        try:
            yield start
        finally:
            for each in clusters:
                each.end()


@pytest.mark.slow
def test_a_cluster_is_joined_and_a_node_that_comes_late_is_waited_for(small_cluster, tmp_path: Path) -> None:
    cluster = small_cluster()
    told = cluster.refusal(tmp_path, workers=2, timeout_seconds=2)
    assert "must have room for 2 workers with 1 CPUs each. Received: room for 1 after 2 seconds: 1 nodes" in told
    driver = cluster.start_driver(tmp_path, workers=2)
    cluster.add_node()
    out, told = driver.communicate(timeout=200)
    assert (json.loads(out), told, driver.returncode) == (SQUARES, "", 0)


@pytest.mark.slow
def test_a_node_without_this_program_is_refused_before_any_work(small_cluster, tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes/sitecustomize.py").write_text(HIDES_THIS_PROGRAM, "utf-8")
    told = small_cluster(tmp_path / "nodes").refusal(tmp_path)
    assert "must have this program installed. Received: node 127.0.0.1" in told
    assert "has no package foundation. Way out: build the nodes' image" in told


@pytest.mark.slow
def test_a_node_with_another_version_is_refused_before_any_work(small_cluster, tmp_path: Path) -> None:
    for name in node_probe.PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / "nodes" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "nodes/foundation/names.py", "a", encoding="utf-8") as file:
        file.write("# another version\n")
    told = small_cluster(tmp_path / "nodes").refusal(tmp_path)
    assert "must have the driver's version of this program. Received: other code on node 127.0.0.1" in told


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "auto", "ray://127.0.0.1:10001", "somewhere"])
def test_an_address_without_a_cluster_is_refused_within_the_time(address: str, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:  # says nothing
        params = {"address": address.format(port=server.getsockname()[1]), "timeout_seconds": 1}
        settings = environment(RAY_TMPDIR=str(tmp_path), RAY_AUTH_TOKEN="0" * 64)
        done = subprocess.run(
            command(params, "map", tmp_path), env=settings, cwd=ROOT, capture_output=True, text=True, timeout=120
        )
    assert (done.stdout, done.returncode) == ("", 2)
    assert "ray.address must be" in done.stderr
    assert f"Received: {params['address']}" in done.stderr
    assert "Way out: " in done.stderr


@pytest.mark.slow
def test_gpus_that_this_machine_lacks_are_refused_with_both_numbers(tmp_path: Path) -> None:
    params = {"workers": 2, "gpus_per_worker": 1000}
    done = subprocess.run(command(params, "map", tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "room for 2 workers with 1 CPUs and 1000 GPUs each. Received: room for 0: 1 nodes with 2 CPUs" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
@pytest.mark.parametrize(
    ("what", "number", "code"),
    [("wait", signal.SIGKILL, -9), ("wait_together", signal.SIGTERM, 143)],
)
def test_nothing_outlives_its_driver(what: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    before = set(Path("/tmp").glob("mlm-ray-*"))
    with subprocess.Popen(
        command({}, what, tmp_path),
        env={**os.environ, MARK: mark},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as driver:
        wait_until(lambda: len(list(tmp_path.glob("*.begun"))) == 2, 200, "no worker began")
        of_driver = [path for path in set(Path("/tmp").glob("mlm-ray-*")) - before if path.is_dir()]
        assert len(processes(mark)) > 3
        driver.send_signal(number)
        out, _ = driver.communicate(timeout=60)
    assert driver.returncode == code
    wait_until(lambda: not processes(mark), END_SECONDS, "processes were left behind")
    if number == signal.SIGKILL:
        # Its directory goes when Ray starts the next time.
        done = subprocess.run(command({}, "map", tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=200)
        assert json.loads(done.stdout) == SQUARES
    else:
        assert out == "pipeline.py: interrupted\n"
    assert not [path for path in of_driver if path.exists()]


def processes(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_a_plan_or_a_run_that_has_no_work_for_workers_never_imports_ray(tmp_path: Path) -> None:
    code = (
        "import sys, pipeline; "
        f"code = pipeline.main(['--runner', 'ray', '--root', {str(tmp_path)!r}, '--plan', '--until', 'ingest']); "
        "sys.exit(code or 'ray' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=120)


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, object]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "params", "places"),
    [
        ([node(4), node(1)], RayParams(cpus_per_worker=2), 2),
        ([node(3.5)], RayParams(cpus_per_worker=0.5), 7),
        ([node(8, 2), node(8)], RayParams(cpus_per_worker=2, gpus_per_worker=1), 2),
        ([node(8, 2)], RayParams(cpus_per_worker=2, gpus_per_worker=0.5), 4),
        ([node(8, alive=False), {"Alive": True, "Resources": {}}], RayParams(), 0),
    ],
)
def test_places_are_those_of_whole_workers_on_one_node(nodes, params: RayParams, places: int) -> None:
    assert places_of(nodes, params) == places


def test_a_cluster_that_is_busy_is_told_from_one_that_is_too_small() -> None:
    params = RayParams(address="auto", workers=2)
    assert "room for 4, some of which others use after 300 seconds" in too_few_places([node(4)], params).received
    assert "others" not in too_few_places([node(1)], params).received


def test_a_node_that_does_not_see_the_root_is_refused(tmp_path: Path) -> None:
    here = node_probe.probe(str(tmp_path))
    file = tmp_path / "file"
    file.touch()
    assert (here.missing, here.sees, node_probe.probe(str(file)).sees) == ((), False, True)
    with pytest.raises(ConfigError, match=r"must see the pipeline root.*10\.0\.0\.7"):
        joining._require_same(here, here, "10.0.0.7", tmp_path)


def test_the_code_of_two_installations_is_compared_by_content(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "foundation", tmp_path / "foundation", ignore=shutil.ignore_patterns("__pycache__"))
    assert node_probe._digest([ROOT / "foundation"]) == node_probe._digest([tmp_path / "foundation"])
    (tmp_path / "foundation/names.py").rename(tmp_path / "foundation/other_names.py")
    assert node_probe._digest([ROOT / "foundation"]) != node_probe._digest([tmp_path / "foundation"])
