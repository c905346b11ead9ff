"""From a pile of text to a served masked language model: the graph, and the command line under it.

python pipeline.py --runner local [--config NAME_OR_PATH] [--root DIR] [--until STEP] [--force STEP]
                   [--no_wait] [--plan] [--print_config] [--<section>.<key> VALUE ...]
python pipeline.py [--root DIR] --list | --compare RUN RUN | --verify | --gc [--keep N] [--dry_run]
"""

if __name__ == "__main__":
    # The imports below take a moment, in which a signal would end in a traceback.
    from foundation.termination import TERMINATION

    TERMINATION.end_at_once("pipeline.py: interrupted before anything began")

import argparse
import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.config.command_line import CommandLine, add_sections, config_of, parse
from components.config.config_files import config_path, described_configs
from components.config.pipeline_config import SECTIONS, Config
from components.contract.artifacts import Checkpoint, Evaluation, Pushed, ServingModel
from components.contract.reports import PushReport
from components.evaluate import Evaluate
from components.export import Export
from components.ingest import Ingest
from components.preprocess import Preprocess
from components.publishing.params import PushParams
from components.push import Push
from components.tokenizer import PrepareTokenizer
from components.train import PlannedInputs, Train
from components.validate import Validate
from foundation.disk import require_working_directory
from foundation.errors import ConfigError, PipelineError
from foundation.keras_choice import choose_keras
from foundation.perplexity import perplexity_text
from foundation.terminal import TERMINAL, TerminalHandler, is_utf8, take_any_text
from foundation.termination import TERMINATION, number_of
from foundation.versions import TOKENIZER
from runners.run import Run
from runners.run_record import AT_ONCE
from runners.store import ARTIFACTS

DESCRIPTION = "From a pile of text to a served masked language model."
"""What --help says first."""
USAGE = """%(prog)s --runner local [--config NAME_OR_PATH] [--root DIR] [--until STEP] [--force STEP ...]
                   [--no_wait] [--plan] [--print_config] [--<section>.<key> VALUE ...]
       %(prog)s [--root DIR] --list | --compare RUN RUN | --verify | --gc [--keep N] [--dry_run]"""
DEFAULT_CONFIG = "quickstart"
COMMAND = "masked-lm-pipeline"
"""What an installed package calls this program."""
TASKS = ("plan", "list", "compare", "verify", "gc")
"""The options that ask for something else than a run."""
PROGRAM = COMMAND if Path(sys.argv[0]).name == COMMAND else "pipeline.py"


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
    model = run(Export(checkpoint, tokenizer, config.export, corpus, text_column))
    blessing = run(Validate(model, checkpoint, tokenizer, config.validate))
    return run(Push(model, blessing, evaluation, checkpoint, tokenizer, corpus, blocks, config.push, root))


def planned_inputs(config: Config) -> PlannedInputs:
    """What the settings of the earlier steps say of training's inputs, for the preflight."""
    preprocess, tokenizer = config.preprocess, config.tokenizer
    return PlannedInputs(preprocess.block_size, preprocess.packing, tokenizer.pretrained, tokenizer.revision)


def build_parser() -> CommandLine:
    """The command line's options."""
    parser = CommandLine(
        prog=PROGRAM,
        usage=USAGE,
        description=f"{DESCRIPTION}\n\nconfigurations:\n{_configurations()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = list(SECTIONS)
    parser.add_argument("--runner", choices=["local"], default="local", help="Where the steps run.")
    parser.add_argument("--config", default=DEFAULT_CONFIG, help="A name in configs/, or the path of a YAML file.")
    parser.add_argument("--root", default="pipeline_root", help="Directory for artifacts, runs and served models.")
    parser.add_argument("--until", choices=steps, help="The last step to run.")
    parser.add_argument(
        "--force", choices=steps, nargs="+", action="extend", help="Steps to run although they are cached."
    )
    parser.add_argument(
        "--no_wait", action="store_true", help="End where another run is making the same artifact, or pushing."
    )
    parser.add_argument("--plan", action="store_true", help="Show what would run and what is cached; run nothing.")
    parser.add_argument("--print_config", action="store_true", help="Print the whole effective configuration as YAML.")
    parser.add_argument(
        "--compare", nargs=2, metavar="RUN", help="Show two runs side by side, by id or as latest; run nothing."
    )
    parser.add_argument("--list", action="store_true", help="List the root's runs and artifacts; run nothing.")
    parser.add_argument(
        "--verify", action="store_true", help="Compare every file of the root with its digest; run and change nothing."
    )
    parser.add_argument("--gc", action="store_true", help="Remove what no kept run reaches; run nothing.")
    parser.add_argument("--keep", type=int, metavar="N", help="How many of the newest runs --gc keeps; 5.")
    parser.add_argument("--dry_run", action="store_true", help="Show only what --gc would remove.")
    add_sections(parser)
    return parser


def _configurations() -> str:
    """The configurations that come along, a line each."""
    return "\n".join(f"  {name:<18} {subject}" for name, subject in described_configs().items())


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
        _require_text(arguments)
        parser = build_parser()
        options = parse(parser, arguments, config_path(_config_name(arguments)))
        _refuse_two_tasks(options)
        if options.list or options.verify or options.gc:
            return _look_after(options)
        config = config_of(options)
        if options.print_config:
            notes = "".join(f"# {note}\n" for note in options.notes)
            TERMINAL.line(notes + config.as_yaml(ascii_only=not is_utf8(sys.stdout)).rstrip("\n"))
            return 0
        if options.compare:
            return _compare(Path(options.root), *options.compare)
        return _plan_or_run(options, config)
    except PipelineError as error:
        TERMINAL.tell(f"{PROGRAM}: {error}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    """Tells of an interrupt; the exit code."""
    TERMINAL.tell(f"{PROGRAM}: {str(interrupt) or 'interrupted'}")
    return 128 + number_of(interrupt)


def _refuse_two_tasks(options: argparse.Namespace) -> None:
    """Refuses options that ask for two things at once, or have no meaning without another one.

    Raises:
        ConfigError: If they do.
    """
    tasks = [f"--{name}" for name in TASKS if getattr(options, name)]
    if len(tasks) > 1:
        raise ConfigError(
            f"the command line must name at most one of {', '.join(f'--{name}' for name in TASKS)}",
            received=" and ".join(tasks),
            remedy="give one command for each",
        )
    if not options.gc and (options.dry_run or options.keep is not None):
        raise ConfigError(
            "--keep and --dry_run must be given together with --gc",
            received="no --gc",
            remedy="add --gc, or leave them out; --push.dry_run true is the dry run of a push",
        )


def _look_after(options: argparse.Namespace) -> int:
    """Lists, checks or tidies up the root."""
    from runners.housekeeping import commands  # only here, so that --help is quick

    root = Path(options.root)
    if options.list:
        return commands.list_root(root)
    if options.verify:
        return commands.verify_root(root)
    return commands.collect_garbage(root, options.keep, options.dry_run)


def _plan_or_run(options: argparse.Namespace, config: Config) -> int:
    from runners.local import LocalRunner  # only here, so that --help is quick

    root = Path(os.path.abspath(options.root))
    config = _with_movable_serving_directory(config, root)
    if options.no_wait:
        config = dataclasses.replace(config, push=dataclasses.replace(config.push, lock_timeout_seconds=0.0))
    runner = LocalRunner(
        root,
        until=options.until,
        force=frozenset(options.force or ()),
        wait=not options.no_wait,
        show=TERMINAL.paragraph,
        working=TERMINAL.working,
    )
    if options.plan:
        for note in options.notes:
            TERMINAL.paragraph(f"  {note}")
        for component, status in runner.plan(lambda run: pipeline(run, config, str(root))):
            TERMINAL.line(f"  {component.name:<11} {status}")
        return 0
    TERMINAL.line(f"{options.config} · root {Path(options.root)}")
    for note in options.notes:
        TERMINAL.paragraph(f"  {note}")
    record = runner.execute(lambda run: pipeline(run, config, str(root)), config.as_plain(), options.config)
    metrics, artifacts = record.content["metrics"], record.artifacts
    TERMINAL.line(f"\nRun         {_short(record.directory)}")
    TERMINAL.line(f"Report      {_short(record.directory / 'report.html')}")
    if metrics:
        TERMINAL.line(
            f"Perplexity  {perplexity_text(metrics['perplexity_before'])} before training{_with_new_head(artifacts)}, "
            f"{perplexity_text(metrics['perplexity_after'])} after "
            f"(unigram baseline {perplexity_text(metrics['perplexity_unigram'])})"
            f"{_warning(Evaluation(artifacts[Evaluate.name]))}"
        )
    if Push.name in artifacts:
        _print_next(Pushed(artifacts[Push.name]), ServingModel(artifacts[Export.name]), root)
    return _exit_code(Evaluation(artifacts[Evaluate.name]), config) if Evaluate.name in artifacts else 0


def _with_movable_serving_directory(config: Config, root: Path) -> Config:
    """The configuration with a serving directory below the root as a relative path, and any other as an absolute one.

    So a root that is moved together with its serving directory still has the model pushed, and no other root has.
    """
    serving_dir = Path(os.path.abspath(root / config.push.serving_dir))
    if serving_dir.is_relative_to(root):
        serving_dir = serving_dir.relative_to(root)
    return dataclasses.replace(config, push=dataclasses.replace(config.push, serving_dir=str(serving_dir)))


def _warning(evaluation: Evaluation) -> str:
    """What the headline adds where the model is no better than counting words."""
    return f": {evaluation.beside_counting}" if evaluation.beside_counting else ""


def _with_new_head(artifacts: Mapping[str, Path]) -> str:
    """What the headline adds to the perplexity before training where the head was random then."""
    return " (with a random head)" if Checkpoint(artifacts[Train.name]).report.has_new_head else ""


def _exit_code(evaluation: Evaluation, config: Config) -> int:
    """1 where the model isn't blessed, even if the run ended before the push that would refuse it."""
    if evaluation.blessed or config.push.allow_unblessed:
        return 0
    TERMINAL.tell(
        f"{PROGRAM}: {evaluation.verdict}. All is kept, and push would refuse it: train a better model, or set "
        "--push.allow_unblessed true."
    )
    return 1


def _compare(root: Path, first: str, second: str) -> int:
    """Prints two runs side by side, and renders them as a page."""
    from runners.report.comparison import Comparison, as_text, open_run, write_comparison

    comparison = Comparison(open_run(root, first), open_run(root, second))
    TERMINAL.line(as_text(comparison))
    path = comparison.second.directory / f"compared_with_{comparison.first.run['id']}.html"
    try:
        write_comparison(comparison, path)
    except OSError as error:
        raise PipelineError(
            "the folder of the second run must be writable, for the comparison's page",
            received=f"{path}: {error.strerror or error}",
            remedy="give the permission or make room; the comparison above is complete",
        ) from error
    TERMINAL.line(f"\nReport  {_short(path)}")
    return 0


def _print_next(pushed: Pushed, model: ServingModel, root: Path) -> None:
    """Where the model is, and the two commands to type next."""
    report = pushed.report
    if report.dry_run:
        TERMINAL.line(f"\n{report.page}")
        return
    version = root / str(report.path)
    python = shlex.quote(_short(Path(sys.executable)))
    TERMINAL.line(f"Model       {_short(version)}")
    if report.hub:
        TERMINAL.line(f"On the Hub  {report.hub.url}")
    TERMINAL.line(f"Serve it    {python} -m serving --model-dir {shlex.quote(_short(version.parent))}")
    TERMINAL.line(f"Ask it      {python} -m serving.client {shlex.join(_client_arguments(report, model, version))}")


def _client_arguments(report: PushReport, model: ServingModel, version: Path) -> list[str]:
    """What to ask a model that was pushed: its example, with what the client must know of it."""
    options = ["--top-k", str(min(3, model.most_candidates))]
    if report.model_name != PushParams.model_name:
        options += ["--model", report.model_name]
    if not model.takes_text:
        options += ["--tokenizer", _short(version / TOKENIZER)]
    # A text that looks like an option stands after the options' end.
    return [*options, "--", model.example] if model.example.startswith("-") else [model.example, *options]


def _short(path: Path) -> str:
    """A path as the user would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuses arguments whose bytes are no text in the locale's encoding: records and reports could not name them.

    Raises:
        ConfigError: If there is one.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                "the command line must be text in the locale's encoding",
                received=f"{argument!a}, where that is {sys.getfilesystemencoding()}",
                remedy="set PYTHONUTF8=1, or a locale of UTF-8 such as LC_ALL=C.UTF-8",
            ) from error


def _config_name(arguments: Sequence[str]) -> str:
    """The value of --config, which must be known before the other options are parsed."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config", nargs="?", default=DEFAULT_CONFIG, const=DEFAULT_CONFIG)
    return str(first.parse_known_args(arguments)[0].config)


def command() -> int:
    """What the installed command runs: `main`, in a process of its own, which signals end."""
    if sys.flags.optimize > 1:
        # Keras and transformers read docstrings while they are imported, so `python -OO` goes on as `python -O`.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONOPTIMIZE": "1"})
    try:
        TERMINATION.interrupt(f"{PROGRAM}: {AT_ONCE}")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        # Keras' remarks about its own retracing and callbacks tell a user nothing to do.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        logging.lastResort = TerminalHandler(logging.WARNING)
        code = main()
    except KeyboardInterrupt as interrupt:
        code = _interrupted(interrupt)
    if TERMINATION.received is not None:
        TERMINATION.leave(code)
    TERMINATION.ignore()
    return code


if __name__ == "__main__":
    sys.exit(command())
