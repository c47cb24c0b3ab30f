"""Puts a view into the template. Importing this costs what Jinja and the SVG library cost."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from groq_batch.reports.page.data import Facts
from groq_batch.reports.page.view import view_of

_FOLDER = Path(__file__).parent


def render(report: Mapping[str, Any], facts: Facts, *, report_key: str, as_of: datetime) -> str:
    """Return the page of a report.

    Args:
        report: The report as it stands in the bucket.
        facts: What the report does not tell.
        report_key: Where the report stands.
        as_of: When the page is made.
    """
    style = _style()
    # The browser applies this very style sheet and nothing else: no script, no other style, no
    # image, no address.
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    view = view_of(report, facts, report_key=report_key, as_of=as_of)
    return _template().render(view=view, style=style, style_hash=style_hash)


@lru_cache(maxsize=1)
def _style() -> str:
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")
