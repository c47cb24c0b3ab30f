"""Draws how a file moves through the system; readable on light and dark pages."""

from __future__ import annotations

from dataclasses import dataclass

import svg

_WIDTH = 1040
_HEIGHT = 524

_STYLE = """
text{font:14px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:#1b222c}
.soft{fill:#5b6472;font-size:12.5px}.strong{font-weight:650}.middle{text-anchor:middle}
.mono{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.box{fill:#fff;stroke:#cfd5de}.zone{fill:#f5f6f9;stroke:#e0e4ea}.zone-name{fill:#5b6472;font-size:12.5px;font-weight:600}
.s3{stroke:#3f8f4f;fill:#f1faf3}.groq{stroke:#e0663c;fill:#fff5f0}.line{stroke:#8a94a3;fill:none;stroke-width:1.6}
.dashed{stroke-dasharray:5 4}.head{fill:#8a94a3}
@media (prefers-color-scheme:dark){
text{fill:#e6eaf0}.soft,.zone-name{fill:#98a3b3}.box{fill:#1a2029;stroke:#3a434f}.zone{fill:#12171d;stroke:#29303a}
.s3{stroke:#4fae66;fill:#14241a}.groq{stroke:#f08259;fill:#2a1a13}.line{stroke:#7d8896}.head{fill:#7d8896}
}
"""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float
    title: str
    remarks: tuple[str, ...] = ()
    style: str = ""
    height: float = 58


_BOXES = (
    _Box(24, 62, 190, "input/team/x.jsonl", ("you upload a file",), "s3"),
    _Box(24, 196, 190, "recurring/…", ("run on a schedule",), "s3"),
    _Box(24, 424, 190, "output/team/x.jsonl", ("one row for each request,", "in order"), "s3", 76),
    _Box(268, 124, 130, "start_job", ("once per upload",)),
    _Box(476, 54, 160, "prepare_input", ("checks every line,", "cuts shards"), height=76),
    _Box(476, 164, 160, "submit_batch", ("one batch per shard",)),
    _Box(476, 256, 160, "check_status", ("one call for 200",)),
    _Box(476, 348, 160, "download_results", ("sorts, keeps, retries",)),
    _Box(476, 432, 160, "finish_job", ("joins, reports",)),
    _Box(846, 164, 170, "Files and Batch API", (), "groq", 242),
)


def draw() -> str:
    """Return the picture as SVG."""
    elements: list[svg.Element] = [
        svg.Title(text="From an upload to S3 over Lambda and Step Functions to Groq and back"),
        svg.Style(text=_STYLE),
        svg.Defs(
            elements=[
                svg.Marker(
                    id="head",
                    viewBox=svg.ViewBoxSpec(0, 0, 10, 10),
                    refX=9,
                    refY=5,
                    markerWidth=7,
                    markerHeight=7,
                    orient="auto-start-reverse",
                    elements=[svg.Path(d=_path("M0 0 L10 5 L0 10 z"), class_=["head"])],
                )
            ]
        ),
    ]
    elements += _zone(8, 12, 222, 500, "S3 bucket")
    elements += _zone(250, 12, 166, 500, "EventBridge · Lambda")
    elements += _zone(436, 12, 240, 500, "Step Functions, for each job")
    elements += _zone(826, 12, 206, 500, "Groq")
    elements += _arrows()
    for box in _BOXES:
        elements += _drawn(box)
    elements += [
        _text(x, y, text, "soft middle")
        for x, y, text in (
            (333, 206, "also by schedule,"),
            (333, 224, "or by hand"),
            (931, 288, "half the price,"),
            (931, 306, "24 hours to 7 days"),
            (741, 214, "key from Secrets Manager"),
            (741, 183, "requests"),
            (741, 275, "how far?"),
            (741, 367, "answers"),
        )
    ]
    return (
        svg.SVG(
            viewBox=svg.ViewBoxSpec(0, 0, _WIDTH, _HEIGHT),
            elements=elements,
            extra={"role": "img"},
        ).as_str()
        + "\n"
    )


def _zone(x: float, y: float, width: float, height: float, name: str) -> list[svg.Element]:
    return [
        svg.Rect(x=x, y=y, width=width, height=height, rx=12, class_=["zone"]),
        _text(x + width / 2, y + 25, name, "zone-name middle"),
    ]


def _drawn(box: _Box) -> list[svg.Element]:
    middle = box.x + box.width / 2
    elements: list[svg.Element] = [
        svg.Rect(
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
            rx=8,
            class_=["box", *([box.style] if box.style else [])],
        ),
        _text(
            middle, box.y + 24, box.title, f"middle strong {'' if box.style == 'groq' else 'mono'}"
        ),
    ]
    elements += [
        _text(middle, box.y + 44 + 17 * number, remark, "soft middle")
        for number, remark in enumerate(box.remarks)
    ]
    return elements


def _arrows() -> list[svg.Element]:
    solid = (
        "M214 91 C246 91 236 142 264 146",
        "M214 225 C246 225 236 168 264 162",
        "M398 153 C440 153 430 92 472 92",
        "M556 130 L556 160",
        "M556 222 L556 252",
        "M556 314 L556 344",
        "M556 406 L556 428",
        "M636 193 L842 193",
        "M846 285 L640 285",
        "M846 377 L640 377",
        "M476 461 L218 461",
    )
    dashed = (
        # Left over: another attempt.
        "M476 384 C444 384 444 200 472 197",
        # Not ended: wait and check again.
        "M636 304 C668 320 668 336 650 336 C632 336 612 330 606 318",
    )
    elements: list[svg.Element] = [_arrow(path) for path in solid]
    elements += [_arrow(path, "dashed") for path in dashed]
    return elements


def _arrow(path: str, *styles: str) -> svg.Path:
    return svg.Path(d=_path(path), class_=["line", *styles], marker_end="url(#head)")


def _path(text: str) -> list[svg.PathData]:
    # The library builds paths of objects; it writes down whatever they are as text.
    return [text]  # type: ignore[list-item]


def _text(x: float, y: float, text: str, styles: str) -> svg.Text:
    return svg.Text(x=x, y=y, text=svg.escape(text), class_=styles.split())
