"""Configuration files: those that come along, by name, and anyone's own, by path."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from components.config.sections import KEYS, SECTIONS
from components.config.settings import Setting, as_setting, as_written
from components.config.values import NULL, Loader
from foundation.errors import ConfigError
from foundation.names import nearest_names, require_known

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RULE = f"a configuration must be YAML with the sections {', '.join(SECTIONS)}"


def config_path(name_or_path: str) -> Path:
    """The YAML file of a configuration: one of `configs/` by name, or any file by path.

    Raises:
        ConfigError: If there is no such file.
    """
    named = CONFIGS / f"{name_or_path}.yaml"
    path = named if named.is_file() else Path(name_or_path).expanduser()
    if not path.is_file():
        every = "".join(f"\n  {name:<18} {subject}" for name, subject in described_configs().items())
        raise ConfigError(
            "--config must name a configuration in configs/ or the path of a YAML file",
            received=f"{name_or_path!r}{', a folder' if path.is_dir() else ''}",
            remedy=f"give a path, or a name{nearest_names(name_or_path, described_configs())}:{every}",
        )
    return path


def described_configs() -> dict[str, str]:
    """What each configuration that comes along is for, by name: its file's first line."""
    return {
        path.stem: path.read_text("utf-8").split("\n", 1)[0].removeprefix("#").strip().rstrip(".")
        for path in sorted(CONFIGS.glob("*.yaml"))
    }


def read_config(path: Path) -> dict[str, Setting]:
    """The settings of a YAML file, by section and key.

    Raises:
        ConfigError: If it isn't made of sections with known keys, whose values have the keys' types.
    """
    root, loader = _compose(path)
    if root is None or root.tag == NULL:
        return {}
    _refuse_repeated_keys(path, root, set())
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            RULE,
            received=f"{path}, which is a list or a single value",
            remedy="give such a file; your text is named with --ingest.path",
        )
    every_key = [key for key in KEYS if "." in key]  # a key may stand in another's section
    settings = {}
    for section, section_node, line in _items(root, loader):
        require_known(section, SECTIONS, f"{path}, line {line}, has the section", "sections")
        if not isinstance(section_node, yaml.MappingNode):
            raise ConfigError(
                "a section must hold keys with values",
                received=f"{path}, line {line}: {section}: {as_written(section_node)}",
                remedy=f"indent the keys below '{section}:', or leave the section out",
            )
        keys = [key for key in KEYS if key.startswith(f"{section}.")]
        for name, node, key_line in _items(section_node, loader):
            key = f"{section}.{name}"
            require_known(key, keys, f"{path}, line {key_line}, has the key", "keys", every_key)
            settings[key] = as_setting(key, node, path, key_line)
    return settings


def _compose(path: Path) -> tuple[yaml.Node | None, Loader]:
    """The document's tree, and the loader that knows how to merge its mappings (`<<`)."""
    try:
        # From bytes, whose byte order mark says whether they are UTF-16.
        loader = Loader(path.read_bytes())
        return loader.get_single_node(), loader
    except OSError as error:
        raise ConfigError(
            RULE, received=f"{path}: {error.strerror}", remedy="give the permission to read it, or another file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        problem = " ".join(str(problem).split()).replace("'<stream end>'", "the end of the file")
        remedy = "mend that line" if mark else "save the file as UTF-8"
        raise ConfigError(RULE, received=f"{where}: {problem}", remedy=remedy) from error


def _items(node: yaml.MappingNode, loader: Loader) -> Iterator[tuple[str, yaml.Node, int]]:
    """The keys of a mapping as they are written, with their values and lines."""
    loader.flatten_mapping(node)
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        yield str(name), value, key.start_mark.line + 1


def _refuse_repeated_keys(path: Path, node: yaml.Node, seen: set[int]) -> None:
    """Refuses a YAML file in which a key stands twice, of which YAML would take the last without a word."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))  # an anchor may stand within itself
    names: set[str] = set()
    for item in node.value:
        key, value = item if isinstance(node, yaml.MappingNode) else (None, item)
        if key is not None and isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in names:
                raise ConfigError(
                    "a key of a configuration must stand once where it stands",
                    received=f"{path}, line {key.start_mark.line + 1}: {key.value} once more",
                    remedy="put what belongs together below one of them",
                )
            names.add(str(key.value))
        _refuse_repeated_keys(path, value, seen)
