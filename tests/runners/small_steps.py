"""Steps of a line each, and a runner that says nothing."""

import dataclasses
from pathlib import Path

from components.contract.artifacts import Artifact
from components.contract.component import Component
from foundation.errors import DataError
from runners.local import LocalRunner


@dataclasses.dataclass(frozen=True)
class WordParams:
    word: str = "sky"


class Text(Artifact):
    @property
    def text(self) -> str:
        return (self.directory / "text").read_text()

    @property
    def summary(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Write(Component[Text]):
    params: WordParams = WordParams()
    name = "write"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.params.word)


@dataclasses.dataclass(frozen=True)
class FirstLetter(Component[Text]):
    text: Text
    params: WordParams = WordParams()
    name = "first"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.text.text[0])


@dataclasses.dataclass(frozen=True)
class Double(Component[Text]):
    text: Text
    name = "double"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.text.text * 2)


def graph(word: str):
    def run_all(run):
        text = run(Write(WordParams(word)))
        first = run(FirstLetter(text))
        return run(Double(first))

    return run_all


def statuses(record):
    return [step["status"] for step in record.content["steps"]]


def quiet(root, **options):
    return LocalRunner(root, show=lambda line: None, **options)


@dataclasses.dataclass(frozen=True)
class Failing(Component[Text]):
    error: str = "data"
    name = "failing"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "half").write_text("written")
        if self.error == "data":
            raise DataError("a rule must hold", received="nothing", remedy="give something")
        if self.error == "disk":
            raise OSError(28, "No space left on device")
        if self.error == "interrupt":
            raise KeyboardInterrupt
        raise ZeroDivisionError("a fault")


@dataclasses.dataclass(frozen=True)
class Counting(Component[Text]):
    """Counts in a file, which it goes on from."""

    stop_at: int
    params: WordParams = WordParams()
    name = "counting"
    version = "1"
    output = Text

    def resumes(self, partial: Path) -> str | None:
        counted = partial / "count"
        return f"{counted.read_text()} with {(partial / 'word').read_text()}" if counted.is_file() else None

    def run(self, out: Path) -> None:
        counted = int((out / "count").read_text()) if (out / "count").is_file() else 0
        (out / "word").write_text(self.params.word)
        for number in range(counted + 1, 11):
            (out / "count").write_text(str(number))
            if number == self.stop_at:
                raise KeyboardInterrupt
        (out / "text").write_text(f"from {counted}")


@dataclasses.dataclass(frozen=True)
class Stoppable(Counting):
    """Its stop is no part of its key."""

    stop_at: int = dataclasses.field(default=0, metadata={"key": False})
