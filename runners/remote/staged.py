"""What a staging root stands for, brought here for a program that has its path."""

from pathlib import Path

from components.contract.elsewhere import files_elsewhere
from components.contract.run_names import find_run
from foundation.versions import versions
from runners.remote.root import address_of, open_root


def complete(path: Path) -> None:
    """Brings all files of the artifact that a path is in, where it is in a staging root and some are elsewhere.

    Raises:
        PipelineError: If they can't be brought, or aren't what was sent.
    """
    found = address_of(path)
    if found is None:
        return
    address, root = found
    parts = Path(path).absolute().relative_to(root).parts
    if not files_elsewhere(root.joinpath(*parts[:3])):
        return
    with open_root(address, to_write=False) as opened:
        opened.storage.fetch("/".join(parts[:3]))


def complete_latest(base_path: Path) -> None:
    """Brings all files of the version that servers take, where the base path is in a staging root.

    Raises:
        PipelineError: As `complete` does.
    """
    found = address_of(base_path)
    latest = list(versions(base_path).values())[-1:] if base_path.is_dir() else []
    if found is None or (latest and not files_elsewhere(latest[0])):
        return
    address, root = found
    with open_root(address, to_write=False) as opened:
        name = base_path.absolute().relative_to(root).as_posix()
        opened.storage.take_versions(name, to_compare=False, latest=True)


def staged_root(root: str, run: str) -> Path:
    """The staging root of a remote root, with the records of all runs and the whole folder of one.

    Args:
        root: The address.
        run: The id or name of a run, or `latest`.

    Raises:
        ConfigError: If there is no such root.
    """
    with open_root(root, to_write=False) as opened:
        folder = find_run(opened.path, run)
        if folder is not None and folder.is_relative_to(opened.path.resolve()):
            opened.records.take_whole(opened.path / folder.relative_to(opened.path.resolve()))
            opened.bring_runs([run])
        return opened.path
