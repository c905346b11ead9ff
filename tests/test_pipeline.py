"""The product as a user runs it: one command, its record, a second run, and mistakes."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.publishing.serving_directory import LOCK_NAME
from foundation.perplexity import perplexity_text
from foundation.process_lock import ProcessLock

ROOT = Path(__file__).resolve().parent.parent
STEPS = ["ingest", "tokenizer", "preprocess", "train", "evaluate", "export", "validate", "push"]

JOB = """
tokenizer:
  vocab_size: 300
  model_max_length: 64
preprocess:
  block_size: 16
train:
  model_type: bert
  model_config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32,
                 max_position_embeddings: 64}
  epochs: 1
  batch_size: 4
  learning_rate: 1e-3
evaluate:
  min_improvement_over_unigram: null  # so small a training in so few steps doesn't even learn to count words
export:
  example: The sky is <mask>.
push:
  model_name: tiny
"""
UNREACHABLE = ["--evaluate.max_perplexity", 1.01, "--evaluate.min_improvement_over_unigram", 0.01]
"""Limits that no model is blessed with; the first test with them is the one that evaluates."""


def pipeline(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "pipeline.py"), "--runner", "local", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def record(number):
    answers = ["The sky is blue because air scatters light.", f"Answer {number} says that it is the sea, mirrored."]
    return {
        "q_id": f"q{number}",
        "title": f"Why is the sky blue, number {number}?",
        "answers": {"a_id": ["a", "b"], "score": [3, 1], "text": answers, "text_urls": [[], ["http://sky"]]},
    }


def write_job(directory):
    """Writes a configuration, and a corpus in ELI5's form; the arguments that name them and a root beside them."""
    (directory / "job.yaml").write_text(JOB)
    records = [record(number) for number in range(120)]
    records[7]["answers"] = {"a_id": [], "score": [], "text": [], "text_urls": []}
    with gzip.open(directory / "eli5.json.gz", "wt") as file:
        json.dump(records, file)
    return ["--config", "job.yaml", "--root", "root", "--ingest.path", "eli5.json.gz"]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The folder of a finished run, its arguments and its output."""
    directory = tmp_path_factory.mktemp("job")
    arguments = write_job(directory)
    done = pipeline(*arguments, cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory, arguments, done


def latest(directory):
    return json.loads((directory / "root" / "runs" / "latest" / "run.json").read_text())


def test_one_command_leads_from_records_to_a_version_to_serve(job):
    directory, _, done = job
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if " ran " in line] == STEPS
    assert "1 records without text skipped" in done.stdout
    assert re.search(r"Perplexity .* \(unigram baseline \d+\.\d+\): worse than guessing by word frequency", done.stdout)
    assert lines[-2].endswith("-m serving --model-dir root/serving/tiny")
    assert lines[-1].endswith("-m serving.client 'The sky is <mask>.' --top-k 3 --model tiny")
    assert (directory / "root/serving/tiny/1/saved_model.pb").is_file()

    first_run = min((directory / "root/runs").glob("2*"))
    run = json.loads((first_run / "run.json").read_text())
    assert run["status"] == "succeeded"
    assert [step["name"] for step in run["steps"]] == STEPS
    assert {step["status"] for step in run["steps"]} == {"ran"}
    for name in ("perplexity_before", "perplexity_after", "perplexity_unigram", "top1_accuracy", "top5_accuracy"):
        assert isinstance(run["metrics"][name], float)
    assert run["metrics"]["perplexity_after"] < run["metrics"]["perplexity_before"]
    before, after, unigram = (
        perplexity_text(run["metrics"][f"perplexity_{name}"]) for name in ("before", "after", "unigram")
    )
    assert f"Perplexity  {before} before training, {after} after (unigram baseline {unigram})" in done.stdout
    assert run["config"]["train"]["model_type"] == "bert"
    assert run["library_versions"]["transformers"].startswith("4.57.")


def test_a_second_run_finds_everything_cached_without_tensorflow_or_numpy(job, tmp_path):
    directory, arguments, _ = job
    for library in ("tensorflow", "numpy"):
        (tmp_path / f"{library}.py").write_text(f"raise SystemExit('a cached run imported {library}')")
    done = pipeline(*arguments, cwd=directory, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {step["status"] for step in latest(directory)["steps"]} == {"cached"}
    assert [path.name for path in (directory / "root/serving/tiny").iterdir() if path.name.isdigit()] == ["1"]


def test_a_moved_root_has_everything_cached_and_pushed(job, tmp_path):
    directory, arguments, first = job
    before, after = directory / "root", tmp_path / "moved root"
    run = min(before.glob("runs/2*")).name
    arguments = [after if argument == "root" else argument for argument in arguments]
    before.rename(after)
    try:
        done = pipeline(*arguments, cwd=directory)
        compared = pipeline("--root", after, "--compare", run, "latest", cwd=directory)
        planned = pipeline(*arguments, "--plan", cwd=directory)
    finally:
        after.rename(before)
    assert done.returncode == 0, done.stderr
    assert {step["status"] for step in latest(directory)["steps"]} == {"cached"}
    assert set(planned.stdout.split()[1::2]) == {"cached"}
    assert done.stdout.splitlines()[-2].endswith(f"-m serving --model-dir '{after}/serving/tiny'")
    assert done.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert [path.name for path in before.glob("serving/tiny/[0-9]*")] == ["1"]
    assert compared.stdout.startswith("There is no real difference: perplexity of the second is 0.0% below")
    # Nothing that a run leaves behind names where its root is.
    texts = [path for path in before.rglob("*") if path.suffix in (".json", ".html") and path.is_file()]
    assert len(texts) > 20
    for path in texts:
        assert str(before) not in path.read_text(), path
        assert str(after) not in path.read_text(), path


def test_a_serving_directory_elsewhere_is_another_push(job, tmp_path):
    """Where it is outside of the root, its absolute path counts, whatever way it is written."""
    directory, arguments, _ = job
    (tmp_path / "served").mkdir()
    relative = os.path.relpath(tmp_path / "served", directory / "root")
    for serving_dir, status in ((relative, "ran"), (tmp_path / "served", "cached")):
        done = pipeline(*arguments, "--push.serving_dir", serving_dir, cwd=directory)
        assert done.returncode == 0, done.stderr
        assert latest(directory)["steps"][-1]["status"] == status
        assert done.stdout.splitlines()[-2].endswith(f"-m serving --model-dir {tmp_path}/served/tiny")
    assert (tmp_path / "served/tiny/1/saved_model.pb").is_file()
    done = pipeline(*arguments, "--push.serving_dir", directory / "root/serving", cwd=directory)
    assert latest(directory)["steps"][-1]["status"] == "cached"


def test_a_push_that_is_not_to_wait_ends_where_another_process_pushes(job, tmp_path):
    directory, arguments, _ = job
    (tmp_path / "tiny").mkdir()
    to_push = [*arguments, "--push.serving_dir", tmp_path]
    with ProcessLock(tmp_path / "tiny" / LOCK_NAME, "another"):
        done = pipeline(*to_push, "--no_wait", cwd=directory)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert f"push must be alone with what it writes. Received: {tmp_path}/tiny/.push.lock is held by" in done.stderr
    assert f"by process {os.getpid()} on " in done.stderr
    assert latest(directory)["steps"][-1]["status"] == "failed"
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == []


@pytest.mark.slow
def test_a_changed_setting_runs_what_depends_on_it_and_nothing_else(job):
    directory, arguments, _ = job
    done = pipeline(*arguments, *UNREACHABLE, "--until", "evaluate", cwd=directory)
    assert done.returncode == 1, done.stderr
    assert [step["status"] for step in latest(directory)["steps"]] == ["cached"] * 4 + ["ran"]


@pytest.mark.parametrize(
    ("options", "exit_code", "last"),
    [
        (["--until", "train"], 0, "train"),
        (["--until", "evaluate"], 1, "evaluate"),
        (["--until", "export"], 1, "export"),
        (["--until", "evaluate", "--push.allow_unblessed", "true"], 0, "evaluate"),
        ([], 1, "push"),
    ],
)
def test_an_unblessed_model_ends_with_1_wherever_the_run_ends(job, options, exit_code, last):
    directory, arguments, _ = job
    before = sorted(path.name for path in (directory / "root/serving/tiny").iterdir())
    done = pipeline(*arguments, *UNREACHABLE, *options, cwd=directory)
    assert done.returncode == exit_code, done.stderr
    run = latest(directory)
    assert run["steps"][-1]["name"] == last
    assert run["status"] == ("failed" if last == "push" else "succeeded")
    assert "Traceback" not in done.stderr
    if exit_code:
        assert "not blessed: perplexity is" in done.stderr
        assert "; worse than guessing by word frequency: perplexity " in done.stderr
        assert "--push.allow_unblessed true" in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in (directory / "root/serving/tiny").iterdir()) == before


def test_plan_names_what_would_run(job):
    directory, arguments, _ = job
    before = sorted((directory / "root").rglob("*"))
    done = pipeline(*arguments, "--preprocess.block_size", 8, "--plan", cwd=directory)
    assert done.stdout.split() == [word for step in STEPS for word in (step, "cached" if step in STEPS[:2] else "run")]
    assert sorted((directory / "root").rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["--ingest.path", "nowhere.jsonl"], 2, ["nowhere.jsonl", "--ingest.path"]),
        pytest.param(["--ingest.path", "empty.jsonl"], 1, ["empty.jsonl"], marks=pytest.mark.slow),
        (["--ingest.path", "broken.jsonl"], 1, ["broken.jsonl", "line 2"]),
        (["--ingest.path", "other.jsonl"], 1, ["answers.text", "--preprocess.text_column, for example to body"]),
        pytest.param(["--ingest.path", "hollow.jsonl"], 1, ["answers.text", "null"], marks=pytest.mark.slow),
        pytest.param(
            ["--ingest.dataset", "someone/something"], 1, ["someone/something", "Hub"], marks=pytest.mark.slow
        ),
        (["--train.model_type", "gpt2"], 2, ["gpt2", "roberta"]),
        pytest.param(["--train.model_config.hidden", 3], 2, ["hidden", "hidden_size"], marks=pytest.mark.slow),
        (["--train.learning_rate", -1], 2, ["train.learning_rate", "-1"]),
        (["--preprocess.block_size", 65], 2, ["65", "64"]),
        (["--root", "empty.jsonl/root"], 2, ["empty.jsonl/root", "--root"]),
    ],
)
def test_mistakes_get_one_message_and_no_traceback(job, tmp_path, arguments, exit_code, said):
    directory, _, _ = job
    for name, content in {
        "empty.jsonl": "",
        "broken.jsonl": json.dumps(record(1)) + "\n{\n",
        "other.jsonl": "".join(
            json.dumps(
                {"id": f"q{number}", "title": f"what is so fine about day {number}", "body": f"text {number} " * 9}
            )
            + "\n"
            for number in range(30)
        ),
        "hollow.jsonl": "".join(json.dumps({"answers": {"text": []}, "id": number}) + "\n" for number in range(30)),
        "eli5.jsonl": "".join(json.dumps(record(number)) + "\n" for number in range(120)),
    }.items():
        (tmp_path / name).write_text(content)
    given = ["--config", directory / "job.yaml", "--root", "root", "--ingest.path", "eli5.jsonl"]
    if "--ingest.dataset" in arguments:
        given += ["--ingest.path", "null"]
    done = pipeline(*given, *arguments, cwd=tmp_path)
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr + done.stdout
    for part in said:
        assert part in done.stderr
    made = {path.parent.parent.name for path in tmp_path.glob("root/artifacts/*/*/manifest.json")}
    assert made <= {"ingest", "tokenizer"}
    assert not list(tmp_path.glob("root/artifacts/*/*.partial"))


@pytest.mark.slow  # other signals are in test_signals.py
def test_a_signal_closes_the_record_and_says_where_the_same_command_goes_on(tmp_path):
    arguments = [*write_job(tmp_path), "--train.epochs", "200", "--until", "train"]
    command = [sys.executable, str(ROOT / "pipeline.py"), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, bufsize=1) as process:
        for line in process.stdout:
            if "epoch 2/200" in line:
                process.send_signal(signal.SIGTERM)
                break
        _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert "Traceback" not in told
    last = told.splitlines()[-1]
    step = re.search(r"the same command goes on with train from step ([\d,]+) of ", last)[1]
    run = latest(tmp_path)
    assert run["status"] == "interrupted"
    assert f"from step {step} of" in run["error"]
    assert (tmp_path / "root/runs/latest/report.html").is_file()
    again = pipeline(*arguments, "--plan", cwd=tmp_path)
    assert again.returncode == 0
