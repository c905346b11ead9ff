"""The commands that a run prints at its end, run as they are printed, for a model that takes token ids only."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_export import train_tokenizer
from test_pipeline import JOB, pipeline, record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def test_the_printed_commands_serve_and_ask_a_model_without_text(tmp_path: Path) -> None:
    train_tokenizer(not_in_graph=True).save_pretrained(tmp_path / "its tokenizer")
    job = JOB.replace("  vocab_size: 300\n  model_max_length: 64\n", "  pretrained: its tokenizer\n")
    (tmp_path / "job.yaml").write_text(job)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(record(number)) + "\n" for number in range(120)))
    done = pipeline(
        *("--config", "job.yaml", "--root", "my root", "--ingest.path", "texts.jsonl"),
        *("--push.allow_unblessed", "true", "--export.top_k", 2),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    printed = dict(
        line.split(maxsplit=2)[::2] for line in done.stdout.splitlines() if line[:7] in ("Serve i", "Ask it ")
    )
    # Other ports than the usual ones, so that no other server is in the way.
    with subprocess.Popen(
        f"exec {printed['Serve']} --port 0", shell=True, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = re.search(r"http://127.0.0.1:\d+", server.stdout.readline())[0]
            own = server.stdout.readline().removeprefix("Ask it:")
            for command, candidates in ((f"{printed['Ask']} --url {url}", 2), (own, 2)):
                asked = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
                assert asked.returncode == 0, asked.stderr
                answer = json.loads(asked.stdout)
                assert len(answer) == candidates
                assert all(set(one) == {"score", "token", "token_str", "sequence"} for one in answer)
        finally:
            server.terminate()
    assert Path(sys.executable).name in printed["Ask"]
