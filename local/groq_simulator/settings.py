"""Settings of a simulator, at its start and while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_KEY = "gsk_simulator_key"

CHOICES: dict[str, tuple[str, ...]] = {
    "list_order": ("newest", "oldest"),
    "last_page": ("null", "empty", "absent"),
    "unknown_ids": ("omit", "error"),
    "bad_line": ("fail_batch", "fail_row", "report_only"),
    "errors_shape": ("list", "array"),
    "endpoint_rule": ("chat", "own_at_create", "own_at_validation"),
}
KEY_STATES = ("paid", "free", "spend_limit", "network_blocked")


@dataclass(slots=True)
class Settings:
    """Settings of one simulator; times in seconds, sizes in bytes.

    Attributes:
        batch_seconds: How long a batch takes from its creation to its end.
        cancel_seconds: How long a batch stays `cancelling`.
        speed: Divides `batch_seconds` and `cancel_seconds`.
        window_scale: Multiplies the completion window (`expires_at` too).
        page_size: Batches per page of the cursor list.
        max_ids: Most ids that one list call may name.
        list_order: `newest` or `oldest` batch first.
        last_page: What the last page has as `next_cursor`: `null`, an `empty` string, or no
            `paging` at all (`absent`).
        unknown_ids: `omit` unknown ids from a list by ids, or answer 404 (`error`).
        max_file_bytes: Largest accepted upload; above it 413.
        max_requests: Most lines of a batch.
        bad_line: `fail_batch` fails the batch at validation; `fail_row` completes it with the line
            in `errors` and an error row; `report_only` does the same without the row.
        errors_shape: `errors` as `{"object": "list", "data": []}` (`list`) or bare `array`.
        endpoint_rule: `chat`: every batch has the endpoint for chat, whatever its requests' URLs.
            Otherwise it must be the URL of all its requests, or its create is refused
            (`own_at_create`), or it fails with `url_mismatch` (`own_at_validation`).
        honour_request_hints: Obey `body.metadata.simulate` of a request.
        account_requests: Count sendings per `custom_id` (off saves memory).
        shuffle: Give results in a seeded random order.
        seed: Seed of the order of results.
        max_hold_seconds: Longest time that a request is held.
        calls_per_minute: Most ordinary calls within a minute, above it 429; None for no limit.
        tokens_per_minute: Most tokens of ordinary calls within a minute; the header
            fields `x-ratelimit-*-tokens` show the remaining ones.
        calls_per_day: Most ordinary calls within a day, with `x-ratelimit-*-requests`.
        call_seconds: How long an ordinary call of chat or audio takes.
        workers: Worker processes for batches, see `workers.py`; used at the
            start only.
        keys: Accepted API keys with their state, one of `KEY_STATES`.
        models: What the list of models says otherwise than `models.LISTED`: fields by the name of
            a model, such as `{"m": {}, "openai/gpt-oss-20b": null, "whisper-large-v3":
            {"active": false}}` (one more, one less, one that is not active).
    """

    batch_seconds: float = 1.0
    cancel_seconds: float = 0.2
    speed: float = 1.0
    window_scale: float = 1.0
    page_size: int = 20
    max_ids: int = 200
    list_order: str = "newest"
    last_page: str = "null"
    unknown_ids: str = "omit"
    max_file_bytes: int = 200_000_000
    max_requests: int = 50_000
    bad_line: str = "fail_batch"
    errors_shape: str = "list"
    endpoint_rule: str = "chat"
    honour_request_hints: bool = False
    account_requests: bool = True
    shuffle: bool = True
    seed: int = 0
    max_hold_seconds: float = 600.0
    calls_per_minute: int | None = None
    tokens_per_minute: int | None = None
    calls_per_day: int | None = None
    call_seconds: float = 0.0
    workers: int = 0
    keys: dict[str, str] = field(default_factory=lambda: {DEFAULT_KEY: "paid"})
    models: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Changes settings by name; nothing is changed when one of them is wrong.

        Raises:
            ValueError: A name or a value that does not exist.
        """
        known = {one.name for one in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
            allowed = CHOICES.get(name)
            if allowed and value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        if "keys" in changes:
            check_keys(changes["keys"])
        for name, value in changes.items():
            setattr(self, name, value)

    def copy(self) -> Settings:
        """Returns an independent copy."""
        return dataclasses.replace(self, keys=dict(self.keys), models=dict(self.models))


def check_keys(keys: Mapping[str, str]) -> None:
    """Checks a table of API keys.

    Raises:
        ValueError: A state that does not exist.
    """
    for state in keys.values():
        if state not in KEY_STATES:
            raise ValueError(f"state of a key must be one of {', '.join(KEY_STATES)}")
