"""What a run says at its end: what came out, and the commands that come next."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from components.config.pipeline_config import Config
from components.contract.artifacts import Checkpoint, Evaluation, Pushed, ServingModel
from components.evaluate import Evaluate
from components.export import Export
from components.push import Push
from components.train import Train
from foundation.command_text import short
from foundation.errors import ConfigError, PipelineError
from foundation.perplexity import perplexity_text
from foundation.terminal import TERMINAL
from foundation.termination import number_of
from runners.command_line import next_commands
from runners.command_line.options import PROGRAM
from runners.run_record import RunRecord


def print_outcome(record: RunRecord, config: Config, root: Path, until: str | None, arguments: Sequence[str]) -> int:
    """Prints what a run that came to its end has made, and what comes next.

    Args:
        record: The run's.
        config: Its settings.
        root: The pipeline root, absolute.
        until: The step at which it was to end; None for the last.
        arguments: What was typed.

    Returns:
        The exit code: 1 where push would refuse the model.
    """
    metrics, artifacts = record.content["metrics"], record.artifacts
    TERMINAL.line(f"\nRun         {short(record.directory)}")
    TERMINAL.line(f"Report      {short(record.directory / 'report.html')}")
    if metrics:
        TERMINAL.paragraph(
            f"Perplexity  {perplexity_text(metrics['perplexity_before'])} before training{_with_new_head(artifacts)}, "
            f"{perplexity_text(metrics['perplexity_after'])} after "
            f"(unigram baseline {perplexity_text(metrics['perplexity_unigram'])})"
            f"{_warning(Evaluation(artifacts[Evaluate.name]))}"
        )
    if Train.name in artifacts:
        _print_lines(next_commands.to_load(Checkpoint(artifacts[Train.name]).model_directory, record.directory))
    if Push.name in artifacts:
        pushed = Pushed(artifacts[Push.name])
        if pushed.report.dry_run:
            TERMINAL.line(f"\n{pushed.report.page}")
            _print_lines(next_commands.to_push(arguments, "--push.dry_run", "false"))
        else:
            _print_lines(next_commands.to_ask(pushed, ServingModel(artifacts[Export.name]), root))
        return 0
    if Evaluate.name in artifacts and _is_refused(evaluation := Evaluation(artifacts[Evaluate.name]), config):
        TERMINAL.tell(
            f"{PROGRAM}: {evaluation.verdict}. All is kept, and push would refuse it: train a better model, or set "
            "--push.allow_unblessed true."
        )
        _print_lines(next_commands.to_push(arguments, "--push.allow_unblessed", "true"))
        return 1
    _print_lines(next_commands.after(until, arguments))
    return 0


def print_after_failure(
    record: RunRecord, error: PipelineError | KeyboardInterrupt, config: Config, arguments: Sequence[str]
) -> None:
    """What to look at and how to go on, after a run that failed or was interrupted. Bad usage can't go on as it is."""
    artifacts = record.artifacts
    if artifacts:
        TERMINAL.line(f"\nReport      {short(record.directory / 'report.html')}")
    if Train.name in artifacts:
        _print_lines(next_commands.to_load(Checkpoint(artifacts[Train.name]).model_directory, record.directory))
    if isinstance(error, ConfigError):
        return
    failed = record.content["steps"][-1]["name"] if record.content["steps"] else None
    if failed == Push.name and _is_refused(Evaluation(artifacts[Evaluate.name]), config):
        _print_lines(next_commands.to_push(arguments, "--push.allow_unblessed", "true"))
    else:
        _print_lines(next_commands.to_go_on(arguments))


def failed(error: PipelineError) -> int:
    """Tells of a failure; the exit code."""
    TERMINAL.error(PROGRAM, error)
    return error.exit_code


def interrupted(interrupt: KeyboardInterrupt) -> int:
    """Tells of an interrupt; the exit code."""
    TERMINAL.tell(f"{PROGRAM}: {str(interrupt) or 'interrupted'}")
    return 128 + number_of(interrupt)


def _print_lines(lines: Iterable[next_commands.Line]) -> None:
    """Prints paths and commands, each after what it is for, on one line whatever its length, to be copied."""
    for name, text in lines:
        TERMINAL.line(f"{name:<11} {text}")


def _warning(evaluation: Evaluation) -> str:
    """What the headline adds where the model is no better than counting words."""
    return f": {evaluation.beside_counting}" if evaluation.beside_counting else ""


def _with_new_head(artifacts: Mapping[str, Path]) -> str:
    """What the headline adds to the perplexity before training where the head was random then."""
    return " (with a random head)" if Checkpoint(artifacts[Train.name]).report.has_new_head else ""


def _is_refused(evaluation: Evaluation, config: Config) -> bool:
    """Whether push refuses the model: the exit code is 1 then, even if the run ended before it."""
    return not evaluation.blessed and not config.push.allow_unblessed
