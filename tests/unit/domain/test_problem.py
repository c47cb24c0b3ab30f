"""Problems as rows and in reports."""

from __future__ import annotations

import json

from groq_batch.domain.problem import MAX_SHOWN_CHARACTERS, Problem, problem_row, shown


class TestShowing:
    def test_problem_row_is_one_json_line(self) -> None:
        custom_id = "é\n" + "x" * 1000
        row = problem_row(Problem(3, custom_id, "invalid_url", "Do this."))
        assert row.endswith(b"}\n")
        assert row.count(b"\n") == 1
        assert json.loads(row) == {
            "line": 3,
            "custom_id": custom_id,
            "code": "invalid_url",
            "message": "Do this.",
        }

    def test_shown_truncates_long_text(self) -> None:
        assert shown(None) is None
        assert shown("x" * MAX_SHOWN_CHARACTERS) == "x" * MAX_SHOWN_CHARACTERS
        assert shown("x" * 100_000) == "x" * MAX_SHOWN_CHARACTERS + "…"
