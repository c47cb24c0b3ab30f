"""Tables of the bucket's keys, from ``groq_batch.domain.object_keys``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from groq_batch.domain import object_keys
from local.reference.docstrings import first_sentence
from local.reference.markdown import code, table

_JOB = "requests-04ad86b59a21faf11acc"
_SAMPLES: dict[str, Any] = {
    "attempt": 1,
    "number": 1,
    "part": 1,
    "phase": "scan",
    "line": 1,
    "check": 12,
}
"""An argument for each parameter of the methods of ``WorkKeys``."""

_OTHERS = {
    object_keys.job_key(_JOB): "Proof that the upload has been started; permanent, do not delete "
    "it.",
    object_keys.open_job_key(_JOB): "Marks a job without a final report; the reconciler checks "
    "these.",
    object_keys.SWEEP_KEY: "How far the sweep of `input/` has come; without it the next one "
    "requests every record.",
    object_keys.RECONCILER_KEY: "Where the reconciler ran out of time; the next run continues "
    "there.",
    object_keys.USAGE_SUMS_KEY: "Sums of the usage records of the last 30 days, for the index; "
    "calculated again from them if it is missing.",
}
"""Purposes of the keys outside a job's folder."""


def deliveries() -> str:
    """Return the deliverables of one upload, and of one scheduled run of a recurring file."""
    upload = object_keys.delivery_keys(object_keys.input_path("input/team/requests.jsonl"))
    fired_at = "2026-11-25T02-00-00Z"
    firing = object_keys.delivery_keys(
        object_keys.recurring_path("recurring/evals.jsonl", fired_at)
    )
    superseded = object_keys.delivery_keys(object_keys.superseded_path(_JOB, "team/requests.jsonl"))
    rows = [
        ["results", "results"],
        ["request lines without a success", "failed"],
        ["problems of the input", "invalid"],
        ["report", "report"],
        ["report for people", "page"],
    ]
    heads = ["", "of `input/team/requests.jsonl`", f"of `recurring/evals.jsonl` at {fired_at}"]
    both = table(
        heads,
        ([what, code(getattr(upload, name)), code(getattr(firing, name))] for what, name in rows),
    )
    return (
        f"{both}\n\nA job that was superseded by a newer upload of the same key delivers to "
        f"{code(superseded.results)} and so on."
    )


def work() -> str:
    """Return the private objects of a job with the purpose of each."""
    keys = object_keys.WorkKeys(_JOB)
    rows = [[code(key), purpose] for key, purpose in _OTHERS.items()]
    for name, member in inspect.getmembers_static(object_keys.WorkKeys):
        if name.startswith("_") or name in ("job", "prefix", "bulk"):
            continue
        key = _key(keys, name, member)
        if key is not None and not key.endswith("/"):
            rows.append([code(key.replace(_JOB, "…")), first_sentence(inspect.getdoc(member))])
    return table(["key", "purpose"], sorted(rows))


def _key(keys: object_keys.WorkKeys, name: str, member: object) -> str | None:
    if isinstance(member, property):
        return str(getattr(keys, name))
    if not callable(member):
        return None
    method: Callable[..., str] = getattr(keys, name)
    names = inspect.signature(method).parameters
    return method(**{one: _SAMPLES[one] for one in names})
