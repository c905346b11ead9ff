"""The documents name what is there: the floor plan every room, the citation the package's own version and license."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

from tests.documents.pages import DOCUMENTS

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
HOUSES = ("foundation", "components", "serving", "runners")


def rooms_of_the_floor_plan():
    """The paths in the floor plan: a name that is indented stands in the last one that is indented less."""
    plan = CONTRIBUTING.split("## Where things live")[1].split("```")[1]
    rooms, above = [], {}
    for line in plan.splitlines():
        found = re.match(r"( *)([\w.]+(?:/|\.py)) ", line)
        if found and len(found[1]) <= 4:
            depth = len(found[1])
            above = {indent: name for indent, name in above.items() if indent < depth} | {depth: found[2]}
            rooms.append("".join(above.values()))
    return rooms


def test_the_floor_plan_names_every_room_and_no_other():
    planned = set(rooms_of_the_floor_plan())
    assert [room for room in planned if not (ROOT / room).exists()] == []
    rooms = [path.parent for house in HOUSES for path in (ROOT / house).glob("*/__init__.py")]
    missing = {f"{room.relative_to(ROOT).as_posix()}/" for room in rooms} - planned
    assert missing == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_documents_exist(path):
    text = path.read_text("utf-8")
    paths = set(re.findall(rf"`((?:{'|'.join(HOUSES)}|tests|configs|benchmarks|docs)/[\w./-]+)`", text))
    assert [name for name in paths if not (ROOT / name).exists()] == []
    links = set(re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_there_are_links():
    """So that the test above can fail."""
    assert re.search(r"\]\(docs/tutorial.md\)", DOCUMENTS[0].read_text("utf-8"))


def test_the_citation_is_of_this_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    cited = [citation[key] for key in ("title", "version", "license")]
    assert cited == [setup["metadata"][key] for key in ("name", "version", "license_expression")]
