"""Render the templates of pages. Importing this module loads Jinja."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FOLDER = Path(__file__).parent


def fill_in(template: str, view: object, *, styles: tuple[str, ...]) -> str:
    """Render a template to a page.

    Args:
        template: File name of the template.
        view: The values for the template.
        styles: The files of its style sheet, in order.
    """
    style = "".join(map(_style, styles))
    # The browser applies exactly this style sheet and loads nothing else: no script, no other
    # style, no image, no URL.
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment().get_template(template).render(view=view, style=style, style_hash=style_hash)
    )


@lru_cache
def _style(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
