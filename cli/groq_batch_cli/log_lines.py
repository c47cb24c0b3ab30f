"""Format log lines for people: one line per event, with its main fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from groq_batch_cli.job_logs import LogEvent, extra_text, extras_of, function_of
from groq_batch_cli.terminal import Terminal
from groq_batch_client.text import counted, dollars, one_line

_STYLES = {
    "ERROR": "red",
    "FATAL": "red",
    "WARN": "yellow",
    # Version 1 wrote Python's names.
    "CRITICAL": "red",
    "WARNING": "yellow",
}
_METRICS = "_aws"
"""The field that marks metrics in a log line for CloudWatch:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

_LEFT_OUT = frozenset(
    {
        "bytes",
        "execution",
        "file_id",
        "key",
        "place",
        "polls",
        "resume_in",
        "shard_key",
        "shards_prefix",
    }
)
"""Fields for debugging the functions; only ``--all`` shows them."""

_CHANGING = frozenset({"wait_seconds"})
"""Fields that may differ between repeated lines."""


def full_text(event: LogEvent, terminal: Terminal) -> str:
    """Return a line with all its fields and the stack trace of an exception."""
    level = str(event.fields.get("level", ""))
    shown_level = f"{level:<7}"
    if level in _STYLES:
        shown_level = terminal.styled(shown_level, _STYLES[level])
    parts = [
        terminal.styled(_time(event), "dim"),
        shown_level,
        f"{function_of(event.fields):<15}",
        one_line(str(event.fields.get("message", ""))),
        terminal.styled(extra_text(event.fields), "dim"),
    ]
    text = " ".join(parts).rstrip()
    exception = event.fields.get("exception")
    if exception:
        text += "".join(f"\n    {line}" for line in str(exception).splitlines())
    return text


def readable_lines(events: Iterable[LogEvent], terminal: Terminal) -> Iterator[str]:
    """Yield the lines for people; repeated lines are only counted.

    Args:
        events: The events, in order. Metrics among them are skipped.
        terminal: The terminal to format for.
    """
    series: _Series | None = None
    for event in events:
        if _METRICS in event.fields:
            continue
        if series is not None and series.takes(event):
            continue
        if series is not None:
            yield from series.rest(terminal)
        series = _Series(event)
        yield _text(event, terminal)
    if series is not None:
        yield from series.rest(terminal)


@dataclass(slots=True)
class _Series:
    """An event and the repetitions that follow it."""

    first: LogEvent
    more: int = 0
    last: LogEvent | None = None

    def takes(self, event: LogEvent) -> bool:
        """Count an event if it is a repetition; return whether it is one."""
        if _said(event) != _said(self.first):
            return False
        self.more += 1
        self.last = event
        return True

    def rest(self, terminal: Terminal) -> Iterator[str]:
        """Yield a line for the counted repetitions, if there are any."""
        if self.last is not None:
            text = f"{_time(self.last)} {'':<15} ... {counted(self.more, 'more time')} until then"
            yield terminal.styled(text, "dim")


def _said(event: LogEvent) -> tuple[str, Any, dict[str, Any]]:
    extras = {name: value for name, value in _shown(event).items() if name not in _CHANGING}
    return function_of(event.fields), event.fields.get("message"), extras


def _text(event: LogEvent, terminal: Terminal) -> str:
    level = str(event.fields.get("level", ""))
    parts = [terminal.styled(_time(event), "dim"), f"{function_of(event.fields):<15}"]
    if level in _STYLES:
        parts.append(terminal.styled(level, _STYLES[level]))
    parts.append(one_line(str(event.fields.get("message", ""))))
    fields = " ".join(f"{name}={_value(name, value)}" for name, value in _shown(event).items())
    parts.append(terminal.styled(fields, "dim") if fields else "")
    parts.append(_last_of_trace(event))
    return " ".join(part for part in parts if part)


def _shown(event: LogEvent) -> dict[str, Any]:
    """Return the main fields; fields of nested objects get their own names."""
    found: dict[str, Any] = {}
    extras = extras_of(event.fields)
    goes_on = extras.get("decision") not in (None, "wait")
    for name, value in extras.items():
        if name in _LEFT_OUT or (goes_on and name == "wait_seconds"):
            continue
        members = value.items() if isinstance(value, Mapping) else [(name, value)]
        for member, one in members:
            if one is not None and one != "" and (one != 0 or isinstance(one, bool)):
                found[str(member)] = one
    return found


def _value(name: str, value: Any) -> str:
    if name.endswith("_usd") and isinstance(value, int | float):
        return dollars(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else one_line(str(value))


def _last_of_trace(event: LogEvent) -> str:
    """Return the last line of a stack trace, which has the error."""
    lines = str(event.fields.get("exception") or "").strip().splitlines()
    return f"({one_line(lines[-1])})" if lines else ""


def _time(event: LogEvent) -> str:
    return f"{datetime.fromtimestamp(event.milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
