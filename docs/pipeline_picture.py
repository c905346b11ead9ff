"""Draws docs/images/pipeline.svg, the picture of the pipeline: `python docs/pipeline_picture.py`."""

from pathlib import Path

PICTURE = Path(__file__).resolve().parent / "images/pipeline.svg"
STEPS = (
    ("ingest", "reads your text", "and splits it"),
    ("tokenizer", "is trained,", "or loaded"),
    ("preprocess", "cuts the text into", "blocks of tokens"),
    ("train", "learns to fill in", "masked tokens"),
    ("evaluate", "measures it, and", "says yes or no"),
    ("export", "writes a model", "that takes text"),
    ("validate", "asks a server, and", "compares answers"),
    ("push", "publishes it for", "servers and the Hub"),
)
"""The name of each step, and what it does, in two lines."""
RESULT = ("endpoint", "fills in the mask,", "by REST and gRPC")
COLUMNS, BOX, GAP, MARGIN = 3, (188, 96), (24, 40), 6
STYLE = """
  .paper { fill: #ffffff } .box { fill: #eef4fb; stroke: #2f6db3 } .result { fill: #e7f5ec; stroke: #2a7d4f }
  .name { fill: #12304f } .what { fill: #2b3640 } .arrow { stroke: #55636f } .head { fill: #55636f }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181d } .box { fill: #1d2d3f; stroke: #6aa6e6 } .result { fill: #17352a; stroke: #63c793 }
    .name { fill: #e3effc } .what { fill: #cdd6df } .arrow { stroke: #a4b1bd } .head { fill: #a4b1bd }
  }
  text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; text-anchor: middle }
  .name { font-size: 22px; font-weight: 600 } .what { font-size: 17px }
  .box, .result { stroke-width: 2 } .arrow { fill: none; stroke-width: 2.5 }
"""


def picture() -> str:
    """The steps in rows of three, each with an arrow to the next, as SVG that also reads well on a phone."""
    boxes = [*STEPS, RESULT]
    width = MARGIN * 2 + COLUMNS * BOX[0] + (COLUMNS - 1) * GAP[0]
    rows = -(-len(boxes) // COLUMNS)
    height = MARGIN * 2 + rows * BOX[1] + (rows - 1) * GAP[1]
    names = ", ".join(name for name, *_ in STEPS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">The pipeline: {names}; then the endpoint answers.</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="10"/>',
    ]
    for number, (name, *lines) in enumerate(boxes):
        x, y = _corner(number)
        kind = "result" if number == len(STEPS) else "box"
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="10"/>')
        for text, style, below in ((name, "name", 32), (lines[0], "what", 59), (lines[1], "what", 80)):
            parts.append(f'<text class="{style}" x="{x + BOX[0] // 2}" y="{y + below}">{text}</text>')
        if number + 1 < len(boxes):
            parts += _arrow(number)
    return "\n".join([*parts, "</svg>", ""])


def _corner(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * (BOX[0] + GAP[0]), MARGIN + row * (BOX[1] + GAP[1])


def _arrow(number: int) -> list[str]:
    """From a box to the next one: to the right, or down to the beginning of the next row."""
    x, y = _corner(number)
    to_x, to_y = _corner(number + 1)
    if to_y == y:
        middle = y + BOX[1] // 2
        tip = (to_x - 3, middle)
        path = f"M{x + BOX[0] + 3} {middle}H{tip[0] - 8}"
        head = f"M{tip[0]} {middle}l-10 -6v12z"
    else:
        between = y + BOX[1] + GAP[1] // 2 - 3
        middle = to_x + BOX[0] // 2
        path = f"M{x + BOX[0] // 2} {y + BOX[1] + 2}V{between}H{middle}V{to_y - 10}"
        head = f"M{middle} {to_y - 2}l-6 -10h12z"
    return [f'<path class="arrow" d="{path}"/>', f'<path class="head" d="{head}"/>']


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
