"""Publish the end of a job on the default event bus."""

from __future__ import annotations

import json
from typing import Any

from groq_batch.reports.report import event_detail

EVENT_SOURCE = "groq-batch"
EVENT_DETAIL_TYPE = "Batch Job Ended"


class EventNotPublishedError(Exception):
    """EventBridge accepted the call but rejected the event; the call must be repeated."""


def publish_end(events: Any, report: dict[str, Any]) -> None:
    """Publish the end of a job on the default event bus.

    Raises:
        EventNotPublishedError: The bus rejected the event (reported in a successful response).
    """
    answer = events.put_events(
        Entries=[
            {
                "Source": EVENT_SOURCE,
                "DetailType": EVENT_DETAIL_TYPE,
                "Detail": json.dumps(event_detail(report), ensure_ascii=False),
            }
        ]
    )
    if answer.get("FailedEntryCount"):
        codes = {entry.get("ErrorCode") for entry in answer.get("Entries", [])}
        raise EventNotPublishedError(f"EventBridge refused the event of the job's end: {codes}")
