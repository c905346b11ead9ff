"""What is on the disk itself, in which order."""

import os
from pathlib import Path

from foundation import disk


def test_a_new_directory_is_in_its_parent_on_the_disk_before_the_one_below_it(tmp_path, monkeypatch):
    flushed = []

    def record(descriptor):
        directory = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        flushed.append((directory.name, sorted(path.name for path in directory.iterdir())))

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(os, "fsync", record)
    disk.make_directory(tmp_path / "there/a/b")
    assert flushed == [("there", ["a"]), ("a", ["b"])]
    disk.make_directory(tmp_path / "there/a/b")
    assert len(flushed) == 2
