"""Which files a path stands for, and of which format each is: by its ending, else by what it holds."""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.sources import tables
from components.sources.compression import decompressed, named_compression, plain_name
from components.sources.encodings import HEAD_BYTES, encoding_of, text_of
from components.sources.readers import read_errors
from foundation.errors import ConfigError, DataError

RECORDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
"""The endings of files of records, which that of a compression may follow."""
TABLES = (".parquet", ".arrow", ".feather")
"""The endings of what Arrow reads."""
ENDINGS = ".jsonl, .ndjson, .json, .csv, .tsv, .txt (each also as .gz, .bz2, .xz, .zst or .zip), .parquet or .arrow"
ABOUT = re.compile(
    r"(readme|licen[sc]e|copying|notice|changelog|citation|contributing|requirements)(\..*)?|dataset_infos?\.json", re.I
)
"""The names of files about data, which are left out of a directory. `datasets` leaves out the last two, too."""
JSON_START = re.compile(r'\s*(\{\s*"|\{\s*$|\[\s*[{"])')


def usable_files(option: str, pattern: str) -> tuple[list[Path], list[Path]]:
    """The files that a path stands for and that can be read, sorted, and those that are left out.

    Where no file's ending tells its format, files of text are taken by what they hold. In a directory, those about the
    data are left out, if there are others. A file that is there by several names is read once.

    Args:
        option: The setting, for messages.
        pattern: A file, a directory or a glob.

    Raises:
        ConfigError: If there are none.
        DataError: If the one file is of another format. The message says which.
    """
    found = candidates(option, pattern)
    once = without_doubles(found)
    usable = [path for path in once if named_format(path)]
    for path in once:
        refuse_name(path)
    if Path(pattern).expanduser().is_dir():
        usable = [path for path in usable if not ABOUT.fullmatch(path.name)] or usable
    if not usable:
        usable = [path for path in once if format_by_content(path, is_only=len(found) == 1)]
    if not usable:
        named = ", ".join(path.name for path in found[:3]) if found else "no files"
        where = "which is neither" if found == [Path(pattern)] else f"where there are {named}"
        raise ConfigError(
            f"{option} must name files that end in {ENDINGS}, or files of text",
            received=f"{pattern}, {where}",
            remedy=f"give the data's file, directory or glob with --{option}",
        )
    return usable, [path for path in found if path not in set(usable)]


def candidates(option: str, pattern: str) -> list[Path]:
    """Every file that a path stands for, whatever its format; below a directory those that aren't hidden.

    Raises:
        ConfigError: If there is no such file.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        return tables.data_files(sorted(files_below(path)))
    if path.exists() or not glob.has_magic(pattern):
        if not path.is_file():
            raise ConfigError(
                f"{option} must name an existing file or directory, or a glob that matches some",
                received=f"{pattern}, which {why_not(path)} (looked from {Path.cwd()})",
                remedy=way_out(option, pattern),
            )
        return [path]
    return sorted(other for name in glob.glob(str(path), recursive=True) if not (other := Path(name)).is_dir())


def files_below(directory: Path) -> Iterator[Path]:
    """The files below a directory that aren't hidden, also where links lead to directories; each directory once."""
    seen = set()
    for place, directories, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            directories.clear()
            continue
        seen.add(real)
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        yield from (Path(place, name) for name in names if not name.startswith("."))


def why_not(path: Path) -> str:
    """Why a path can't be read, in words."""
    if path.is_symlink() and not path.exists():
        return f"is a link to {os.readlink(path)}, where nothing is"
    return "is no file, and can't be read twice" if path.exists() else "isn't there"


def way_out(option: str, pattern: str) -> str:
    """What to do about a path that isn't there."""
    if re.match(r"[a-z][a-z0-9+.-]*://", pattern, re.I):
        return (
            f"download it, and give the file with --{option}; of the Hub, give a dataset's name with --ingest.dataset"
        )
    if "," in pattern and any(Path(name.strip()).expanduser().exists() for name in pattern.split(",")):
        return f"put the files into a directory and give that with --{option}, or list them in --ingest.sources"
    return f"correct --{option}"


def without_doubles(paths: list[Path]) -> list[Path]:
    """The files that are there, each once, by a name that is no link if there is one."""
    by_place: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
        if path.is_file():
            by_place.setdefault(os.path.realpath(path), path)
    return sorted(by_place.values())


def refuse_name(path: Path) -> None:
    """Refuses a file whose name no report could hold.

    Raises:
        ConfigError: If it is such.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "the names of source files must be text in UTF-8", received=ascii(str(path)), remedy="rename that file"
        ) from None


def why_left_out(path: Path) -> str:
    """Why a file isn't among those that are read, in words."""
    if not path.is_file():
        return why_not(path)
    if not named_format(path):
        return f"a file that doesn't end in {ENDINGS}"
    return "a file about the data, by its name" if ABOUT.fullmatch(path.name) else "another name of a file that is read"


def left_out_note(others: list[Path], read: list[Path]) -> list[str]:
    """A sentence about files of other endings that are left out, where they are larger than all that are read."""
    unknown = [path for path in others if path.is_file() and not named_format(path)]
    if sum(path.stat().st_size for path in unknown) <= sum(path.stat().st_size for path in read):
        return []
    more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
    return [f"left out were {unknown[0].name}{more}, which are larger, but have other endings"]


def base(pattern: str) -> Path:
    """The directory that the names of files are relative to."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        return path
    while glob.has_magic(str(path)) and not path.exists():
        path = path.parent
    return path if path.is_dir() else path.parent


def format_of(path: Path) -> str:
    """The ending that tells a file's format, without that of a compression; empty where it can't be read."""
    return named_format(path) or format_by_content(path)


def named_format(path: Path) -> str:
    """What `format_of` gives, by the file's name alone."""
    ending = Path(plain_name(path)).suffix.lower()
    return ending if ending in RECORDS or (ending in TABLES and named_compression(path) is None) else ""


def format_by_content(path: Path, *, is_only: bool = False) -> str:
    """The ending that a file of text should have: `.json` or `.txt`; empty for other files.

    Args:
        path: The file.
        is_only: Whether no other can be read in its place.

    Raises:
        DataError: If it is the only one, and of another format. The message says which.
    """
    try:
        with read_errors(path), decompressed(path) as file:
            head = file.read(HEAD_BYTES)
        text = text_of(head, encoding_of(path, head, None))
    except DataError:
        if is_only:
            raise
        return ""
    return "" if not text or text.isspace() or "\0" in text else ".json" if is_json(text) else ".txt"


def is_json(start: str) -> bool:
    """Whether a text that begins so is JSON."""
    first = next(line for line in start.splitlines() if not line.isspace() and line)
    if not JSON_START.match(first):
        return False
    try:
        json.loads(first)
    except json.JSONDecodeError as error:
        return error.pos >= len(first.rstrip()) or error.msg.startswith(("Unterminated", "Extra data"))
    except (ValueError, RecursionError):
        return True
    return True


def refuse_formats(pattern: str, paths: Iterable[Path]) -> None:
    """Refuses files of several formats.

    Raises:
        ConfigError: If there are several. The message has a glob for those of the one with the most bytes.
    """
    sizes: Counter[str] = Counter()
    formats: dict[str, list[Path]] = {}
    for path in paths:
        formats.setdefault(format_of(path), []).append(path)
        sizes[format_of(path)] += path.stat().st_size
    if len(formats) < 2:
        return
    most = sizes.most_common(1)[0][0]
    place = base(pattern)
    endings = {path.name[path.name.lower().find(most) :] if named_format(path) else "" for path in formats[most]}
    below = "*" if all(path.parent == place for path in formats[most]) else "**/*"
    example = place / (below + (endings.pop() if len(endings) == 1 else f"{most}*"))
    counts = ", ".join(f"{len(files)} {ending}" for ending, files in sorted(formats.items()))
    raise ConfigError(
        "ingest.path must name files of one format",
        received=f"{pattern} with {counts}",
        remedy=f"choose one with a glob, e.g. --ingest.path '{example}'"
        if "" not in endings
        else "name the files so that they end in .json or .txt, or give those of one format with --ingest.path",
    )
