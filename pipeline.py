"""From a pile of text to a served masked language model: the graph, and the command line under it.

python pipeline.py --runner local|ray|kubeflow [--config NAME_OR_PATH] [--root DIR] [--until STEP] [--force STEP]
                   [--name NAME] [--no_wait] [--plan] [--print_config] [--<section>.<key> VALUE ...]
python pipeline.py [--root DIR] --list [--json] | --compare RUN RUN ... | --verify | --gc [--keep N|RUN ...] [--dry_run]
"""

if __name__ == "__main__":
    # The imports below take a moment, in which a signal would end in a traceback.
    from foundation.termination import TERMINATION

    TERMINATION.end_at_once("pipeline.py: interrupted before anything began")

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.config.command_line import config_of
from components.config.config_files import described_configs
from components.config.help_pages import answer_about_options
from components.config.pipeline_config import Config
from components.contract.artifacts import Pushed
from components.contract.workers import Workers
from components.evaluate import Evaluate
from components.export import Export
from components.ingest import Ingest
from components.preprocess import Preprocess
from components.push import Push
from components.tokenizer import PrepareTokenizer
from components.train import Train
from components.training.inputs import PlannedInputs
from components.validate import Validate
from foundation.command_text import short
from foundation.disk import require_working_directory
from foundation.errors import PipelineError
from foundation.keras_choice import choose_keras
from foundation.own_process import run_as_process
from foundation.terminal import (
    TERMINAL,
    columns_of,
    is_terminal,
    is_utf8,
    take_any_text,
)
from runners.choice import chosen_workers
from runners.command_line.next_commands import recorded_command
from runners.command_line.options import PROGRAM, build_parser, name_of_run, parse_options, require_text
from runners.command_line.outcome import failed, interrupted, print_after_failure, print_outcome
from runners.housekeeping.pipeline_root import PipelineRoot
from runners.opened_root import opened_root
from runners.run import Run
from runners.run_record import AT_ONCE
from runners.store import ARTIFACTS


def pipeline(run: Run, config: Config, root: str) -> Pushed:
    """The graph: every step, in order, under whatever runner `run` belongs to.

    Args:
        run: Runs a step.
        config: The settings of every step.
        root: The pipeline root, below which a relative serving directory is.
    """
    text_column = config.preprocess.named_columns
    corpus = run(Ingest(config.ingest))
    tokenizer = run(PrepareTokenizer(corpus, text_column, config.tokenizer))
    blocks = run(Preprocess(corpus, tokenizer, config.preprocess))
    trainings = Path(root) / ARTIFACTS / Train.name
    checkpoint = run(
        Train(blocks, tokenizer, config.train, planned_inputs(config), config.push.training_observer, trainings)
    )
    pushed_to = config.push.pushed_to.below(root)
    masked = config.train.eval_mlm_probability
    evaluation = run(Evaluate(corpus, blocks, tokenizer, checkpoint, pushed_to, masked, config.evaluate))
    # What rounds a model's numbers is measured by the evaluation's questions.
    asked = (blocks, config.evaluate.questions(masked)) if config.export.is_rounded else (None, None)
    model = run(Export(checkpoint, tokenizer, config.export, corpus, text_column, *asked))
    blessing = run(Validate(model, checkpoint, tokenizer, config.validate, corpus, text_column))
    return run(Push(model, blessing, evaluation, checkpoint, tokenizer, corpus, blocks, config.push, root))


def planned_inputs(config: Config) -> PlannedInputs:
    """What the settings of the earlier steps say of training's inputs, for the preflight."""
    preprocess, tokenizer = config.preprocess, config.tokenizer
    return PlannedInputs(preprocess.block_size, preprocess.packing, tokenizer.pretrained, tokenizer.revision)


def for_root(config: Config, root: Path, wait: bool) -> Config:
    """The configuration as the steps read it below a root.

    A serving directory below the root becomes a relative path, and any other an absolute one. So a root that is moved
    together with its serving directory still has the model pushed, and no other root has.

    Args:
        config: The settings.
        root: The pipeline root, absolute; its runs may be named in place of checkpoints.
        wait: Whether push waits where another process pushes.
    """
    config = config.at(root)
    serving_dir = Path(os.path.abspath(root / config.push.serving_dir))
    if serving_dir.is_relative_to(root):
        serving_dir = serving_dir.relative_to(root)
    push = dataclasses.replace(config.push, serving_dir=str(serving_dir))
    if not wait:
        push = dataclasses.replace(push, lock_timeout_seconds=0.0)
    return dataclasses.replace(config, push=push)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The process' exit code: 0, 1 for a failed step, 2 for bad usage, and where a signal ended it 128 plus the
        signal's number (130 for Ctrl-C, 143 for SIGTERM).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    choose_keras()
    take_any_text()
    try:
        require_working_directory()
        require_text(arguments)
        parser = build_parser()
        if answer_about_options(parser, arguments, described_configs()):
            return 0
        options = parse_options(parser, arguments)
        if options.list or options.verify or options.gc:
            return _look_after(options)
        config = config_of(options)
        if options.print_config:
            notes = "".join(f"# {note}\n" for note in options.notes)
            TERMINAL.line(notes + config.as_yaml(ascii_only=not is_utf8(sys.stdout)).rstrip("\n"))
            return 0
        if options.compare:
            with opened_root(options.root, to_write=False) as root:
                return _compare(root, options.compare)
        return _plan_or_run(options, config)
    except PipelineError as error:
        return failed(error)
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt)


def _look_after(options: argparse.Namespace) -> int:
    """Lists, checks or tidies up the root."""
    from runners.housekeeping import commands  # only here, so that --help is quick

    with opened_root(options.root, to_write=options.gc and not options.dry_run, show=TERMINAL.paragraph) as root:
        if options.list:
            return commands.list_root(root, as_json=options.json)
        if options.verify:
            return commands.verify_root(root)
        return commands.collect_garbage(root, options.keep, options.dry_run)


def _plan_or_run(options: argparse.Namespace, config: Config) -> int:
    if options.runner == "kubeflow":
        return _hand_over_to_kubeflow(options, config)
    with opened_root(options.root, wait=not options.no_wait, show=TERMINAL.paragraph) as root:
        root.bring_named(config)
        config = for_root(config, root.path, wait=not options.no_wait)
        root.bring_paths(config)
        with chosen_workers(options.runner, config) as workers:
            return _plan_or_run_with(workers, options, config, root)


def _hand_over_to_kubeflow(options: argparse.Namespace, config: Config) -> int:
    """Writes the pipeline's file for Kubeflow, whose containers run the steps, and starts it there if so asked."""
    from runners.kubeflow.command import hand_over  # only here, so that --help is quick
    from runners.kubeflow.places import root_in_containers

    root = root_in_containers(options.root, config.kubeflow)
    config = for_root(config, root, wait=not options.no_wait)
    return hand_over(lambda run: pipeline(run, config, str(root)), options, config, root)


def _plan_or_run_with(workers: Workers, options: argparse.Namespace, config: Config, root: PipelineRoot) -> int:
    """Plans or runs the pipeline here, its steps with the help of workers."""
    from runners.local import LocalRunner  # only here, so that --help is quick
    from runners.tracking.choice import chosen_trackers

    runner = LocalRunner(
        root.path,
        until=options.until,
        force=frozenset(options.force or ()),
        wait=not options.no_wait,
        name=name_of_run(options.name, config),
        trackers=chosen_trackers(options.tracking or (), options.tracking_uri, options.tracking_project),
        show=TERMINAL.paragraph,
        working=TERMINAL.working,
        command=recorded_command(options.arguments),
        workers=workers,
        storage=root.storage,
    )
    notes = dict.fromkeys((*options.notes, *config.notes))
    if options.plan:
        for note in notes:
            TERMINAL.paragraph(f"  {note}")
        for component, status in runner.plan(lambda run: pipeline(run, config, str(root.path))):
            TERMINAL.paragraph(f"  {component.name:<11} {status}")
        return 0
    TERMINAL.paragraph(f"{options.config} · root {root.name}")
    for note in notes:
        TERMINAL.paragraph(f"  {note}")
    try:
        record = runner.execute(lambda run: pipeline(run, config, str(root.path)), config.as_plain(), options.config)
    except (PipelineError, KeyboardInterrupt) as error:
        code = failed(error) if isinstance(error, PipelineError) else interrupted(error)
        if runner.record is not None:
            print_after_failure(runner.record, error, config, options.arguments)
        return code
    root.bring_served(record)
    return print_outcome(record, config, root.path, options.until, options.arguments)


def _compare(root: PipelineRoot, names: Sequence[str]) -> int:
    """Prints runs side by side, and renders them as a page."""
    from runners.report.comparison import open_runs
    from runners.report.comparison_page import write_comparison
    from runners.report.comparison_text import COLUMNS, as_text

    root.bring_runs(names)
    comparison = open_runs(root.path, names)
    columns = max(COLUMNS, columns_of(sys.stdout)) if is_terminal(sys.stdout) else COLUMNS
    TERMINAL.line(as_text(comparison, columns))
    path = comparison.runs[-1].directory / comparison.page_name
    try:
        write_comparison(comparison, path)
    except OSError as error:
        raise PipelineError(
            "the folder of the last run must be writable, for the comparison's page",
            received=f"{path}: {error.strerror or error}",
            remedy="give the permission or make room; the comparison above is complete",
        ) from error
    TERMINAL.line(f"\nReport  {short(path)}")
    return 0


def command() -> int:
    """What the installed command runs: `main`, in a process of its own, which signals end."""
    if sys.flags.optimize > 1:
        # Keras and transformers read docstrings while they are imported, so `python -OO` goes on as `python -O`.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONOPTIMIZE": "1"})
    return run_as_process(main, f"{PROGRAM}: {AT_ONCE}", interrupted)


if __name__ == "__main__":
    sys.exit(command())
