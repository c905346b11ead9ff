"""The site builds without a warning, so that every link and anchor leads somewhere, and it needs no network."""

import re
import subprocess
import sys

import pytest

from components.config.sections import KEYS
from tests.documents.pages import ROOT

pytestmark = pytest.mark.slow


def build(source, output):
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html", source, output]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    output = tmp_path_factory.mktemp("site")
    done = build(ROOT / "docs", output)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def test_every_page_is_in_the_navigation(site):
    index = (site / "index.html").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
        assert page.stem == "index" or f'href="{page.stem}.html"' in index, page.name


def test_nothing_is_loaded_from_elsewhere(site):
    for path in [*site.glob("*.html"), *site.rglob("*.css")]:
        text = path.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)\"", text)
        loaded += re.findall(r"<link\b(?=[^>]*rel=\"(?:stylesheet|preload|icon)\")[^>]*href=\"([^\"]*)\"", text)
        loaded += re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", text) if path.suffix == ".css" else []
        assert [each for each in loaded if re.match(r"(?:https?:)?//", each)] == [], path.name


def test_the_page_of_options_is_filled_in(site):
    text = (site / "options.html").read_text("utf-8")
    assert [key for key in KEYS if f"--{key}" not in text] == []


def test_a_broken_link_fails_the_build(tmp_path):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text(
        (ROOT / "docs/conf.py")
        .read_text("utf-8")
        .replace("Path(__file__).resolve().parent.parent", f"Path({str(ROOT)!r})")
    )
    (source / "index.md").write_text(
        "# Start\n\n[There](#nowhere) and [here](missing.md) and [that](../missing.txt).\n"
    )
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    for target in ("nowhere", "missing.md", "missing.txt"):
        assert target in done.stderr
