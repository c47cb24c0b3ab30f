"""docs/operations.md has an entry for everything that an operator may be asked about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from groq_batch.telemetry import metrics
from local.retry_schedules import schedule, states_with_retries
from tests import documents
from tests.found_codes import codes_in
from tests.infrastructure.stack import PROJECT, Stack, source

RUNBOOK = PROJECT / "docs" / "operations.md"
CODE = PROJECT / "functions" / "groq_batch"

JOB_CODES = {
    "invalid_api_key",
    "plan_required",
    "permission_denied",
    "spend_limit",
    "secret_missing",
    "secret_unreadable",
    "input_unreadable",
    "cancelled",
    "timed_out",
    "internal_error",
}
FILE_CODES = {
    "empty_file",
    "not_gzip",
    "gzip_too_large",
    "too_expensive",
    "invalid_option",
    "reserved_path",
    "unsupported_name",
    "key_too_long",
}
LINE_CODES = {
    "invalid_encoding",
    "line_too_long",
    "invalid_json",
    "not_an_object",
    "missing_custom_id",
    "invalid_custom_id",
    "duplicate_custom_id",
    "invalid_method",
    "invalid_url",
    "invalid_body",
    "missing_model",
    "invalid_messages",
    "missing_audio",
    "unsupported_parameter",
    "unknown_model",
    "unsuitable_model",
}
ROW_CODES = {
    "not_sent",
    "missing",
    "no_response",
    "no_body",
    "batch_failed",
    "cancelled",
    "deadline_passed",
    "outcome_unknown",
}
WAITING_CODES = {"groq_unavailable", "batch_not_found", "batch_failed"}
OF_THE_API = {"unknown_error"}
"""What a row is called whose error has no name of its own."""


def section(heading: str) -> str:
    """Return the text below a heading of the second level."""
    _, _, rest = RUNBOOK.read_text("utf-8").partition(f"\n## {heading}\n")
    assert rest, heading
    return rest.split("\n## ", 1)[0]


def coded(text: str) -> set[str]:
    """Return the codes in the first column of a section's tables."""
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("A job ended as failed", JOB_CODES - {"cancelled"}),
        ("A job ended as partial", ROW_CODES),
        ("A job waits for Groq", WAITING_CODES),
        ("A job ended as rejected", FILE_CODES | LINE_CODES),
    ],
)
def test_every_code_has_its_row(heading: str, codes: set[str]):
    assert coded(section(heading)) == codes
    for line in section(heading).splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert all(cells), line


def test_a_stopped_job_has_its_code():
    assert "`cancelled`" in section("A job ended as cancelled")


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_the_code_knows_no_code_without_an_entry():
    found = codes_in(CODE)
    constants: set[str] = set()
    for path in CODE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        constants |= {text for node in ast.walk(tree) for text in _texts(node)}
    known = JOB_CODES | FILE_CODES | LINE_CODES | ROW_CODES | WAITING_CODES
    assert len(found) > 8
    assert found - OF_THE_API <= known
    # And every entry is of a code that can come.
    assert known <= constants


def test_every_alarm_says_what_it_means_and_what_to_do():
    stack = Stack.deploy(NotificationEmail="team@example.com")
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    assert len(alarms) == 6
    text = RUNBOOK.read_text("utf-8")
    for alarm in alarms:
        name = alarm["AlarmDescription"].rsplit("#alarm-", 1)[1].replace("-", " ")
        name = name.replace("groq", "Groq")
        entry = section(f"Alarm: {name}")
        for part in ("Means:", "The system", "See:", "Do:"):
            assert re.search(rf"^- \*\*{part}\*?\*?", entry, re.MULTILINE), (name, part)
    assert text.count("\n## Alarm: ") == len(alarms)


def test_every_command_names_outputs_of_the_stack():
    text = RUNBOOK.read_text("utf-8")
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| `(\w+)` \|$", text, re.MULTILINE))
    assert set(table.values()) <= set(source()["Outputs"])
    blocks = [one.text for one in documents.blocks(RUNBOOK) if one.language in documents.SHELLS]
    named = {
        word
        for block in blocks
        for words in documents.commands(block)
        for word in re.findall(r"(?<![$A-Za-z_])[A-Z][A-Z_]{2,}(?![A-Za-z])", " ".join(words[3:]))
    }
    # What a job's id and MACHINE make, as the page says, is no output; nor is what a command lists.
    assert "`MACHINE` with `:execution:`" in text
    assert "[Key,VersionId]" in text
    assert named - {"EXECUTION_ARN", "VERSION_ID"} == set(table) - {"MACHINE"}


def test_every_service_has_its_quotas():
    text = section("Capacity and quotas")
    for service in ("Lambda", "Step Functions", "S3", "EventBridge", "Secrets Manager", "Groq"):
        assert re.search(rf"^\| {service} \|", text, re.MULTILINE), service


def test_figures_of_the_template_are_those_of_the_runbook():
    stack = Stack.deploy(NotificationEmail="team@example.com")
    cost = section("Cost")
    assert f"| {len(metrics.UNITS)} own metrics " in cost
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    assert f"| alarms | {len(alarms)} " in cost
    schedule = stack.properties("CancelJobFunctionReconcile")["ScheduleExpression"]
    assert schedule == "rate(15 minutes)"
    assert f"{30 * 24 * 4:,} runs" in cost
    gigabytes = stack.functions["CancelJobFunction"]["MemorySize"] / 1024
    assert f" {gigabytes:.2f} GB " in cost
    days = stack.properties("DeadLetterQueue")["MessageRetentionPeriod"] // 86_400
    assert f"for {days}\n  days" in section("Alarm: dead letters")


def test_throttled_steps_are_tried_as_long_as_it_says():
    text = section("Capacity and quotas")
    assert "is tried 60 times more, for about 50 minutes (a status check: for hours)" in text
    for name, state in states_with_retries().items():
        if state["Type"] != "Task":
            continue
        again = schedule(state["Retry"], "Lambda.TooManyRequestsException")
        assert again.tries == 60
        # With full jitter half of the longest time, on average.
        minutes = again.expected_seconds / 60
        assert 50 <= minutes <= 55 or (name == "CheckStatus" and minutes > 300), name


@pytest.mark.parametrize(
    "heading",
    [
        "Rotate the key",
        "Cancel a job",
        "Pause everything",
        "Redrive",
        "Take an existing bucket over",
        "Backup and retention",
    ],
)
def test_tasks_of_an_operator_are_described(heading: str):
    assert len(section(heading).split()) > 20
