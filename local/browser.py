"""Control a headless Chromium over a pipe, for pictures and tests of pages.

It uses the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) over two file
descriptors, which needs no driver, no port and no package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_STOP_SECONDS = 10
_FLAGS = (
    "--headless",
    # Root, as in a container, has no sandbox; the pages opened here are made here.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


_LAUNCHER = """
import os, sys
# The browser reads its file descriptor 3 and writes its 4; copies first, for ours may be these.
reading, writing = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
os.dup2(reading, 3)
os.dup2(writing, 4)
os.set_inheritable(3, True)
os.set_inheritable(4, True)
os.execv(sys.argv[3], sys.argv[3:])
"""


class BrowserError(Exception):
    """The browser did not carry out a command."""


def find_browser() -> str | None:
    """Return the path of a Chromium on this machine, or None; ``CHROMIUM`` names another one."""
    named = os.environ.get("CHROMIUM")
    return next((path for name in (named, *NAMES) if name and (path := shutil.which(name))), None)


@dataclass(slots=True)
class Page:
    """One open page.

    Attributes:
        complaints: Problems that the browser reports: errors of scripts, of the network, and
            what the page's own policy forbids.
        requests: Every URL that the page has requested.
    """

    _browser: _Connection
    _session: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def show(self, width: int, *, dark: bool, height: int = 900) -> None:
        """Set the width of the screen, in CSS pixels, and a light or dark scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,  # noqa: PLR2004 (narrower than any tablet)
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self._browser.wait_for("Page.loadEventFired", self._session)
        # What the page causes has been reported before this is answered.
        self.evaluate("1")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, *, most_height: float = float("inf")) -> bytes:
        """Return the page, or so many pixels of it from above, as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(size["height"], most_height)
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        answer = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        return base64.b64decode(answer["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        return self._browser.call(method, parameters, self._session)

    def notice(self, method: str, event: Mapping[str, Any]) -> None:
        """Record an event that the browser sends about the page."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(event["exceptionDetails"].get("text")))
        elif method == "Log.entryAdded":
            self.complaints.append(str(event["entry"]["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console.{event['type']}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {event['message']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(event["request"]["url"]))


class _Connection:
    """Calls and events over the two pipes."""

    def __init__(self, to_browser: BinaryIO, from_browser: BinaryIO) -> None:
        self._to = to_browser
        self._from = from_browser
        self._last = 0
        self._events: list[tuple[str, str | None]] = []
        self.pages: dict[str, Page] = {}

    def call(
        self, method: str, parameters: Mapping[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, event: str, session: str) -> None:
        while (event, session) not in self._events:
            self._read()
        self._events.remove((event, session))

    def _read(self) -> dict[str, Any]:
        data = bytearray()
        while not data.endswith(b"\0"):
            piece = self._from.read(1)
            if not piece:
                raise BrowserError("The browser has ended")
            data += piece
        message: dict[str, Any] = json.loads(data[:-1])
        if "method" in message:
            session = message.get("sessionId")
            self._events.append((message["method"], session))
            if session in self.pages:
                self.pages[session].notice(message["method"], message["params"])
        return message


@contextmanager
def open_page(program: str) -> Iterator[Page]:
    """Start a browser with one empty page, and end it afterwards.

    Args:
        program: The path of a Chromium.
    """
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", _LAUNCHER, str(to_read), str(from_write)),
                program,
                *_FLAGS,
                f"--user-data-dir={Path(profile)}",
            ],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            with os.fdopen(to_write, "wb") as to, os.fdopen(from_read, "rb") as source:
                yield _first_page(_Connection(to, source))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _first_page(connection: _Connection) -> Page:
    target = connection.call("Target.createTarget", {"url": "about:blank"})["targetId"]
    attached = connection.call("Target.attachToTarget", {"targetId": target, "flatten": True})
    page = Page(connection, attached["sessionId"])
    connection.pages[attached["sessionId"]] = page
    for domain in ("Page", "Runtime", "Log", "Network"):
        page.call(f"{domain}.enable")
    return page
