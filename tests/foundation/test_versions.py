"""Which children of a base path are versions, as TensorFlow Serving reads their names."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from foundation.versions import parse_version, versions


def test_of_names_that_read_alike_the_last_is_the_version(tmp_path: Path) -> None:
    for name in ("2", "00002", "010", "10"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == {2: tmp_path / "2", 10: tmp_path / "10"}


@given(st.integers(0, 2**63 - 1), st.integers(0, 30))
def test_versions_read_as_64_bit_integers(number: int, zeros: int) -> None:
    assert parse_version("0" * zeros + str(number)) == number
    assert parse_version(f"{number}_") is None
    assert parse_version(str(number + 2**63)) is None
