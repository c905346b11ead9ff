"""The weight files of a checkpoint folder: which one counts, which files belong to it, and what they hold.

Nothing here needs TensorFlow, nor NumPy before tensors are read.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

CONFIG_NAME = "config.json"
SAFETENSORS = "model.safetensors"
PYTORCH = "pytorch_model.bin"
TENSORFLOW = "tf_model.h5"
INDEX_SUFFIX = ".index.json"
LFS_POINTER, LFS_BYTES = b"version https://git-lfs", 1024
"""How a pointer of Git LFS begins, and the size that none has."""
FORMATS = (SAFETENSORS, TENSORFLOW, PYTORCH)
"""Weight files in the order in which they are preferred; each may be sharded, with an index."""


def choose_weights(names: Collection[str]) -> str | None:
    """The weight file, or index of shards, that counts among a folder's file names; None if there is none."""
    candidates = (name for weights in FORMATS for name in (weights, weights + INDEX_SUFFIX))
    return next((name for name in candidates if name in names), None)


def checkpoint_files(directory: Path) -> list[Path]:
    """The files that loading a checkpoint reads: the configuration and the weights, with index and shards.

    Raises:
        ModelError: If the folder is no checkpoint, or a shard is missing.
    """
    remedy = "point `train.pretrained` to a folder that `save_pretrained` wrote, or give a Hub id"
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if CONFIG_NAME not in names:
        raise ModelError("a checkpoint folder must hold a config.json", received=f"{directory} has none", remedy=remedy)
    chosen = choose_weights(names)
    if chosen is None:
        raise ModelError(
            f"a checkpoint folder must hold its weights as one of {', '.join(FORMATS)}, whole or in shards",
            received=f"{directory} has none of them",
            remedy=remedy,
        )
    files = [directory / CONFIG_NAME, directory / chosen]
    if chosen.endswith(INDEX_SUFFIX):
        files += [directory / name for name in shard_names(directory / chosen)]
    require_weights(files)
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelError(
            f"every shard that {chosen} lists must be in the folder",
            received=f"{directory} lacks {', '.join(missing)}",
            remedy="copy or download the checkpoint again",
        )
    return files


def require_weights(files: Collection[Path]) -> None:
    """Refuses the text that Git leaves in the place of a large file where git-lfs isn't installed.

    Raises:
        ModelError: If a file is one.
    """
    for path in files:
        if path.is_file() and path.stat().st_size < LFS_BYTES and path.read_bytes().startswith(LFS_POINTER):
            raise ModelError(
                "a file of weights must hold the weights",
                received=f"{path}, which is a pointer of Git LFS",
                remedy=f"install git-lfs and run git -C {path.parent} lfs pull, or download the checkpoint again",
            )


def shard_names(index: Path) -> list[str]:
    """The shards that an index lists, sorted.

    Raises:
        ModelError: If the file is no index.
    """
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise ValueError("a shard must be a file in the same folder")
        return names
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            "an index of shards must be JSON with a `weight_map`",
            received=f"{index}: {error!r}",
            remedy="copy or download the checkpoint again",
        ) from error


def read_safetensors(files: Collection[Path]) -> "tuple[dict[str, np.ndarray], str]":
    """The tensors of one or more safetensors files, and the framework whose names and layout they have.

    Args:
        files: All shards of one checkpoint.

    Returns:
        Arrays by name, and `pt` or `tf` (from the metadata, else from the names: TensorFlow's hold a slash).

    Raises:
        ModelError: If a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, np.ndarray] = {}
    stated: str | None = None
    for path in files:
        try:
            with safe_open(path, framework="np") as archive:
                stated = stated or (archive.metadata() or {}).get("format")
                tensors.update({name: archive.get_tensor(name) for name in archive.keys()})  # noqa: SIM118
        except AttributeError as error:  # of NumPy, which has no such numbers
            raise ModelError(
                "a checkpoint's weights must be floating-point numbers of 16, 32 or 64 bits",
                received=f"{path}: {error}: it is quantized",
                remedy="use the checkpoint that it was made from",
            ) from error
        except (SafetensorError, OSError) as error:
            raise ModelError(
                "a .safetensors file must be complete and undamaged",
                received=f"{path}: {error}",
                remedy="copy or download it again (a git clone needs git-lfs)",
            ) from error
    if stated not in ("pt", "tf"):
        stated = "tf" if any("/" in name for name in tensors) else "pt"
    return tensors, stated
