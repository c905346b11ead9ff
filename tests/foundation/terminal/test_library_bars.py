"""The bars of libraries, in the terminal's own line."""

import os
import re
import subprocess
import sys

from tests.screenshots import watched

DOWNLOADS = """
import time
from foundation.terminal import TERMINAL, let_bars_count
let_bars_count()
from huggingface_hub.utils import tqdm
with TERMINAL.working("ingest"):
    with tqdm(total=2, desc="Fetching 2 files"):
        bars = [tqdm(total=4_000_000, unit="B", unit_scale=True, desc=name) for name in ("a.parquet", "b.parquet")]
        for step in range(8):
            time.sleep(0.2)
            for bar in bars:
                bar.update(400_000)
        bars[1].close()
        time.sleep(0.8)
TERMINAL.line("  ingest      ran")
"""


def test_downloads_are_one_line_that_moves():
    environment = {**os.environ, "TERM": "xterm"}
    with watched("-c", DOWNLOADS, columns=80, env=environment) as seen:
        seen.look(60)
        assert seen.process.wait(30) == 0, seen.text
    assert seen.all_rows() == ["  ingest      ran"]
    assert all(len(rows) <= 1 for rows in seen.pictures)
    lines = {rows[0] for rows in seen.pictures if rows}
    both = [line for line in lines if "2 files" in line]
    assert any(
        re.search(r"  ingest      2 files [\d.]+ MB/8.0 MB █*░+ \d+% [\d.]+ MB/s · ETA 0:0\d", line) for line in both
    )
    assert any(re.search(r"a\.parquet 3\.2 MB/4\.0 MB █+░+ 80% ", line) for line in lines)


def test_nothing_is_drawn_where_nobody_looks():
    done = subprocess.run([sys.executable, "-c", DOWNLOADS], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("  ingest      ran\n", "")
