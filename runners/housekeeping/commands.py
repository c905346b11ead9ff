"""The commands that look after a pipeline root: each prints what it finds and returns the process' exit code."""

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from components.contract.run_names import RUNS, find_run
from foundation.errors import ConfigError
from foundation.terminal import TERMINAL, columns_of, is_terminal
from runners.housekeeping import collection, listing, verification
from runners.housekeeping.index import write_index
from runners.housekeeping.inventory import take_inventory
from runners.housekeeping.pipeline_root import PipelineRoot


def list_root(root: PipelineRoot, *, as_json: bool = False) -> int:
    """Prints the runs and the artifacts."""
    root.bring_inventory()
    inventory = take_inventory(root.path)
    if as_json:
        TERMINAL.line(listing.as_json(inventory))
        return 0
    columns = columns_of(sys.stdout) - 1 if is_terminal(sys.stdout) else listing.COLUMNS
    for line in listing.as_text(inventory, columns).split("\n"):
        TERMINAL.paragraph(line)
    return 0


def verify_root(root: PipelineRoot) -> int:
    """Prints what isn't as it was written; 1 if anything is."""
    with TERMINAL.working("verify"):
        result = root.verify()
    for line in verification.as_text(result):
        TERMINAL.paragraph(line)
    return 1 if result.damages else 0


def collect_garbage(root: PipelineRoot, keep: Sequence[str] | None, dry_run: bool) -> int:
    """Prints what was removed, or would be; 1 if something couldn't be.

    Args:
        root: The pipeline root.
        keep: How many of the newest runs are kept, and the ids or names of others; None for the usual number.
        dry_run: Whether to remove nothing.

    Raises:
        ConfigError: If `keep` has two numbers, or names a run that isn't there.
    """
    root.bring_inventory()
    newest, also = _kept(root.path, keep or ())
    with TERMINAL.working("gc"):
        result = collection.collect(
            root.path,
            newest,
            also=also,
            dry_run=dry_run,
            storage=root.storage,
            look=root.bring_inventory,
            discard=root.discard,
        )
    if not dry_run:
        with contextlib.suppress(OSError):  # the next run writes it, too
            index = write_index(root.path)
            if root.storage is not None:
                root.storage.share(index.relative_to(root.path).as_posix())
    for line in collection.as_text(result, root.path, dry_run=dry_run):
        TERMINAL.paragraph(line)
    return 1 if result.failures else 0


def _kept(root: Path, keep: Sequence[str]) -> tuple[int, frozenset[str]]:
    numbers = [each for each in keep if re.fullmatch(r"[+-]?[0-9]+", each)]
    if len(numbers) > 1:
        raise ConfigError(
            "--keep must have one number, how many of the newest runs are kept",
            received=" and ".join(numbers),
            remedy="give the larger one; other values are the ids or names of runs",
        )
    also = set()
    for name in keep:
        if name in numbers:
            continue
        found = find_run(root, name)
        if found is None or found.parent != (root / RUNS).resolve():
            raise ConfigError(
                "--keep must be a whole number, or the ids or names of runs of the root",
                received=name,
                remedy="see --list, which shows both",
            )
        also.add(found.name)
    return int(numbers[0]) if numbers else collection.KEEP, frozenset(also)
