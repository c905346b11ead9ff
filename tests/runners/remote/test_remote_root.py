"""A root in a bucket of a real S3 server, from two machines: each has a staging directory of its own."""

import dataclasses
import json
import secrets
from pathlib import Path

import pytest

from components.contract.elsewhere import files_elsewhere
from components.contract.run_names import folders
from foundation.errors import DamagedArtifact
from foundation.process_lock import LockHeld
from runners.housekeeping.collection import collect
from runners.housekeeping.inventory import take_inventory
from runners.local import LocalRunner
from tests.runners.small_steps import FirstLetter, Text, WordParams, Write, graph, statuses

PAGES = b"x" * 40_000
"""Too long to come with what is only looked at."""


@dataclasses.dataclass(frozen=True)
class WritePages(Write):
    """Writes a long file, too."""

    name = "pages"

    def run(self, out: Path) -> None:
        super().run(out)
        (out / "pages").write_bytes(PAGES)


@dataclasses.dataclass(frozen=True)
class CountPages(FirstLetter):
    """Reads the long file."""

    name = "count"

    def preflight(self) -> None:
        if self.text.path is not None:
            assert (self.text.directory / "pages").is_file()

    def run(self, out: Path) -> None:
        (out / "text").write_text(str(len((self.text.directory / "pages").read_bytes())))


@dataclasses.dataclass(frozen=True)
class Draw(Write):
    """Writes something else each time."""

    name = "draw"

    def run(self, out: Path) -> None:
        (out / "text").write_text(secrets.token_hex(8))


def pages(run):
    run(CountPages(run(WritePages())))


def sky(run):
    run(FirstLetter(run(Write())))


def execute(root, pipeline=sky, **options):
    runner = LocalRunner(root.path, storage=root.storage, show=lambda line: None, **options)
    return runner.execute(pipeline, {})


def artifacts(root):
    """Digests by name of every artifact that the bucket has."""
    names = [name for name in root.objects.list("artifacts") if name.endswith("/manifest.json")]
    return {name: json.loads(root.objects.read(name))["digest"] for name in names}


def test_a_second_machine_finds_everything_and_downloads_what_it_needs(machine, proxy):
    with machine("one") as one:
        assert statuses(execute(one, pages)) == ["ran", "ran"]
        made = artifacts(one)
        assert len(made) == 2
    with machine("two") as two:
        before = proxy.bytes_down
        assert statuses(execute(two, pages)) == ["cached", "cached"]
        assert proxy.bytes_down - before < len(PAGES)
        assert artifacts(two) == made
        written = next(name for name in made if "/pages/" in name).rsplit("/", 1)[0]
        assert files_elsewhere(two.path / written) == {"pages"}

        def more(run):
            run(CountPages(run(WritePages()), WordParams("other")))

        # A step that runs has its whole input.
        assert statuses(execute(two, more)) == ["cached", "ran"]
        assert (two.path / written / "pages").read_bytes() == PAGES


def test_forced_anew_it_replaces_the_artifact_for_all(machine):
    with machine("one") as one:
        execute(one, lambda run: run(Draw()))
    with machine("two") as two:
        assert statuses(execute(two, lambda run: run(Draw()), force=frozenset(["draw"]))) == ["ran"]
        (name,) = artifacts(two)
        drawn = (two.path / name).with_name("text").read_text()
    with machine("one") as one:
        text = (one.path / name).with_name("text")
        assert text.read_text() != drawn  # until it is looked at
        assert statuses(execute(one, lambda run: run(Draw()))) == ["cached"]
        assert text.read_text() == drawn
        assert one.verify().damages == []


def test_an_upload_that_is_half_there_is_no_artifact(machine, address):
    with machine("one") as one:
        execute(one)
        name = next(name for name in artifacts(one) if "/first/" in name)
        one.objects.remove([name])
    with machine("two") as two:
        assert statuses(execute(two)) == ["cached", "ran"]
        assert name in artifacts(two)


def test_what_another_machine_removed_is_sent_again_from_here(machine):
    with machine("one") as one:
        execute(one)
        made = artifacts(one)
        one.objects.remove([name for name in one.objects.list("artifacts") if "/first/" in name])
        assert artifacts(one) != made
        assert statuses(execute(one)) == ["cached"] * 2
        assert artifacts(one) == made


def test_a_damaged_object_is_found_set_aside_and_made_anew(machine):
    with machine("one") as one:
        execute(one, pages)
        made = artifacts(one)
        text = next(name for name in one.objects.list("artifacts") if name.endswith("/pages"))
        one.objects.write(text, b"y" * len(PAGES))
        one.objects.remove([name for name in one.objects.list("artifacts") if "/count/" in name])
    with machine("two") as two:
        shown: list[str] = []
        record = LocalRunner(two.path, storage=two.storage, show=shown.append).execute(pages, {})
        assert statuses(record) == ["ran", "ran"]
        assert any("s3://" in line and "SHA-256 is no longer" in line and "set aside" in line for line in shown)
        assert {name: digest for name, digest in artifacts(two).items() if "damaged" not in name} == made
        aside = text.removesuffix("/pages") + ".damaged/pages"
        assert two.objects.read(aside) == b"y" * len(PAGES)


def test_a_copy_that_is_damaged_is_brought_again(machine):
    with machine("one") as one:
        execute(one, lambda run: run(WritePages()))
        made = artifacts(one)
        copy = next(one.path.glob("artifacts/pages/*/pages"))
        copy.write_bytes(b"y" * len(PAGES))
        assert statuses(execute(one, pages)) == ["cached", "ran"]
        assert copy.read_bytes() == PAGES
        assert made.items() < artifacts(one).items()
        assert one.verify().damages == []


@pytest.mark.slow
def test_a_manifest_that_is_damaged_makes_its_artifact_anew(machine):
    with machine("one") as one:
        execute(one)
        name = next(name for name in artifacts(one) if "/first/" in name)
        one.objects.write(name, one.objects.read(name).replace(b'"digest"', b'"DIGEST"'))
    with machine("two") as two:
        assert statuses(execute(two)) == ["cached", "ran"]


def test_records_of_all_machines_are_seen_on_each(machine):
    with machine("one") as one:
        first = execute(one)
    with machine("two") as two:
        second = execute(two)
        inventory = take_inventory(two.path)
        assert {run.name for run in inventory.runs} == {first.id, second.id}
        assert [run.status for run in inventory.runs] == ["succeeded", "succeeded"]
    with machine("one") as one:
        assert {folder.name for folder in folders(one.path)} == {first.id, second.id}
        # An id says the second in which a run began, which may be the same.
        assert (one.path / "runs/latest").resolve().name == max(first.id, second.id)
        assert b"succeeded" in one.objects.read("runs/index.html")
        assert one.objects.read(f"runs/{second.id}/report.html")


def test_a_run_elsewhere_is_running_and_what_it_uses_stays(machine):
    # The other machine looks at the root before the run begins, and removes while it goes on.
    with machine("two") as two, machine("one") as one:
        execute(two, sky)
        old = execute(one, pages)
        seen = []

        def while_it_runs(run):
            text = run(Write(WordParams("new")))
            if text.path is None:  # it is planned
                return
            collect(two.path, 1, storage=two.storage, look=two.bring_inventory, discard=two.discard)
            seen.append({each.name: each.status for each in take_inventory(two.path).runs})
            seen.append(artifacts(two))
            run(FirstLetter(text))

        new = execute(one, while_it_runs)
        assert statuses(new) == ["ran", "ran"]
        runs, left = seen
        assert runs == {new.id: "running", old.id: "succeeded"}
        # What the running one has made is still there, beside what the newest that succeeded has.
        assert sorted(name.split("/")[1] for name in left) == ["count", "pages", "write"]
        assert len([name for name in one.objects.list("runs") if name.endswith("run.json")]) == 2


def test_of_a_run_that_died_nothing_is_kept_for_ever(machine):
    with machine("one") as one:
        execute(one, graph("old"))
        run = "runs/20200101T000000Z-dead"
        content = json.loads(one.objects.read(next(name for name in one.objects.list("runs") if "run.json" in name)))
        one.objects.write(f"{run}/run.json", json.dumps({**content, "status": "running", "finished": None}).encode())
        one.objects.write(f"{run}/.running", b"{}\nartifacts/write/0123456789abcdef\n")
    with machine("two") as two:
        assert {each.name: each.is_running for each in take_inventory(two.path).runs}[Path(run).name]
    with machine("two", seconds=-1) as two:
        two.leases.seconds = -10.0  # so much later
        two.records.take()
        assert not {each.name: each.is_running for each in take_inventory(two.path).runs}[Path(run).name]


def test_verify_reads_everything_and_names_the_object(machine):
    with machine("one") as one:
        execute(one, pages)
        result = one.verify()
        assert (result.artifacts, result.damages) == (2, [])
        assert result.bytes == len(PAGES) + 3 + 5
        text = next(name for name in one.objects.list("artifacts") if name.endswith("/pages"))
        one.objects.write(text, b"y" * len(PAGES))
        assert [text in damage for damage in one.verify().damages] == [True]


def test_without_waiting_a_held_artifact_ends_the_run(machine):
    with machine("one") as one:
        execute(one, lambda run: run(Write(WordParams("sky"))))
        name = next(iter(artifacts(one))).rsplit("/", 1)[0]
    with machine("two") as two, two.storage.lock(name), machine("one", wait=False) as one:
        with pytest.raises(LockHeld, match="is held by process"):
            execute(one, lambda run: run(Write(WordParams("sky"))))
        assert statuses(execute(one, lambda run: run(Write(WordParams("other"))))) == ["ran"]


@pytest.mark.slow
def test_a_step_that_fails_leaves_nothing(machine):
    from foundation.errors import DataError
    from tests.runners.small_steps import Failing

    with machine("one") as one:
        with pytest.raises(DataError):
            execute(one, lambda run: run(Failing()))
        assert artifacts(one) == {}
        assert not one.objects.list("locks")


@pytest.mark.slow
def test_an_object_that_vanishes_is_damage(machine):
    with machine("one") as one:
        execute(one, pages)
        text = next(name for name in one.objects.list("artifacts") if name.endswith("/pages"))
        one.objects.remove([text])
    with machine("two") as two:
        name = text.rsplit("/", 1)[0]
        two.storage.look(name)
        with pytest.raises(DamagedArtifact, match="is missing"):
            two.storage.fetch(name)
        assert Text(two.path / name).manifest  # what is here stays, to be set aside
