"""What an error says."""

import pytest

from foundation.errors import DataError


@pytest.mark.parametrize("received", ["a full disk", "a full disk.", "a full disk.\n"])
def test_a_message_is_three_sentences(received: str) -> None:
    error = DataError("the disk must have room", received=received, remedy="free some.")
    assert str(error) == "the disk must have room. Received: a full disk. Way out: free some."


def test_an_ellipsis_stays() -> None:
    assert "Received: a, b, …. Way" in str(DataError("a rule", received="a, b, …", remedy="stop"))
