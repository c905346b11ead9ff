"""Takes the screenshots of the pages from a real run, with headless Chromium: `make screenshots`.

python docs/screenshots.py [ROOT]

ROOT is a pipeline root in which the quickstart has run, `pipeline_root` unless given. The report of its latest run and
the playground of its served model go to docs/images/.
"""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from foundation.keras_choice import choose_keras

choose_keras()

from serving.server.models.served_models import load
from serving.server.server import running
from tests.serving.server.playground.browser import CHROMIUM, Page, chromium

IMAGES = HERE / "images"
LARGEST_BYTES = 200_000
TEXT = "Return a <mask> of all the <mask>."


def main(root: Path) -> None:
    """Takes all of them."""
    if CHROMIUM is None:
        raise SystemExit("screenshots.py: Chromium must be installed; on Debian: apt-get install chromium")
    report = root / "runs/latest/report.html"
    served = root / "serving/fill_mask"
    for path in (report, served):
        if not path.exists():
            raise SystemExit(f"screenshots.py: the quickstart must have run in {root}; there is no {path}")
    IMAGES.mkdir(exist_ok=True)
    with chromium() as page:
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        take_report(page, report)
        model = load(served)
        try:
            with running([model]) as at:
                take_playground(page, at.rest)
        finally:
            model.close()


def take_report(page: Page, report: Path) -> None:
    """The upper part of a run's report."""
    page.open(report.resolve().as_uri(), width=1100, height=900)
    save(page, "report.png", 1100, 862)


def take_playground(page: Page, url: str) -> None:
    """The playground with an answered text."""
    page.open(url, width=900, height=900)
    page.wait("!document.querySelector('#insert').disabled")
    page.run(f"(() => {{ const text = document.querySelector('#text'); text.value = '{TEXT}'; text.focus() }})()")
    page.press("Enter", control=True)
    page.wait("document.querySelectorAll('.mask').length === 2")
    # Up to the command line that asks the same, which is too wide to read in a picture.
    save(
        page, "playground.png", 900, int(page.run("document.querySelector('#command').getBoundingClientRect().top")) - 4
    )


def save(page: Page, name: str, width: int, height: int) -> None:
    """Writes the upper left part of the page, with a palette where pngquant is installed."""
    page.run("document.activeElement.blur()")
    path = IMAGES / name
    part = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    path.write_bytes(base64.b64decode(page.call("Page.captureScreenshot", clip=part)["data"]))
    if pngquant := shutil.which("pngquant"):
        subprocess.run([pngquant, "--force", "--strip", "--output", str(path), "64", str(path)], check=True)
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(f"screenshots.py: {path} must have at most {LARGEST_BYTES} bytes, and has {size}")
    print(f"{path}  {size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pipeline_root"))
