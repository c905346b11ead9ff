"""One bit of one file turns over, and the file keeps its size: whoever reads the file notices, and it is made anew."""

import os
import shutil
import signal
import time

import pytest

from components.contract import manifest
from tests.faults.conftest import chance, sample, try_all
from tests.faults.tiny_root import MODEL, ROOT, STEPS, artifact_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

FLIPS = 60
SERVED = 2
MENDED = 2
READERS = {
    "evaluate": (["ingest", "tokenizer", "preprocess", "train"], ["--evaluate.seed", "7", "--until", "evaluate"]),
    "export": (["tokenizer", "train"], ["--export.top_k", "7", "--until", "export"]),
    "push": (STEPS[:-1], ["--push.model_name", "other"]),
    "nobody": (["push"], []),
}
"""Which artifacts a step reads, and what has it run: it verifies them. The last one's are only looked at."""
SECONDS = 60.0


def flip_a_bit(path, seed):
    """Turns a bit over, and leaves the file's time as it is, as a failing disk does; which one."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    bit = chance(f"bit {seed}").randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return bit


def files_that(undisturbed, reader):
    """Every file of the artifacts that a step reads, relative to the job's folder, their manifests included."""
    found = []
    for step in READERS[reader][0]:
        artifact = artifact_of(undisturbed.directory, step)
        names = [manifest.NAME, *manifest.read(artifact)["files"]]
        paths = [artifact / name for name in names if (artifact / name).stat().st_size]
        found += [(reader, path.relative_to(undisturbed.directory).as_posix()) for path in paths]
    return found


def until_noticed(run):
    """Waits until a run says that it has set something aside, or ends; then it is ended. Whether it said so."""
    limit = time.monotonic() + SECONDS
    while "set aside as" not in run.output and not (run.place / "outcome").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    run.signal(signal.SIGKILL)
    return "set aside as" in run.wait().output


def test_a_bit_of_any_file_that_a_step_reads_is_noticed(forks, undisturbed, tmp_path):
    cases = [case for reader in READERS for case in files_that(undisturbed, reader)]
    assert len(cases) > 100

    def try_one(number, case):
        reader, name = case
        directory = tmp_path / str(number)
        shutil.copytree(undisturbed.directory, directory, symlinks=True)
        bit = flip_a_bit(directory / name, name)
        run = forks.start([*undisturbed.arguments, *READERS[reader][1]], directory)
        if not until_noticed(run):
            done = run.wait()
            return f"bit {bit}, exit code {done.code}: {done.output[-300:]} {done.error}"
        artifact = directory.joinpath(*name.split("/")[:4])
        if not list(artifact.parent.glob(f"{artifact.name}.damaged*")):
            return f"bit {bit}: not set aside"
        if artifact.name not in run.output:
            return f"bit {bit}: not named: {run.output}"
        shutil.rmtree(directory)
        return None

    try_all("noticed", try_one, sample("flips", cases, FLIPS))


def test_what_was_damaged_is_made_anew_as_it_was(forks, undisturbed, tmp_path):
    cases = sample("mended", STEPS, MENDED)

    def try_one(number, step):
        directory = tmp_path / str(number)
        shutil.copytree(undisturbed.directory, directory, symlinks=True)
        artifact = artifact_of(directory, step)
        name = chance(f"mended {step}").choice(sorted(manifest.read(artifact)["files"]))
        flip_a_bit(artifact / name, name)
        options = READERS["nobody" if step == "push" else "push"][1]
        done = forks.start([*undisturbed.arguments, *options], directory).wait()
        if done.code or done.error:
            return f"{name}, exit code {done.code}: {done.error}"
        aside = list((directory / ROOT / "artifacts").glob("*/*.damaged"))
        if [path.parent.name for path in aside] != [step]:
            return f"{name}: set aside are {aside}"
        shutil.rmtree(aside[0])
        done = forks.start(undisturbed.arguments, directory).wait()
        if done.code or done.error:
            return f"{name}, exit code {done.code}: {done.error}"
        return None

    try_all("made anew", try_one, cases)


def test_a_bit_of_any_file_of_a_served_version_is_noticed_by_push_and_by_comparison(forks, undisturbed, tmp_path):
    """The same model is pushed anew over it; another one isn't compared with what is damaged."""
    version = undisturbed.directory / MODEL / "1"
    names = sorted(
        path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file() and path.stat().st_size
    )
    rival = shutil.copytree(undisturbed.directory, tmp_path / "rival", symlinks=True)
    other = ["--train.learning_rate", "2e-3", "--until", "train"]
    assert forks.start([*undisturbed.arguments, *other], rival).wait().code == 0

    def try_one(number, name):
        directory = shutil.copytree(rival, tmp_path / str(number), symlinks=True)
        bit = flip_a_bit(directory / MODEL / "1" / name, f"served {name}")
        is_record = name.endswith("pushed.json")
        compared = forks.start([*undisturbed.arguments, *other[:2], "--until", "evaluate"], directory).wait()
        if (compared.code, "must answer" in compared.error) != ((0, False) if is_record else (1, True)):
            return f"bit {bit}, compared: exit code {compared.code}: {compared.output} {compared.error}"
        if is_record and "damaged record" not in compared.output + compared.error:
            return f"bit {bit}, not named: {compared.output} {compared.error}"
        pushed = forks.start(undisturbed.arguments, directory).wait()
        if pushed.code or sorted(path.name for path in (directory / MODEL).glob("[0-9]*")) != ["1", "2"]:
            return f"bit {bit}, pushed: exit code {pushed.code}: {pushed.output} {pushed.error}"
        shutil.rmtree(directory)
        return None

    try_all("noticed", try_one, sample("served", names, SERVED))
