"""Alarms, dashboard, mails: they watch what is published, and point to what to do about it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from groq_batch import metrics
from tests.infrastructure.stack import PROJECT, Stack, source
from tests.infrastructure.test_functions import HANDLERS

RUNBOOK = PROJECT / "docs" / "operations.md"
OWN = [{"Name": "service", "Value": "stack"}]

ALARMS = {
    "FailedJobsAlarm": ("JobsFailed", "Sum", 300),
    "AccountErrorsAlarm": ("AccountErrors", "Sum", 300),
    "OverdueJobsAlarm": ("JobsOverdue", "Maximum", 3600),
    "FailureShareAlarm": ("RequestFailureShare", "Average", 3600),
}
"""The alarms on the stack's own metrics."""


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


def test_alarms_are_raised_by_the_first_bad_period_and_not_by_silence(notified: Stack):
    for alarm in notified.of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert alarm["EvaluationPeriods"] == 1
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"] == ["<NotificationTopic>"]


def test_thresholds(stack: Stack):
    thresholds = {
        name: str(alarm["Threshold"])
        for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()
    }
    assert thresholds.pop("FailureShareAlarm") == "20"
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
    assert '"What to do: docs/operations.md#a-job-ended-as-<status>"' in template.splitlines()
    for status in set(metrics.ENDED) - {"succeeded"}:
        assert f"a-job-ended-as-{status}" in anchors()


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
