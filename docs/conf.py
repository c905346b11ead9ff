"""How Sphinx makes the pages: `make docs`, or `python -m sphinx -W -n -b html docs build/docs`."""

import configparser
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.every_option import MARK, every_option

setup_cfg = configparser.ConfigParser()
setup_cfg.read(ROOT / "setup.cfg", "utf-8")

project = setup_cfg["metadata"]["name"]
version = release = setup_cfg["metadata"]["version"]
copyright = "the maintainers of masked-lm-pipeline"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
# Links to a heading, as GitHub has them, and each is checked: `own_data.md#mixtures`.
myst_heading_anchors = 3
nitpicky = True
# A notebook is linked as a file.
exclude_patterns = ["notebooks/*"]
html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sourcelink = False
# Nothing is loaded from elsewhere: furo takes the system's fonts.
html_theme_options = {"navigation_with_keys": True}


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    """Writes what is made from the code and from other pages, and lets links lead to files beside docs/."""
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, every_option())
    if name == "index":
        source[0] += navigation(source[0])
    source[0] = source[0].replace("](../", "](path:../")


def navigation(index: str) -> str:
    """The navigation beside each page: the sections of the first page, with the pages that they link to."""
    sections = re.split(r"^## (.+)$", index, flags=re.M)[1:]
    trees = []
    for caption, text in zip(sections[::2], sections[1::2], strict=True):
        pages = "\n".join(re.findall(r"\]\((\w+)\.md\)", text))
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "".join(trees)


def setup(app: Sphinx) -> None:
    """Connects what happens when Sphinx reads a page."""
    app.connect("source-read", fill_in)
