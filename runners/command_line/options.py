"""The options of the program: what they are, and which go together."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.config.command_line import add_sections, parse
from components.config.completion import add_completion
from components.config.config_files import config_path, described_configs
from components.config.pipeline_config import QUICKSTART, Config
from components.config.places import CHECKPOINTS
from components.config.sections import RUNNERS, STEPS
from foundation.errors import ConfigError
from foundation.option_parser import OptionParser
from runners.command_line.next_commands import COMMAND

DESCRIPTION = "From a pile of text to a served masked language model."
"""What --help says first."""
USAGE = """%(prog)s [--config NAME_OR_PATH] [--root DIR] [--until STEP]
         [--force STEP ...] [--name NAME] [--plan] [--<section>.<key> VALUE ...]
       %(prog)s [--root DIR] --list [--json] | --compare RUN RUN ...
         | --verify | --gc [--keep N|RUN ...] [--dry_run]"""
TASKS = ("plan", "print_config", "list", "compare", "verify", "gc")
"""The options that ask for something else than a run."""
BESIDE = {"list": ("--json",), "compare": (), "verify": (), "gc": ("--keep", "--dry_run")}
"""Those of them that look at runs there are, each with the options that mean something beside it and --root."""
PROGRAM = COMMAND if Path(sys.argv[0]).name == COMMAND else "pipeline.py"


def build_parser() -> OptionParser:
    """The command line's options."""
    parser = OptionParser(
        prog=PROGRAM,
        usage=USAGE,
        description=f"{DESCRIPTION}\n\nconfigurations:\n{_configurations()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", nargs="?", metavar="STEP", help="Explain the options, or a step's settings.")
    steps = list(STEPS)
    parser.add_argument("--runner", choices=["local", *RUNNERS], default="local", help="Where the steps run.")
    parser.add_argument(
        "--config", metavar="NAME", default=QUICKSTART, help="A name in configs/, or the path of a YAML file."
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        default="pipeline_root",
        help="Directory or s3:// URL of artifacts and models.",
    )
    parser.add_argument("--until", choices=steps, help="The last step to run.")
    parser.add_argument(
        "--force", choices=steps, nargs="+", action="extend", help="Steps to run although they are cached."
    )
    parser.add_argument(
        "--no_wait", action="store_true", help="End where another run is making the same artifact, or pushing."
    )
    parser.add_argument(
        "--name", help="What to call the run, beside its id, wherever a run is named; the newest of a name counts."
    )
    parser.add_argument(
        "--tracking", choices=["mlflow", "wandb"], nargs="+", action="extend", help="Log the run there, too."
    )
    parser.add_argument("--tracking_uri", metavar="URI", help="MLflow's server; else MLFLOW_TRACKING_URI.")
    parser.add_argument(
        "--tracking_project", metavar="NAME", help="MLflow's experiment, or the project in Weights & Biases."
    )
    parser.add_argument("--plan", action="store_true", help="Show what would run and what is cached; run nothing.")
    parser.add_argument("--print_config", action="store_true", help="Print the whole effective configuration as YAML.")
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="RUN",
        help="Show two or more runs side by side, by id, name, path or as latest; run nothing.",
    )
    add_completion(parser)
    parser.add_argument("--list", action="store_true", help="List the root's runs and artifacts; run nothing.")
    parser.add_argument("--json", action="store_true", help="With --list: as JSON.")
    parser.add_argument(
        "--verify", action="store_true", help="Compare every file of the root with its digest; run and change nothing."
    )
    parser.add_argument("--gc", action="store_true", help="Remove what no kept run reaches; run nothing.")
    parser.add_argument(
        "--keep",
        nargs="+",
        metavar="N|RUN",
        help="What --gc keeps: how many of the newest runs (5), and other runs by id or name.",
    )
    parser.add_argument("--dry_run", action="store_true", help="Show only what --gc would remove.")
    add_sections(parser)
    return parser


def _configurations() -> str:
    """The configurations that come along, a line each."""
    return "\n".join(f"  {name:<18} {subject}" for name, subject in described_configs().items())


def parse_options(parser: OptionParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The options as they were typed, over the configuration that they name.

    Args:
        parser: What `build_parser` returns.
        arguments: What was typed; the result has them as `arguments`, too.

    Raises:
        ConfigError: If they are wrong, or don't go together.
    """
    options = parse(parser, arguments, config_path(_config_name(arguments)))
    options.arguments = arguments
    _refuse_two_tasks(options)
    return options


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
    if options.json and not options.list:
        raise ConfigError(
            "--json must be given together with --list", received="no --list", remedy="add --list, or leave it out"
        )
    for task, beside in BESIDE.items():
        allowed = ("--root", "--runner", f"--{task}", *beside)
        typed = [argument.partition("=")[0] for argument in options.arguments if argument.startswith("--")]
        idle = [option for option in dict.fromkeys(typed) if option not in allowed]
        if getattr(options, task) and idle:
            raise ConfigError(
                f"--{task} must be given alone, or with {' or '.join(('--root', *beside))}: it runs nothing",
                received=f"{' and '.join(idle)} beside it",
                remedy=f"leave {'them' if len(idle) > 1 else 'it'} out, or leave out --{task} to run the pipeline",
            )


def name_of_run(name: str | None, config: Config) -> str | None:
    """The run's name, unless the same word in its own settings would stand for the run the next time.

    Raises:
        ConfigError: If so.
    """
    for key in CHECKPOINTS:
        section, _, setting = key.partition(".")
        if name is not None and getattr(getattr(config, section), setting) == name:
            raise ConfigError(
                f"--name must differ from {key}: the next time, that would stand for this run",
                received=name,
                remedy=f"give another name, such as --name {name}-trained",
            )
    return name


def require_text(arguments: Sequence[str]) -> None:
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
    first.add_argument("--config", nargs="?", default=QUICKSTART, const=QUICKSTART)
    return str(first.parse_known_args(arguments)[0].config)
