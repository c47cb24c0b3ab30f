"""Alarms, dashboard, mails: they watch what is published, and point to what to do about it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.job_id import upload_job_id
from groq_batch.records.job import JobRequest
from groq_batch.reports.report import event_detail, running_report
from groq_batch.telemetry import metrics
from tests.infrastructure.stack import PROJECT, Stack, as_list, source, transformed
from tests.infrastructure.test_functions import HANDLERS
from tests.infrastructure.test_parameters import accepts

RUNBOOK = PROJECT / "docs" / "operations.md"
OWN = [{"Name": "service", "Value": "stack"}]

ALARMS = {
    "FailedJobsAlarm": ("JobsFailed", "Sum", 900),
    "AccountErrorsAlarm": ("AccountErrors", "Sum", 900),
    "GroqErrorsAlarm": ("GroqErrors", "Average", 18_000),
    "OverdueJobsAlarm": ("JobsOverdue", "Minimum", 1_800),
    "FailureShareAlarm": ("RequestFailureShare", "Average", 3_600),
}
"""The alarms on the stack's own metrics. When they ring is in test_alarm_times.py."""

BY_SCHEDULE = {"OpenJobs", "OldestJobSeconds", "JobsOverdue"}
"""Metrics that the reconciler publishes at every run, whatever happens: silence is bad news."""


@pytest.fixture(scope="module")
def dashboard(stack: Stack) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(stack.properties("Dashboard")["DashboardBody"])
    return body


def anchors() -> set[str]:
    """Return the anchors of the runbook's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", one.lower()).replace(" ", "-") for one in headings}


# -- alarms --------------------------------------------------------------------------------------


def test_alarms_watch_metrics_that_are_published(notified: Stack):
    alarms = notified.of_type("AWS::CloudWatch::Alarm")
    assert set(alarms) == {*ALARMS, "DeadLetterAlarm"}
    for name, (metric, statistic, period) in ALARMS.items():
        alarm = alarms[name]
        assert (alarm["MetricName"], alarm["Statistic"], alarm["Period"]) == (
            metric,
            statistic,
            period,
        )
        assert metric in metrics.UNITS
        assert alarm["Namespace"] == metrics.NAMESPACE
        assert alarm["Dimensions"] == OWN


def test_alarms_call_somebody(notified: Stack):
    for alarm in notified.of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert alarm["AlarmActions"] == ["<NotificationTopic>"]
    for alarm in Stack.deploy().of_type("AWS::CloudWatch::Alarm").values():
        assert "AlarmActions" not in alarm


def test_silence_is_bad_news_where_a_schedule_publishes(
    notified: Stack, capsys: pytest.CaptureFixture[str]
):
    metrics.OpenJobs().publish()
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(line) & set(metrics.UNITS) == BY_SCHEDULE
    for name, alarm in notified.of_type("AWS::CloudWatch::Alarm").items():
        expected = "breaching" if alarm["MetricName"] in BY_SCHEDULE else "notBreaching"
        assert alarm["TreatMissingData"] == expected, name


def test_counting_begins_before_its_silence_is_judged(stack: Stack):
    """The schedule fires as soon as it is made."""
    watching = transformed()["Resources"]["OverdueJobsAlarm"]
    assert as_list(watching["DependsOn"]) == ["CancelJobFunctionReconcile"]
    assert "CancelJobFunctionReconcile" in stack.of_type("AWS::Scheduler::Schedule")


@pytest.mark.parametrize("name", ["FailedJobsAlarm", "AccountErrorsAlarm"])
def test_one_error_rings_and_is_remembered_longer_where_jobs_look_less_often(name: str):
    for parameters, period in (
        ({}, 900),
        ({"PollMaxSeconds": "21600"}, 3_600),
        ({"WorkRetentionDays": "72"}, 3_600),
    ):
        alarm = Stack.deploy(**parameters).properties(name)
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (12, 1)
        assert alarm["Period"] == period


def test_periods_are_those_that_cloudwatch_takes(notified: Stack):
    for name, alarm in notified.of_type("AWS::CloudWatch::Alarm").items():
        evaluated = alarm["Period"] * alarm["EvaluationPeriods"]
        assert alarm["Period"] % 60 == 0, name
        # A day at most for periods below an hour, a week for longer ones. What is beyond a day is
        # judged once an hour.
        assert evaluated <= 86_400, name


def test_thresholds(stack: Stack):
    thresholds = {
        name: str(alarm["Threshold"])
        for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()
    }
    assert thresholds.pop("FailureShareAlarm") == "20"
    # One error beside each of two looks is a third.
    assert thresholds.pop("GroqErrorsAlarm") == "0.34"
    assert set(thresholds.values()) == {"0"}
    other = Stack.deploy(FailureShareAlarmPercent="5").properties("FailureShareAlarm")
    assert other["Threshold"] == "5"
    assert "more than 5 percent" in other["AlarmDescription"]


def test_overdue_jobs_are_counted_in_every_period(stack: Stack):
    """Otherwise the alarm would go and come with every gap."""
    assert stack.properties("CancelJobFunctionReconcile")["ScheduleExpression"] == (
        "rate(15 minutes)"
    )
    assert stack.properties("OverdueJobsAlarm")["Period"] >= 2 * 15 * 60


def test_descriptions_say_whose_alarm_it_is_and_point_into_the_runbook(notified: Stack):
    for name, alarm in notified.of_type("AWS::CloudWatch::Alarm").items():
        text = alarm["AlarmDescription"]
        assert text.startswith("Groq batch stack stack: "), name
        found = re.search(r" What to do: docs/operations\.md#([a-z0-9-]+)$", text)
        assert found is not None, name
        assert found[1] in anchors(), name
        assert len(text) <= 1024
    elsewhere = Stack.deploy(RunbookUrl="https://wiki.example.com/operations")
    for alarm in elsewhere.of_type("AWS::CloudWatch::Alarm").values():
        assert " https://wiki.example.com/operations#alarm-" in alarm["AlarmDescription"]


def test_every_alarm_has_its_heading():
    headings = {one for one in anchors() if one.startswith("alarm-")}
    pointed_at = set(re.findall(r"\$\{RunbookUrl\}#(alarm-[a-z-]+)", str(source()["Resources"])))
    assert headings == pointed_at


# -- mails ---------------------------------------------------------------------------------------


def test_mails_point_into_the_runbook(notified: Stack):
    (target,) = notified.properties("JobNeedsAttentionRule")["Targets"]
    template = target["InputTransformer"]["InputTemplate"]
    assert 'the stack stack ended as <status>."' in template
    # The name of the job leads to the report, which is not always at the path of the input.
    assert "groq-batch status <job> --stack-name stack," in template
    assert '"What to do: docs/operations.md#a-job-ended-as-<status>"' in template.splitlines()
    for status in set(metrics.ENDED) - {"succeeded"}:
        assert f"a-job-ended-as-{status}" in anchors()


def mail(stack: Stack, detail: dict[str, Any]) -> list[str]:
    """Return the lines of a mail, or fail where EventBridge would not deliver it.

    It puts values into the template as they are, and what comes out has to be JSON.
    """
    (target,) = stack.properties("JobNeedsAttentionRule")["Targets"]
    transformer = target["InputTransformer"]
    values: dict[str, str] = {}
    for name, path in transformer["InputPathsMap"].items():
        value: Any = {"detail": detail}
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        values[name] = str(value)
    filled_in = re.sub(r"<([a-z]+)>", lambda match: values[match[1]], transformer["InputTemplate"])
    return [json.loads(line) for line in filled_in.split("\n") if line]


def ended(key: str) -> dict[str, Any]:
    """Return the event of the end of a job for an upload."""
    request = JobRequest(
        job_id=upload_job_id(bucket="bucket", key=key, version_id="v"),
        bucket="bucket",
        key=key,
        version_id="v",
        path=key.removeprefix("input/"),
        started_at="2026-03-01T06:00:00.000Z",
        claimed_by="",
    )
    report = running_report(request, None) | {"status": "rejected"}
    detail: dict[str, Any] = json.loads(json.dumps(event_detail(report), ensure_ascii=False))
    return detail


def test_mail_names_the_input(notified: Stack):
    lines = mail(notified, ended("input/team/a b+c'ü.jsonl"))
    assert "Input: s3://bucket/input/team/a b+c'ü.jsonl" in lines
    assert lines[-1] == "What to do: docs/operations.md#a-job-ended-as-rejected"


@pytest.mark.parametrize(
    "key",
    [
        'input/a"b.jsonl',
        "input/a\\b.jsonl",
        'input/x"\n"All is well."\n".jsonl',
        "input/line\nbreak\t\u2028.jsonl",
        "input/\u202eturned\u202c.jsonl",
        "input/<status>.jsonl",
    ],
)
def test_an_uploader_cannot_break_or_write_a_mail(notified: Stack, key: str):
    lines = mail(notified, ended(key))
    assert len(lines) == len(mail(notified, ended("input/a.jsonl")))
    (named,) = (line for line in lines if line.startswith("Input: "))
    assert len(named) == len("Input: s3://bucket/") + len(key)
    assert named.isprintable()


@given(st.text(min_size=1, max_size=200))
def test_every_key_gives_a_mail_of_the_same_lines(name: str):
    stack = Stack.deploy(NotificationEmail="team@example.com")
    lines = mail(stack, ended(f"input/{name}.jsonl"))
    usual = mail(stack, ended("input/a.jsonl"))
    assert len(lines) == len(usual)
    of_the_job = ("Input:", "Why:", "Groq batch job ")
    assert [line for line in lines if not line.startswith(of_the_job)] == [
        line for line in usual if not line.startswith(of_the_job)
    ]


def test_a_report_of_an_earlier_version_gives_a_mail_as_well(notified: Stack):
    detail = ended('input/a"b.jsonl')
    del detail["input"]["shown"]
    lines = mail(notified, event_detail(detail | {"batches": [], "errors": []}))
    assert "Input: s3://bucket/input/a?b.jsonl" in lines


def test_all_else_in_a_mail_is_of_harmless_characters(notified: Stack):
    """Names that AWS or the pipeline give, numbers, and parameters whose patterns see to it."""
    (target,) = notified.properties("JobNeedsAttentionRule")["Targets"]
    paths = target["InputTransformer"]["InputPathsMap"]
    counts = {f"$.detail.requests.{name}" for name in ("total", "succeeded", "failed", "invalid")}
    names = {"$.detail.job_id", "$.detail.status", "$.detail.input.bucket"}
    assert set(paths.values()) == counts | names | {"$.detail.input.shown"}
    assert re.fullmatch(r"[a-z0-9-]+", ended('input/"\\.jsonl')["job_id"])
    assert all(status.isalpha() for status in metrics.ENDED)
    for text in ('"', "\\", "\n", "<job>", " "):
        assert not accepts("RunbookUrl", f"https://wiki.example.com/{text}")
        assert not accepts("ExistingBucketName", f"bucket{text}name")


# -- dashboard -----------------------------------------------------------------------------------


def test_dashboard_shows_metrics_that_are_published(stack: Stack, dashboard: dict[str, Any]):
    shown: set[str] = set()
    for widget in dashboard["widgets"]:
        for namespace, metric, *dimensions, options in widget["properties"].get("metrics", []):
            assert set(options) <= {"stat", "label", "yAxis"}
            if namespace == metrics.NAMESPACE:
                assert dimensions == ["service", "stack"]
                shown.add(metric)
            elif namespace == "AWS/Lambda":
                assert dimensions[0] == "FunctionName"
                assert dimensions[1].strip("<>") in HANDLERS
            else:
                known = {"AWS/States": "<BatchJob>", "AWS/SQS": "<DeadLetterQueue.QueueName>"}
                assert dimensions[1] == known[namespace]
    # All but what only an alarm looks at.
    assert set(metrics.UNITS) - shown == {"JobsOverdue", "RequestFailureShare"}


def test_dashboard_shows_every_alarm(stack: Stack, dashboard: dict[str, Any]):
    (widget,) = (one for one in dashboard["widgets"] if one["type"] == "alarm")
    assert set(widget["properties"]["alarms"]) == {
        f"<{name}.Arn>" for name in stack.of_type("AWS::CloudWatch::Alarm")
    }


def test_dashboard_asks_for_lines_that_are_written(dashboard: dict[str, Any]):
    queries = [one["properties"]["query"] for one in dashboard["widgets"] if one["type"] == "log"]
    assert len(queries) == 2
    code = "".join(path.read_text("utf-8") for path in (PROJECT / "functions").rglob("*.py"))
    for query in queries:
        assert query.startswith("SOURCE '<LogGroup>' | ")
        for message in re.findall(r"message = '([^']+)'", query):
            assert f'"{message}"' in code


def test_widgets_lie_beside_each_other(dashboard: dict[str, Any]):
    taken: set[tuple[int, int]] = set()
    for widget in dashboard["widgets"]:
        place = {
            (widget["x"] + column, widget["y"] + row)
            for column in range(widget["width"])
            for row in range(widget["height"])
        }
        assert not place & taken
        assert all(0 <= column < 24 for column, _ in place)
        taken |= place
    assert len(taken) == 24 * max(row + 1 for _, row in taken)


def test_dashboard_is_in_the_stacks_region(dashboard: dict[str, Any]):
    for widget in dashboard["widgets"]:
        if widget["type"] in ("metric", "log"):
            assert widget["properties"]["region"] == "us-east-1"
