"""Batches of the simulated API: their records, their list, and their API objects."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.groq_simulator.fates import Fate
from local.groq_simulator.files import new_id
from local.groq_simulator.messages import ApiError
from local.groq_simulator.settings import Settings

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})
STAMPS = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
PROJECT_ID = "project_01simulator"


@dataclass(slots=True)
class Batch:
    """One batch; times are Unix seconds with fraction.

    Attributes:
        position: Place in the list, growing with the creation time.
        input_path: The simulator's own link to the input, None once it is not needed any more.
        window_seconds: Length of the completion window, already scaled.
        offsets: Byte offsets of the requests in the order in which they get done.
        bad_offsets: Byte offsets of the bad lines of a batch that runs all the same.
        done: Number of requests done when the batch was stopped; None while it was not.
        visible_from: Time from which lists show the batch.
    """

    position: float
    metadata: dict[str, str] | None
    input_file_id: str
    endpoint: str
    completion_window: str
    window_seconds: float
    created_at: float
    fate: Fate
    id: str = field(default_factory=lambda: new_id("batch"))
    input_path: Path | None = None
    foreign: bool = False
    status: str = "validating"
    stamps: dict[str, float] = field(default_factory=dict)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    bad_offsets: array[int] = field(default_factory=lambda: array("Q"))
    errors: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    completed: int = 0
    failed: int = 0
    done: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    visible_from: float = 0.0

    @property
    def expires_at(self) -> float:
        """When the window ends."""
        return self.created_at + self.window_seconds

    @property
    def ended(self) -> bool:
        """Whether the status is a terminal one."""
        return self.status in TERMINAL

    def enter(self, status: str, now: float) -> None:
        """Changes the status."""
        self.status = status
        self.stamps[f"{status}_at"] = now


def view(batch: Batch, settings: Settings, now: float) -> dict[str, Any]:
    """Returns the batch object of the API."""
    counts = {"total": batch.total, "completed": batch.completed, "failed": batch.failed}
    fate = batch.fate
    errors = batch.errors
    if batch.ended:
        counts |= fate.counts
        errors = errors or (fate.errors or [])
    shown: dict[str, Any] = {
        "id": batch.id,
        "object": "batch",
        "status": shown_status(batch, now),
        "project_id": PROJECT_ID,
        "endpoint": batch.endpoint,
        "completion_window": batch.completion_window,
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "request_counts": counts,
        "errors": _shaped(errors, fate.errors_shape or settings.errors_shape),
        "metadata": batch.metadata,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
    }
    for stamp in STAMPS:
        shown[stamp] = int(batch.stamps[stamp]) if stamp in batch.stamps else None
    if batch.ended:
        if fate.no_files:
            shown |= {"output_file_id": None, "error_file_id": None}
        shown |= fate.override
    return shown


def shown_status(batch: Batch, now: float) -> str:
    """Returns the status as shown, which may be an unknown word."""
    fate = batch.fate
    if fate.status is None or batch.status != "in_progress":
        return batch.status
    if fate.status_seconds is None:
        return fate.status
    shown_until = batch.stamps.get("in_progress_at", now) + fate.status_seconds
    return fate.status if now < shown_until else batch.status


def _shaped(errors: list[dict[str, Any]], shape: str) -> Any:
    if not errors:
        return None
    return errors if shape == "array" else {"object": "list", "data": errors}


class BatchStore:
    """All batches, with the two ways of listing them."""

    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}
        self.created = 0

    def add(self, batch: Batch) -> None:
        """Adds a batch."""
        self._batches[batch.id] = batch

    def remove(self, batch: Batch) -> None:
        """Removes a batch, so that it is no longer visible."""
        del self._batches[batch.id]

    def get(self, batch_id: str) -> Batch:
        """Returns a batch.

        Raises:
            ApiError: 404 when it is unknown.
        """
        batch = self._batches.get(batch_id)
        if batch is None:
            raise ApiError(404, f"No such batch: {batch_id}", code="batch_not_found")
        return batch

    def all(self) -> list[Batch]:
        """Returns every batch by position."""
        return sorted(self._batches.values(), key=lambda batch: batch.position)

    def by_ids(self, ids: list[str], settings: Settings) -> list[Batch]:
        """Returns the named batches.

        Raises:
            ApiError: Too many ids (400), or an unknown one where that is an error (404).
        """
        if len(ids) > settings.max_ids:
            raise ApiError(400, f"At most {settings.max_ids} ids may be given.", param="id")
        if settings.unknown_ids == "error":
            return [self.get(batch_id) for batch_id in dict.fromkeys(ids)]
        known = (self._batches.get(batch_id) for batch_id in dict.fromkeys(ids))
        return [batch for batch in known if batch is not None]

    def page(
        self, cursor: str | None, settings: Settings, now: float
    ) -> tuple[list[Batch], str | None]:
        """Returns one page of the list and the cursor of the next page (None on the last).

        Raises:
            ApiError: 400 when the cursor is not one of ours.
        """
        newest_first = settings.list_order == "newest"
        batches = [batch for batch in self.all() if batch.visible_from <= now]
        if newest_first:
            batches.reverse()
        if cursor:
            after = _decode_cursor(cursor)
            batches = [
                batch
                for batch in batches
                if (batch.position < after if newest_first else batch.position > after)
            ]
        page = batches[: settings.page_size]
        more = len(batches) > len(page)
        return page, _encode_cursor(page[-1].position) if more and page else None

    def add_foreign(
        self, count: int, metadata: Mapping[str, str] | None, status: str, now: float
    ) -> list[Batch]:
        """Adds batches of another client, spread evenly among the existing ones."""
        step = (self.created + 1) / (count + 1)
        added = []
        for number in range(1, count + 1):
            batch = Batch(
                # The odd fraction keeps the position apart from all others.
                position=step * number + 1e-6 * (len(self._batches) + 1),
                metadata=None if metadata is None else dict(metadata),
                input_file_id=new_id("file"),
                endpoint="/v1/chat/completions",
                completion_window="24h",
                window_seconds=86400,
                created_at=now,
                fate=Fate(),
                foreign=True,
                status=status,
            )
            batch.stamps["in_progress_at"] = now
            if batch.ended:
                batch.stamps[f"{status}_at"] = now
            self.add(batch)
            added.append(batch)
        return added


def _encode_cursor(position: float) -> str:
    return base64.urlsafe_b64encode(f"after:{position!r}".encode()).decode()


def _decode_cursor(cursor: str) -> float:
    try:
        kind, _, position = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if kind == "after":
            return float(position)
    except ValueError:
        pass
    raise ApiError(400, "Invalid cursor.", code="invalid_cursor", param="cursor")
