"""Draw charts as inline SVG.

Horizontal positions are percentages and heights are pixels, so that a chart fits every screen and
its text keeps its size. Colours come from the style sheet by class. The elements are those of the
standard library, which escapes texts and attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, tostring

import msgspec

_BAR_HEIGHT = 14
_HISTOGRAM_HEIGHT = 132
_HISTOGRAM_BASE = 108
_HISTOGRAM_TOP = 8
_COLUMNS_TOP = 20
_ROW_HEIGHT = 22
_AXIS_HEIGHT = 26
_GAP = 0.1
"""Gap between two bars of a histogram, as a fraction of a bar's width."""
_MIN_WIDTH = 0.6
"""Minimum width of a bar in percent, so that very short spans are visible."""


class Part(msgspec.Struct, frozen=True):
    """A part of a whole: its style and its share (0 to 1)."""

    style: str
    share: float


class Bar(msgspec.Struct, frozen=True):
    """One bar of a list: its label, its value, a remark, and the drawing."""

    label: str
    value: str
    remark: str
    drawing: str


class Column(msgspec.Struct, frozen=True):
    """One bar of a histogram: its height (0 to 1) and its tooltip."""

    height: float
    title: str


class Stack(msgspec.Struct, frozen=True):
    """A stacked column: its parts bottom up (style, height from 0 to 1) and its tooltip."""

    parts: Sequence[Part]
    title: str


class Mark(msgspec.Struct, frozen=True):
    """A label at a position (0 to 1) of an axis."""

    at: float
    text: str


class Span(msgspec.Struct, frozen=True):
    """A bar of the timeline between two positions (0 to 1), its style and its meaning."""

    start: float
    end: float
    style: str
    title: str


def stacked_bar(parts: Sequence[Part], *, title: str) -> str:
    """Draw parts of a whole next to each other."""
    elements: list[Element] = [_title(title)]
    left = 0.0
    for part in parts:
        if part.share <= 0:
            continue
        width = 100 * part.share
        # Every part is visible, however small its share.
        shown = max(width, _MIN_WIDTH)
        elements.append(
            _element(
                "rect",
                x=_percent(min(left, 100 - shown)),
                y=0,
                width=_percent(shown),
                height=_BAR_HEIGHT,
                styles=["part", part.style],
            )
        )
        left += width
    return _drawing(elements, height=_BAR_HEIGHT, style="stack")


def single_bar(share: float, style: str) -> str:
    """Draw one bar of a list of bars."""
    elements: list[Element] = [
        _element(
            "rect",
            x=0,
            y=0,
            width=_percent(max(100 * share, _MIN_WIDTH)),
            height=8,
            rx=2,
            styles=["part", style],
        )
    ]
    return _drawing(elements, height=8, style="single", hidden=True)


def histogram(
    columns: Sequence[Column], marks: Sequence[Mark], lines: Sequence[Mark], *, title: str
) -> str:
    """Draw a histogram with axis labels, and vertical lines at notable values, such as the median.

    Args:
        columns: The bars, from left to right, all of the same width.
        marks: Labels of the axis.
        lines: Vertical lines with a label.
        title: Description of the drawing for screen readers.
    """
    elements: list[Element] = [_title(title)]
    width = 100 / max(len(columns), 1)
    room = _HISTOGRAM_BASE - _HISTOGRAM_TOP
    for index, column in enumerate(columns):
        if column.height <= 0:
            continue
        height = max(room * column.height, 1.5)
        elements.append(
            _element(
                "rect",
                x=_percent((index + _GAP / 2) * width),
                y=round(_HISTOGRAM_BASE - height, 1),
                width=_percent((1 - _GAP) * width),
                height=round(height, 1),
                styles=["column"],
                elements=[_title(column.title)],
            )
        )
    elements.append(_rule(0, 100, _HISTOGRAM_BASE, "base"))
    for line in lines:
        place = _percent(100 * line.at)
        elements.append(
            _element(
                "line",
                x1=place,
                x2=place,
                y1=_HISTOGRAM_TOP - 6,
                y2=_HISTOGRAM_BASE,
                styles=["quantile"],
                elements=[_title(line.text)],
            )
        )
    elements += [_label(mark, _HISTOGRAM_BASE + 17) for mark in marks]
    return _drawing(elements, height=_HISTOGRAM_HEIGHT, style="histogram")


def stacked_columns(
    stacks: Sequence[Stack], marks: Sequence[Mark], *, most: str, title: str
) -> str:
    """Draw stacked columns next to each other.

    Args:
        stacks: The columns, from left to right; heights are shares of the highest column.
        marks: Labels of the axis.
        most: Label for the height of the highest column.
        title: Description of the drawing for screen readers.
    """
    elements: list[Element] = [_title(title), _rule(0, 100, _COLUMNS_TOP, "grid")]
    width = 100 / max(len(stacks), 1)
    room = _HISTOGRAM_BASE - _COLUMNS_TOP
    for index, stack in enumerate(stacks):
        bottom = float(_HISTOGRAM_BASE)
        parts: list[Element] = [_title(stack.title)]
        for part in stack.parts:
            height = max(room * part.share, 1.0)
            bottom -= height
            parts.append(
                _element(
                    "rect",
                    x=_percent((index + _GAP) * width),
                    y=round(bottom, 1),
                    width=_percent((1 - 2 * _GAP) * width),
                    height=round(height, 1),
                    styles=[part.style],
                )
            )
        if stack.parts:
            elements.append(_element("g", elements=parts))
    elements.append(_rule(0, 100, _HISTOGRAM_BASE, "base"))
    elements.append(_label(Mark(0, most), _COLUMNS_TOP - 6))
    elements += [_label(mark, _HISTOGRAM_BASE + 17) for mark in marks]
    return _drawing(elements, height=_HISTOGRAM_HEIGHT, style="columns")


def timeline(rows: Sequence[Sequence[Span]], marks: Sequence[Mark], *, title: str) -> str:
    """Draw bars along a time axis, one row below the other."""
    elements: list[Element] = [_title(title)]
    bottom = len(rows) * _ROW_HEIGHT + 4
    for mark in marks:
        place = _percent(100 * mark.at)
        elements.append(_element("line", x1=place, x2=place, y1=0, y2=bottom, styles=["grid"]))
    for index, row in enumerate(rows):
        for span in row:
            start = min(100 * span.start, 100 - _MIN_WIDTH)
            elements.append(
                _element(
                    "rect",
                    x=_percent(start),
                    y=index * _ROW_HEIGHT + 4,
                    width=_percent(max(100 * span.end - start, _MIN_WIDTH)),
                    height=_ROW_HEIGHT - 8,
                    rx=3,
                    styles=["span", span.style],
                    elements=[_title(span.title)],
                )
            )
    elements.append(_rule(0, 100, bottom, "base"))
    elements += [_label(mark, bottom + 18) for mark in marks]
    return _drawing(elements, height=bottom + _AXIS_HEIGHT, style="timeline")


def _drawing(elements: list[Element], *, height: float, style: str, hidden: bool = False) -> str:
    # Inline SVG in HTML needs no namespace, so the page contains no URL at all.
    drawing = _element(
        "svg", width=_percent(100), height=height, styles=["chart", style], elements=elements
    )
    name, value = ("aria-hidden", "true") if hidden else ("role", "img")
    drawing.set(name, value)
    return tostring(drawing, encoding="unicode")


def _element(
    tag: str,
    *,
    styles: Sequence[str] = (),
    text: str | None = None,
    elements: Sequence[Element] = (),
    **attributes: str | float,
) -> Element:
    """Return an SVG element with its classes, its text, and the elements within."""
    element = Element(tag)
    if styles:
        element.set("class", " ".join(styles))
    for name, value in attributes.items():
        element.set(name, str(value))
    element.text = text
    element.extend(elements)
    return element


def _percent(value: float) -> str:
    return f"{round(value, 3)}%"


def _rule(left: float, right: float, y: float, style: str) -> Element:
    return _element("line", x1=_percent(left), x2=_percent(right), y1=y, y2=y, styles=[style])


def _title(text: str) -> Element:
    return _element("title", text=text)


def _label(mark: Mark, y: float) -> Element:
    anchor = "middle"
    if mark.at <= 0.03:  # noqa: PLR2004 (keeps a label at the edge inside)
        anchor = "start"
    elif mark.at >= 0.97:  # noqa: PLR2004
        anchor = "end"
    return _element(
        "text", x=_percent(100 * mark.at), y=y, styles=["label", anchor], text=mark.text
    )
