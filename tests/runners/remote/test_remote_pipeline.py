"""The whole pipeline on a root in a bucket whose server fails one request in ten, and a second machine after it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_pipeline import STEPS, pipeline, write_job

import masked_lm_pipeline
from runners.remote.address import STAGING
from tests.spoiling_proxy import SpoilingProxy

REPOSITORY = Path(__file__).resolve().parents[3]


def digests(root):
    manifests = [json.loads(path.read_bytes()) for path in Path(root).glob("artifacts/*/*/manifest.json")]
    return {content["component"]: content["digest"] for content in manifests}


@pytest.mark.slow
def test_the_whole_pipeline_equals_an_undisturbed_one_and_goes_on_elsewhere(address, s3, tmp_path, monkeypatch):
    arguments = write_job(tmp_path)
    local = pipeline(*arguments, cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    remote = [address if each == "root" else each for each in arguments]

    with SpoilingProxy(s3.port, share=0.1) as proxy:
        here = {STAGING: str(tmp_path / "one"), "AWS_ENDPOINT_URL": proxy.url}
        done = pipeline(*remote, cwd=tmp_path, **here)
        assert done.returncode == 0, done.stderr
        assert sum(proxy.spoiled.values()) > 20
    (staging,) = (tmp_path / "one").iterdir()
    # The two exports of one model differ in names that TensorFlow draws; what they were made of doesn't.
    made_alike = {step: digest for step, digest in digests(tmp_path / "root").items() if step in STEPS[:5]}
    assert {step: digests(staging)[step] for step in made_alike} == made_alike

    with SpoilingProxy(s3.port) as proxy:
        there = {STAGING: str(tmp_path / "two"), "AWS_ENDPOINT_URL": proxy.url}
        planned = pipeline(*remote, "--plan", cwd=tmp_path, **there)
        assert [line.split()[:2] for line in planned.stdout.splitlines()] == [[step, "cached"] for step in STEPS]
        whole = sum(path.stat().st_size for path in (staging / "artifacts").rglob("*") if path.is_file())
        assert proxy.bytes_down < whole / 2
        again = pipeline(*remote, cwd=tmp_path, **there)
        assert again.returncode == 0, again.stderr
        assert [line.split()[1] for line in again.stdout.splitlines() if line.startswith("  ")] == ["cached"] * len(
            STEPS
        )
        (elsewhere,) = (tmp_path / "two").iterdir()

        listed = pipeline("--root", address, "--list", cwd=tmp_path, **there)
        assert listed.stdout.count("succeeded") == 2
        assert "serves tiny version 1" in listed.stdout
        ids = sorted(path.name for path in (elsewhere / "runs").glob("2*"))
        compared = pipeline("--root", address, "--compare", *ids, cwd=tmp_path, **there)
        assert compared.returncode == 0, compared.stderr
        assert "perplexity, after training" in compared.stdout
        verified = pipeline("--root", address, "--verify", cwd=tmp_path, **there)
        assert verified.stdout.strip().endswith("all as written")
        freed = pipeline("--root", address, "--gc", "--keep", "1", cwd=tmp_path, **there)
        assert freed.returncode == 0, freed.stderr
        # The run that found all of it cached uses as much, and pushed the same version.
        assert "1 run and 8 artifacts stay" in freed.stdout

    # The command that the second machine printed serves the model there.
    version = elsewhere / "serving/tiny/1"
    assert {path.name for path in version.iterdir()} == {path.name for path in (staging / "serving/tiny/1").iterdir()}

    monkeypatch.setenv(STAGING, str(tmp_path / "three"))
    run = masked_lm_pipeline.load_run("latest", root=address)
    assert run.steps == dict.fromkeys(STEPS, "cached")
    assert run.evaluation.metrics["masked_tokens"] > 0
    assert (run.serving_directory / "1/saved_model.pb").is_file()
    code = "import sys, masked_lm_pipeline as m; print(len(m.load_masked_lm('latest', root=sys.argv[1]).tokenizer))"
    loaded = subprocess.run(
        [sys.executable, "-c", code, address],
        cwd=REPOSITORY,
        env={**os.environ, STAGING: str(tmp_path / "four")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert int(loaded.stdout) > 10
