"""A bucket that was there before the stack: what it lacks is said, and how to switch it on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from groq_batch.bucket.existing_bucket import BucketSettingsError, check_settings, check_versioning
from tests.integration.account import BUCKET, KEY, Account, account, stored


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext) -> Iterator[Account]:
    with account(monkeypatch, lambda_context, ExistingBucketName=BUCKET) as made:
        yield made


def suspend_versioning(made: Account) -> None:
    made.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def switch_events_off(made: Account) -> None:
    made.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})


def test_bucket_set_up_as_told_is_used_like_the_stacks_own(made: Account):
    made.upload(KEY, b"{}\n")
    assert made.invoke("start_job", stored("start_job/manual"))["status"] == "started"
    assert made.count("GetBucketVersioning") == 1
    assert made.invoke("cancel_job", stored("cancel_job/reconcile")) == {
        "jobs": dict.fromkeys(made.executions(), "is RUNNING")
    }
    assert made.count("GetBucketVersioning", "GetBucketNotificationConfiguration") == 2


def test_nothing_is_started_without_versions(made: Account):
    suspend_versioning(made)
    made.upload(KEY, b"{}\n")
    with pytest.raises(BucketSettingsError) as caught:
        made.invoke("start_job", stored("start_job/manual"))
    text = str(caught.value)
    assert f"put-bucket-versioning --bucket {BUCKET}" in text
    assert "ExistingBucketName" in text
    assert "EventBridge" not in text
    assert made.executions() == {}
    assert made.keys("jobs/") == []


def test_missing_events_are_found_by_the_reconciler_after_its_work(made: Account):
    made.upload(KEY, b"{}\n")
    made.invoke("start_job", stored("start_job/manual"))
    (job,) = made.executions()
    marker = made.json(f"work/open/{job}") | {"started_at": "2026-01-01T00:00:00.000Z"}
    made.s3.put_object(Bucket=BUCKET, Key=f"work/open/{job}", Body=json.dumps(marker))
    made.end_execution(job, "ABORTED")
    switch_events_off(made)
    with pytest.raises(BucketSettingsError, match="events to EventBridge are not switched on"):
        made.invoke("cancel_job", stored("cancel_job/reconcile"))
    # The job that was open is taken care of all the same.
    assert set(made.executions()) == {job, f"{job}-c1"}


def test_all_that_is_missing_is_named_at_once(made: Account):
    suspend_versioning(made)
    switch_events_off(made)
    with pytest.raises(BucketSettingsError) as caught:
        check_settings(made.s3, BUCKET)
    assert "versioning" in str(caught.value)
    assert "EventBridge" in str(caught.value)


def test_bucket_that_is_not_there(made: Account):
    with pytest.raises(BucketSettingsError, match="there is no such bucket") as caught:
        check_settings(made.s3, "no-such-bucket")
    assert str(caught.value).count("no such bucket") == 1


class Forbidding:
    """S3 under a policy of the organization that forbids to look at settings."""

    def _refuse(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetBucketVersioning")

    get_bucket_versioning = get_bucket_notification_configuration = _refuse


def test_settings_that_cannot_be_seen_stop_nothing():
    check_versioning(Forbidding(), BUCKET)
    check_settings(Forbidding(), BUCKET)


def test_stack_with_a_bucket_of_its_own_asks_for_no_setting(
    monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext
):
    with account(monkeypatch, lambda_context) as made:
        made.upload(KEY, b"{}\n")
        made.invoke("start_job", stored("start_job/manual"))
        assert made.count("GetBucketVersioning") == 0
