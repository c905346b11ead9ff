"""How much memory is free: the least of what the machine and a container have."""

import pytest

from foundation import memory

MACHINE = "MemTotal:       24000000 kB\nMemAvailable:     2000 kB\nHugePages_Total:       0\n"
VERSION_2 = {"memory.max": "1000000\n", "memory.current": "900000\n", "memory.stat": "anon 1\ninactive_file 200000\n"}
VERSION_1 = {
    "memory/memory.limit_in_bytes": "1000000\n",
    "memory/memory.usage_in_bytes": "900000\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200000\n",
}


@pytest.mark.parametrize(
    ("machine", "container", "free"),
    [
        (MACHINE, {}, 2_048_000),
        (MACHINE, VERSION_2, 300_000),
        (MACHINE, VERSION_1, 300_000),
        (MACHINE, {**VERSION_2, "memory.max": "max\n"}, 2_048_000),
        (MACHINE, {**VERSION_1, "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2_048_000),
        (MACHINE, {**VERSION_2, "memory.current": "2000000\n"}, 0),
        (None, VERSION_2, 300_000),
        (None, {}, None),
        ("MemTotal: 3 kB\n", {}, None),
    ],
)
def test_the_least_counts(tmp_path, monkeypatch, machine, container, free):
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    if machine is not None:
        (tmp_path / "meminfo").write_text(machine)
    for name, content in container.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory.free_bytes() == free


def test_this_machine_has_some():
    assert memory.free_bytes() > 1 << 20
