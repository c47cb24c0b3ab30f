"""Count what the merged rows of an origin shard say, for its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from groq_batch.domain.answer_stats import count_name
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import shown
from groq_batch.domain.result_row import Row, model_of
from groq_batch.records.shard_result import ShardResult
from groq_batch.steps.download_results.merged_row import MergedRow

_MAX_ERRORS = 100
_NO_CODE = "unknown"
_NO_TEXT = "The API gave no text for this error; see its code, and the row in the results."
_COUNTED_AT_ONCE = 1000


class RowCounter:
    """Counts merged rows, the usage of answers many at a time for speed."""

    def __init__(self, summary: ShardResult) -> None:
        self._summary = summary
        self._answers: list[Row] = []

    def add(self, merged: MergedRow, read_line: Callable[[], bytes]) -> None:
        """Count a request's row; ``read_line`` reads the request."""
        summary = self._summary
        if merged.answer is not None:
            self._add_answer(merged.answer, read_line)
        summary.asked += merged.was_called
        summary.count_line(merged.model or model_of(read_line()), succeeded=merged.succeeded)
        if merged.succeeded:
            summary.succeeded += 1
            summary.invalid_output += merged.is_invalid

    def add_failure(
        self, merged: MergedRow, line: int | None, custom_id: str, *, goes_again: bool
    ) -> None:
        """Count a request without a success; the summary lists the first of them individually.

        Args:
            merged: Its row.
            line: Its line in the input; None if that is not known.
            custom_id: Its id.
            goes_again: Whether it goes into the next attempt.
        """
        summary = self._summary
        summary.failed += 1
        summary.deadline_passed += merged.code == ErrorCode.DEADLINE_PASSED
        if not goes_again:
            count_name(summary.failed_for_good, merged.code or _NO_CODE)
        summary.stats.failures.add(merged.code, line, merged.message)
        if len(summary.errors) < _MAX_ERRORS:
            summary.errors.append(
                {
                    "line": line,
                    "custom_id": shown(custom_id),
                    "code": merged.code,
                    "message": merged.message or _NO_TEXT,
                }
            )

    def _add_answer(self, row: Row, read_line: Callable[[], bytes]) -> None:
        if not row.model:
            # Audio answers name no model: use the requested one.
            row = replace(row, model=model_of(read_line()))
        self._answers.append(row)
        if len(self._answers) == _COUNTED_AT_ONCE:
            self.count_answers()

    def count_answers(self) -> None:
        """Add the collected counts to the summary."""
        rows, self._answers = self._answers, []
        self._summary.count_answers(rows)
        stats = self._summary.stats
        usages = [row.usage for row in rows if row.usage is not None]
        stats.prompt_tokens.add_all([usage.prompt_tokens for usage in usages])
        stats.completion_tokens.add_all([usage.completion_tokens for usage in usages])
        seconds = [row.seconds for row in rows if row.seconds is not None]
        stats.milliseconds.add_all([round(value * 1000) for value in seconds])
        for reason, count in Counter(row.finish_reason or "" for row in rows).items():
            if reason:
                count_name(stats.finish_reasons, reason, count)
