"""The commands that look after a pipeline root: each prints what it finds and returns the process' exit code."""

import sys
from pathlib import Path

from foundation.terminal import TERMINAL, columns_of, is_terminal
from runners.housekeeping import collection, listing, verification
from runners.housekeeping.inventory import take_inventory


def list_root(root: Path) -> int:
    """Prints the runs and the artifacts."""
    columns = max(listing.COLUMNS, columns_of(sys.stdout)) if is_terminal(sys.stdout) else listing.COLUMNS
    TERMINAL.line(listing.as_text(take_inventory(root), columns))
    return 0


def verify_root(root: Path) -> int:
    """Prints what isn't as it was written; 1 if anything is."""
    with TERMINAL.working("verify"):
        result = verification.verify(root)
    for line in verification.as_text(result):
        TERMINAL.line(line)
    return 1 if result.damages else 0


def collect_garbage(root: Path, keep: int | None, dry_run: bool) -> int:
    """Prints what was removed, or would be; 1 if something couldn't be."""
    with TERMINAL.working("gc"):
        result = collection.collect(root, collection.KEEP if keep is None else keep, dry_run=dry_run)
    for line in collection.as_text(result, root, dry_run=dry_run):
        TERMINAL.line(line)
    return 1 if result.failures else 0
