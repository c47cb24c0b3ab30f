"""EventBridge's client in memory: it keeps what is published."""

# ruff: noqa: N803 (arguments are spelled as those of boto3)

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.calls import Call, Wire, plain_wire

MAX_BYTES = 1_048_576
_FIELDS = {"Source", "DetailType", "Detail"}


class FakeEventBridge:
    """The default event bus.

    Attributes:
        published: What was taken, in order: source, detail type and the parsed detail.
        refusals: How many entries to refuse from now on, in a successful answer as AWS does.
    """

    def __init__(self) -> None:
        self.published: list[tuple[str, str, dict[str, Any]]] = []
        self.refusals = 0
        self._lock = threading.Lock()

    def client(self, wire: Wire = plain_wire) -> FakeEventBridgeClient:
        """Return a client whose calls go through ``wire``."""
        return FakeEventBridgeClient(self, wire)

    def put_events(self, *, Entries: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Take events, or refuse them one by one."""
        if not 1 <= len(Entries) <= 10:
            raise ValueError("EventBridge takes 1 to 10 entries at once")
        if sum(len(text.encode()) for entry in Entries for text in entry.values()) > MAX_BYTES:
            raise ValueError("EventBridge takes entries of at most 1 MiB in all")
        results: list[dict[str, str]] = []
        with self._lock:
            for entry in Entries:
                if set(entry) != _FIELDS:
                    raise TypeError(f"The EventBridge double knows {sorted(_FIELDS)} alone")
                detail = json.loads(entry["Detail"])
                if not isinstance(detail, dict) or entry["Source"].startswith("aws."):
                    results.append({"ErrorCode": "MalformedDetail"})
                elif self.refusals > 0:
                    self.refusals -= 1
                    results.append({"ErrorCode": "ThrottlingException"})
                else:
                    self.published.append((entry["Source"], entry["DetailType"], detail))
                    results.append({"EventId": f"event-{len(self.published)}"})
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedEntryCount": failed, "Entries": results}


class FakeEventBridgeClient:
    """The boto3 client, as far as the code uses it."""

    def __init__(self, server: FakeEventBridge, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    def put_events(self, **arguments: Any) -> dict[str, Any]:
        call = Call("events", "put_events", "", arguments)
        answer: dict[str, Any] = self._wire(call, lambda: self._server.put_events(**arguments))
        return answer
