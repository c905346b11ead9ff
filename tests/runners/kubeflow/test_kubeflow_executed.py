"""The pipeline's file, run for real by Kubeflow's own library on this machine.

What is not run here is Kubernetes: no image, no volume claim, no secret, and no upload of artifacts to a bucket.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import manifest
from tests.own_environment import EnvironmentMissing, python_with
from tests.test_pipeline import ROOT, STEPS, pipeline, write_job

SAME = {"ingest": "corpus", "tokenizer": "tokenizer", "preprocess": "blocks", "train": "checkpoint"}
SAME |= {"evaluate": "evaluation"}
"""What is equal byte for byte from run to run. A SavedModel isn't, and what follows it has its digest."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kubeflows_own_library_runs_the_file_and_makes_what_a_local_run_makes(tmp_path):
    try:
        python = python_with("kfp")
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))
    volume = tmp_path / "volume"
    volume.mkdir()
    write_job(tmp_path)
    shutil.move(tmp_path / "eli5.json.gz", volume)
    job = ["--config", "job.yaml", "--ingest.path", volume / "eli5.json.gz"]
    kubeflow = {"volume": "claim", "volume_path": volume, "hub_secret": "hub", "accelerator": "nvidia.com/gpu"}
    kubeflow["node_labels"] = "{cloud.google.com/gke-accelerator: nvidia-l4}"
    options = [word for key, value in kubeflow.items() for word in (f"--kubeflow.{key}", value)]
    compiled = pipeline("--runner", "kubeflow", *job, *options, cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stderr

    # `python` in a container is the one that the image has first on its PATH; here, the one that runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    here = {"PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    ran = subprocess.run(
        [python, Path(__file__).with_name("run_by_kfp.py"), "pipeline.yaml", "kfp"],
        cwd=tmp_path,
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert sorted(re.findall(r"^ +(\w+) +ran +[\d.]+ s", ran.stdout, re.MULTILINE)) == sorted(STEPS)
    (made,) = (tmp_path / "kfp").iterdir()
    assert sorted(step.name for step in made.iterdir()) == sorted(STEPS)

    # What Kubeflow shows of the evaluation.
    output = json.loads(next((made / "evaluate").rglob("executor_output.json")).read_text())
    (shown,) = output["artifacts"]["evaluation"]["artifacts"]
    metrics = json.loads((made / "evaluate/evaluation/metrics.json").read_text())["metrics"]
    assert shown["metadata"]["perplexity_after"] == metrics["perplexity_after"]

    # What is pushed is on the volume.
    assert (volume / "pipeline_root/serving/tiny/1/saved_model.pb").is_file()

    local = pipeline(*job, "--root", "root", "--until", "evaluate", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    for step, output in SAME.items():
        (artifact,) = (path for path in (tmp_path / "root/artifacts" / step).iterdir() if path.is_dir())
        content, ours = manifest.read(made / step / output), manifest.read(artifact)
        manifest.verify(made / step / output, content, {})
        assert (content["key"], content["digest"]) == (ours["key"], ours["digest"]), step
