"""Start the phases in which many invocations prepare a large input; see ``range_plan``.

The state machine calls this again after each phase. The outcomes in the bucket show which phase
comes next, so that it can be called at any time, also by several invocations at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, TypeVar

from groq_batch.bucket.s3_errors import MissingObjectError, UnreadableObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import SplitLimits
from groq_batch.records.stored import MissingRecordError
from groq_batch.request_file.id_partitions import REPEAT_BYTES, USE_BYTES
from groq_batch.request_file.request_rules import CHECKS
from groq_batch.steps.prepare_input.range_plan import (
    CUT,
    MATCH,
    RANGES_OF_ONE_INVOCATION,
    SCAN,
    UNREADABLE,
    CutOutcome,
    CutTask,
    MatchOutcome,
    PendingTasks,
    RangePlan,
    ScanOutcome,
    plan_cuts,
)

_Outcome = TypeVar("_Outcome")
_DIGEST_KEY_BYTES = 16


def is_large(size: int, range_bytes: int) -> bool:
    """Tell whether an input of ``size`` bytes is prepared by many invocations."""
    return size > RANGES_OF_ONE_INVOCATION * range_bytes


def new_range_plan(
    *,
    size: int,
    range_bytes: int,
    limits: SplitLimits,
    options: JobOptions,
    option_problems: Iterable[Problem],
) -> RangePlan:
    """Return a plan with a new digest key; the arguments are those of ``RangePlan``."""
    return RangePlan(
        size=size,
        range_bytes=range_bytes,
        limits=limits,
        options=options,
        option_problems=tuple(option_problems),
        digest_key=secrets.token_hex(_DIGEST_KEY_BYTES),
        checks=CHECKS,
    )


class FanOut:
    """The preparation of one large input."""

    def __init__(self, storage: Storage, keys: object_keys.WorkKeys, range_plan: RangePlan) -> None:
        """Prepare the job of ``keys``."""
        self._storage = storage
        self._keys = keys
        self._range_plan = range_plan

    def advance(self) -> PendingTasks | list[CutOutcome]:
        """Start the next phase.

        Returns:
            The tasks to do next, or the outcomes of the last phase.

        Raises:
            MissingObjectError: The input no longer exists.
            UnreadableObjectError: S3 denies access to the input.
        """
        range_plan = self._range_plan
        scans = self._outcomes(SCAN, len(range_plan.ranges), ScanOutcome)
        if scans is None:
            return self._begin(SCAN, ({} for _ in range_plan.ranges))
        matches = self._outcomes(MATCH, range_plan.partitions, MatchOutcome)
        if matches is None:
            return self._begin(MATCH, _match_tasks(scans, range_plan.partitions))
        plans = self._plan_cuts(scans, matches)
        cuts = self._outcomes(CUT, len(plans), CutOutcome)
        if cuts is None:
            first_lines = list(accumulate((scan.lines for scan in scans), initial=1))
            self._storage.put_json(self._keys.first_lines, {"first_lines": first_lines})
            return self._begin(CUT, (_cut_task(plan, matches) for plan in plans))
        return cuts

    def _plan_cuts(self, scans: list[ScanOutcome], matches: list[MatchOutcome]) -> list[CutTask]:
        range_plan = self._range_plan
        repeats = [0] * len(scans)
        for match in matches:
            for place, count in match.repeats:
                repeats[place] += count
        has_bad_lines = any(repeats) or any(scan.invalid for scan in scans)
        return plan_cuts(
            scans,
            repeats,
            writes_shards=not range_plan.option_problems
            and (range_plan.options.skip_invalid_lines or not has_bad_lines),
            canary=range_plan.options.canary_requests,
        )

    def _begin(self, phase: str, tasks: Iterable[Mapping[str, Any]]) -> PendingTasks:
        """Store the tasks of a phase."""

        def write(numbered: tuple[int, Mapping[str, Any]]) -> None:
            number, task = numbered
            self._storage.put_json(self._keys.task(phase, number), task)

        in_parallel(write, enumerate(tasks, start=1))
        return PendingTasks(self._keys.tasks(phase))

    def _outcomes(self, phase: str, count: int, kind: type[_Outcome]) -> list[_Outcome] | None:
        """Return the outcomes of a phase, or None if some are missing."""
        stored = {found.key for found in self._storage.objects(self._keys.outcomes(phase))}
        expected = [self._keys.outcome(phase, number) for number in range(1, count + 1)]
        if not stored.issuperset(expected):
            return None
        return [from_json_data(one, kind) for one in in_parallel(self._outcome, expected)]

    def _outcome(self, key: str) -> Mapping[str, Any]:
        found = self._storage.get_json(key)
        if found is None:
            raise MissingRecordError(f"{key} no longer exists")
        reason = found.value.get(UNREADABLE)
        if reason is not None:
            raise MissingObjectError(key) if reason == "gone" else UnreadableObjectError(key)
        return found.value


def _match_tasks(scans: list[ScanOutcome], partitions: int) -> Iterable[dict[str, Any]]:
    """Yield a task for each partition: the offset and length of its records in each range."""
    firsts = [0] * len(scans)
    for partition in range(partitions):
        lengths = [scan.uses[partition] * USE_BYTES for scan in scans]
        yield {"segments": list(zip(firsts, lengths, strict=True))}
        firsts = [first + length for first, length in zip(firsts, lengths, strict=True)]


def _cut_task(plan: CutTask, matches: list[MatchOutcome]) -> dict[str, Any]:
    """Return a cut task, with the places of the records of its lines that repeat an id."""
    segments: dict[int, list[tuple[int, int, int]]] = {}
    for partition, match in enumerate(matches, start=1):
        first = 0
        for place, count in match.repeats:
            length = count * REPEAT_BYTES
            if plan.first <= place <= plan.last:
                segments.setdefault(place, []).append((partition, first, length))
            first += length
    return {"cut": to_json_data(plan), "repeats": sorted(segments.items())}
