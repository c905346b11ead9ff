"""What an error says."""

import pickle
from pathlib import Path

import pytest

from components.evaluation.comparing import Overtaken
from components.hub.reading import HubUnreachable
from foundation.errors import DamagedArtifact, DataError, PipelineError
from foundation.process_lock import LockHeld


@pytest.mark.parametrize("received", ["a full disk", "a full disk.", "a full disk.\n"])
def test_a_message_is_three_sentences(received: str) -> None:
    error = DataError("the disk must have room", received=received, remedy="free some.")
    assert str(error) == "the disk must have room. Received: a full disk. Way out: free some."


def test_an_ellipsis_stays() -> None:
    assert "Received: a, b, …. Way" in str(DataError("a rule", received="a, b, …", remedy="stop"))


def every_kind(kind: type[PipelineError] = PipelineError) -> list[type[PipelineError]]:
    return [kind, *(below for each in kind.__subclasses__() for below in every_kind(each))]


def test_the_kinds_that_other_modules_define_are_tried() -> None:
    assert {Overtaken, HubUnreachable, LockHeld} <= set(every_kind())


@pytest.mark.parametrize("kind", every_kind())
def test_an_error_comes_from_another_process_as_it_was(kind: type[PipelineError]) -> None:
    if kind is DamagedArtifact:
        error: PipelineError = DamagedArtifact(
            Path("root/artifacts/train/0123"), "a byte is another", was_replaced=True
        )
    else:
        error = kind("a disk must have room", received="a full one", remedy="free some")
    error.__notes__ = ["in epoch 3"]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
