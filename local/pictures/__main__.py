"""Create the pictures of a job for the documentation: ``python -m local.pictures``.

It runs a job on the emulated stack and pictures its report page in a headless Chromium (report.png,
report-dark.png) and the command that ran it (run.svg). docs/pictures/flow.svg is drawn by hand.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from local.browser import find_browser, open_page
from local.pictures.job import FILE, run_job
from local.pictures.recording import picture, played

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
_WIDTH = 1280
_PLAYED_SECONDS = 16.0
_END_OF_PICTURE = "document.querySelector('div.grid').getBoundingClientRect().bottom + 8"
"""The documentation shows a page down to the distributions, not all of it."""


def main() -> int:
    """Create the pictures; return the exit status."""
    browser = find_browser()
    if browser is None:
        print(
            "The report is pictured by Chromium, which is not here: install it "
            "(apt-get install chromium fonts-noto-core), or name it in CHROMIUM.",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="groq-batch-pictures-") as name:
        folder = Path(name)
        job = run_job(folder)
        frames = played(job.frames, seconds=_PLAYED_SECONDS, every=0.1)
        shown = picture(frames, title=f"groq-batch run {FILE}")
        (FOLDER / "run.svg").write_text(shown, encoding="utf-8")
        page_file = folder / "report.html"
        page_file.write_bytes(job.page)
        with open_page(browser) as page:
            for target, dark in (("report.png", False), ("report-dark.png", True)):
                page.show(_WIDTH, dark=dark)
                page.open(page_file.as_uri())
                (FOLDER / target).write_bytes(
                    page.picture(most_height=page.evaluate(_END_OF_PICTURE))
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
