"""Line charts as inline SVG, whose colours come from the page's style sheet."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from runners.report.html import Markup, join, number, tag

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 34
SMALLEST = 1e-100
"""Nearer to 0 than this counts as 0: floating-point numbers can't divide a smaller range into ticks."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: For the legend.
        points: x and y; a y of None is left out.
    """

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclasses.dataclass(frozen=True)
class Level:
    """A horizontal line for comparison.

    Attributes:
        name: For the legend.
        value: Its height.
        style: The number of its colour in the style sheet.
    """

    name: str
    value: float
    style: int = 0


def line_chart(
    title: str,
    lines: Sequence[Line],
    levels: Sequence[Level] = (),
    *,
    x_label: str = "epoch",
    logarithmic: bool = False,
    from_zero: bool = False,
    shown: Callable[[object], str] = number,
) -> Markup:
    """A figure with curves and levels; nothing where no curve has a point.

    Args:
        title: Above it.
        lines: Each in a colour of its own.
        levels: Dashed, from side to side.
        x_label: What stands below.
        logarithmic: Whether heights are.
        from_zero: Whether the lowest height is 0, so that small changes look small.
        shown: How a height is written in the legend.
    """
    drawn = [Line(line.name, [(x, y) for x, y in line.points if usable(y, logarithmic)]) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return Markup("")
    levels = [level for level in levels if usable(level.value, logarithmic)]
    xs = [x for line in drawn for x, _ in line.points]
    ys = [float(y) for line in drawn for _, y in line.points if y is not None] + [level.value for level in levels]
    low_x, high_x = min(xs), max(xs)
    if low_x == high_x:
        low_x, high_x = low_x - 1, high_x + 1
    lowest = min(0.0, *ys) if from_zero else min(ys)
    ticks = log_ticks(lowest, max(ys)) if logarithmic else linear_ticks(lowest, max(ys))
    low_y, high_y = min(*ticks, *ys), max(*ticks, *ys)

    def across(x: float) -> float:
        return LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        if logarithmic:
            share = (math.log(y) - math.log(low_y)) / (math.log(high_y) - math.log(low_y))
        else:
            share = (y - low_y) / (high_y - low_y)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts: list[Markup] = []
    for tick in ticks:
        y = f"{down(tick):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", short(tick), x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
    for x in x_ticks(sorted(set(xs))):
        parts.append(tag("text", number(int(x)), x=f"{across(x):.1f}", y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    parts.append(tag("text", x_label, x=(WIDTH + LEFT - RIGHT) / 2, y=HEIGHT - 3, text_anchor="middle"))
    for level in levels:
        y = f"{down(level.value):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=f"level l{level.style}"))
    for place, line in enumerate(drawn):
        coordinates = [(across(x), down(float(y))) for x, y in line.points if y is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in coordinates)
        parts.append(tag("polyline", points=path, class_=f"line c{place}"))
        if len(coordinates) <= 40:
            parts += [tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_=f"dot c{place}") for x, y in coordinates]
    said = "; ".join(f"{line.name}: {shown(line.points[0][1])} to {shown(line.points[-1][1])}" for line in drawn)
    svg = tag("svg", join(parts), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}. {said}")
    entries = [
        tag("li", join([tag("span", "", class_=f"key c{place}"), f"{line.name}: {shown(line.points[-1][1])}"]))
        for place, line in enumerate(drawn)
    ] + [
        tag("li", join([tag("span", "", class_=f"key level l{level.style}"), f"{level.name}: {shown(level.value)}"]))
        for level in levels
    ]
    return tag("figure", join([tag("figcaption", title), svg, tag("ul", join(entries), class_="legend")]))


def usable(value: float | None, logarithmic: bool) -> bool:
    """Whether a value has a place in a chart."""
    return value is not None and math.isfinite(value) and (value > SMALLEST or not logarithmic)


def linear_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose a range."""
    if max(abs(low), abs(high)) <= SMALLEST:
        low, high = 0.0, 1.0
    elif high - low <= abs(high) * 1e-9:
        low, high = low - abs(low) * 0.1, high + abs(high) * 0.1
    raw = (high - low) / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.floor(low / step)
    return [place * step for place in range(first, math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten, that enclose a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max((place for place, tick in enumerate(candidates) if tick <= low * 1.0000001), default=0)
    last = min(
        (place for place, tick in enumerate(candidates) if tick >= high * 0.9999999), default=len(candidates) - 1
    )
    ticks = candidates[first : last + 1]
    if len(ticks) < 2:
        ticks = [low * 0.9, high * 1.1]
    return ticks if len(ticks) <= 8 else [tick for tick in ticks if f"{tick:.0e}"[0] == "1"]


def x_ticks(values: Sequence[float]) -> Sequence[float]:
    """At most eight of the values, whole numbers only."""
    whole = [value for value in values if value == int(value)]
    return whole[:: -(-len(whole) // 8) or 1]


def short(value: float) -> str:
    """A tick's label."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.2g}".replace("e-0", "e-")
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"
