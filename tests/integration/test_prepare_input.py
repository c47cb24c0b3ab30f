"""Preparing a job: the handler with its role on moto's S3."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import __version__, bootstrap
from groq_batch.domain import object_keys
from groq_batch.domain.json_data import from_json_data
from groq_batch.domain.prices import Prices, table_prices
from groq_batch.steps.prepare_input.prepare import Preparation
from tests.integration.account import BUCKET, Account, account
from tests.integration.preparation import BODY_BYTES, GOOD, bad, file_of, request

JOB_FILES = ("job.json", "plan.json")


class Job:
    """One upload and its job, in an account."""

    def __init__(self, made: Account, data: bytes, key: str, options: Mapping[str, str]) -> None:
        self.made = made
        self.key = key
        self.version_id = made.upload(key, data, **options)
        started = made.invoke("start_job", {"key": key})
        assert started["status"] == "started"
        self.job_id: str = started["job_id"]
        self.report_key: str = started["report"].removeprefix(f"s3://{BUCKET}/")
        self.keys = object_keys.WorkKeys(self.job_id)

    def prepare(self) -> dict[str, Any]:
        """Run the handler, with no more than its role allows."""
        return self.made.invoke("prepare_input", {"job_id": self.job_id})

    @property
    def report(self) -> dict[str, Any]:
        return self.made.json(self.report_key)

    @property
    def record(self) -> dict[str, Any]:
        return self.made.json(self.keys.job_record)

    @property
    def shards(self) -> dict[str, bytes]:
        """What a Distributed Map would be given, by name."""
        prefix = self.keys.shards(1)
        return {key.removeprefix(prefix): self.made.read(key) for key in self.made.keys(prefix)}

    @property
    def work(self) -> list[str]:
        """All that stands in the job's folder, without what every job has."""
        names = [key.removeprefix(self.keys.prefix) for key in self.made.keys(self.keys.prefix)]
        return [name for name in names if name not in JOB_FILES]

    @property
    def versions(self) -> list[str]:
        """All versions and markers of the job's folder, without what every job has."""
        found = self.made.s3.list_object_versions(Bucket=BUCKET, Prefix=self.keys.prefix)
        entries = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
        names = sorted(entry["Key"].removeprefix(self.keys.prefix) for entry in entries)
        return [name for name in names if name not in JOB_FILES]

    @property
    def open_uploads(self) -> list[str]:
        found = self.made.s3.list_multipart_uploads(Bucket=BUCKET)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    @property
    def invalid(self) -> list[dict[str, Any]]:
        """The rows that are delivered at ``invalid/<path>`` in the end."""
        data = self.made.read(self.keys.invalid)
        if self.key.endswith(".gz"):
            data = gzip.decompress(data)
        return [json.loads(row) for row in data.splitlines()]

    def reads_of_the_input(self) -> int:
        """Return how often the last invocation has read the upload."""
        return sum(
            call.operation == "GetObject" and call.parameters["Key"] == self.key
            for call in self.made.calls
        )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext) -> Iterator[Account]:
    with account(monkeypatch, lambda_context, MaxRequestsPerBatch="2") as made:
        yield made


@pytest.fixture
def upload(made: Account) -> Callable[..., Job]:
    def upload(*lines: bytes, key: str = "input/team/a.jsonl", **options: str) -> Job:
        return Job(made, file_of(*lines), key, options)

    return upload


Upload = Callable[..., Job]


class TestAccepted:
    def test_prepare_returns_output_for_the_state_machine(self, upload: Upload) -> None:
        job = upload(*GOOD)
        assert job.prepare() == {
            "accepted": True,
            "attempt": 1,
            "shards_prefix": f"work/{job.job_id}/shards/attempt-1/",
            "tasks_prefix": "",
            "polls": 0,
            "resume_in": Preparation(accepted=True, attempt=1, shards_prefix="").resume_in,
            # Nothing about an only shard: there are several.
            "shard_key": "",
            "tries": 0,
            "outcome": "",
        }

    def test_prepare_writes_shards_and_nothing_else(self, upload: Upload) -> None:
        job = upload(GOOD[0], b"", GOOD[1] + b"\r", b"  ", *GOOD[2:])
        job.prepare()
        assert job.shards == {
            "00001.jsonl": file_of(*GOOD[:2]),
            "00002.jsonl": file_of(*GOOD[2:4]),
            "00003.jsonl": file_of(GOOD[4]),
        }
        assert job.work == job.versions
        assert [name for name in job.work if not name.startswith("shards/")] == ["ids/00001.jsonl"]
        assert job.open_uploads == []
        assert job.made.keys("invalid/") == job.made.keys("output/") == []

    def test_prepare_writes_report_of_the_running_job(self, upload: Upload) -> None:
        job = upload(*GOOD, b"", request("limited", max_tokens=100))
        job.prepare()
        report = job.report
        data = file_of(*GOOD, b"", request("limited", max_tokens=100))
        body_bytes = 5 * BODY_BYTES + len(
            json.dumps(json.loads(request("limited", max_tokens=100))["body"])
        )
        estimate = report["cost_usd"].pop("estimated")
        assert estimate == pytest.approx(body_bytes / 4 * 0.0375e-6 + 100 * 0.15e-6, rel=1e-6)
        assert report.pop("timing")["started_at"].endswith("Z")
        assert report == {
            "schema_version": 1,
            "job_id": job.job_id,
            "status": "running",
            "input": {
                "bucket": BUCKET,
                "key": "input/team/a.jsonl",
                "shown": "input/team/a.jsonl",
                "version_id": job.version_id,
                "bytes": len(data),
                "lines": 7,
            },
            "folder": "team",
            "requests": {"total": 6, "succeeded": 0, "failed": 0, "invalid": 0},
            "progress": {"completed": 0, "total": 6},
            "batches": [],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            "cost_usd": {"actual": None},
            "prices": table_prices().about(),
            "canary": None,
            "on_demand": None,
            "errors": [],
            "errors_total": 0,
            "outputs": {"results": None, "failed": None, "invalid": None},
            "version": __version__,
        }

    def test_prepare_writes_record_of_the_job(self, upload: Upload) -> None:
        job = upload(*GOOD)
        job.prepare()
        sizes = [len(data) for data in job.shards.values()]
        assert job.record["shards"] == [
            [1, 2, sizes[0], 0],
            [2, 2, sizes[1], 0],
            [3, 1, sizes[2], 0],
        ]
        assert job.record["options"] == {
            "completion_window": "24h",
            "skip_invalid_lines": False,
            "max_attempts": 3,
            "max_job_cost_usd": 0.0,
            "check_models": True,
            "canary_requests": 0,
            "canary_max_failed_percent": 50,
            "batch_deadline": "",
            "deadline_max_usd": 0.0,
            "retry_invalid_output": False,
        }
        assert job.record["accepted"] is True
        assert from_json_data(job.record["prices"], Prices) == table_prices()

    @pytest.mark.parametrize(
        "key",
        [
            "input/a.jsonl",
            "input/team a/b+c/ü'\"&.jsonl",
            "input/recurring.jsonl",
            "recurring/daily.jsonl",
            "input/" + "k" * (900 - len("input/.jsonl")) + ".jsonl",
        ],
    )
    def test_prepare_accepts_unusual_keys(self, upload: Upload, key: str) -> None:
        job = upload(*GOOD, key=key)
        assert job.prepare()["accepted"] is True
        assert job.report["input"]["key"] == key

    def test_prepare_accepts_compressed_file(self, made: Account) -> None:
        members = gzip.compress(file_of(*GOOD[:2])) + gzip.compress(file_of(*GOOD[2:]))
        job = Job(made, members, "input/a.jsonl.gz", {})
        assert job.prepare()["accepted"] is True
        assert b"".join(job.shards.values()) == file_of(*GOOD)
        assert job.report["input"]["bytes"] == len(members)

    def test_prepare_reads_the_version_of_the_upload(self, made: Account, upload: Upload) -> None:
        first = upload(*GOOD)
        made.upload(first.key, b"of somebody else")
        assert first.prepare()["accepted"] is True
        second = Job(made, file_of(GOOD[0]), first.key, {})
        made.s3.delete_object(Bucket=BUCKET, Key=first.key)
        assert second.prepare()["accepted"] is True
        assert b"".join(first.shards.values()) == file_of(*GOOD)
        assert b"".join(second.shards.values()) == file_of(GOOD[0])


def sent_bytes(made: Account, prefix: str) -> int:
    """Return how many bytes the last invocation sent to the keys below a prefix."""
    return sum(
        len(call.parameters["Body"])
        for call in made.calls
        if call.operation == "UploadPart" and call.parameters["Key"].startswith(prefix)
    )


class TestCopied:
    """What stands in the input as it is to be sent is copied by S3."""

    LARGE = tuple(request(f"large-{number}", "x" * 100_000) for number in range(150))
    SHARD = 70
    """Requests of a shard, so that there are two of 7 MB and one that is too small for a copy."""

    @pytest.fixture
    def made(
        self, monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext
    ) -> Iterator[Account]:
        limit = str(self.SHARD)
        with account(monkeypatch, lambda_context, MaxRequestsPerBatch=limit) as made:
            yield made

    def prepare(self, made: Account, data: bytes, *good: bytes, **options: str) -> Job:
        """Prepare a file and see that its shards have the good lines, in order."""
        job = Job(made, data, options.pop("key", "input/a.jsonl"), options)
        assert job.prepare()["accepted"] is True
        shards = list(job.shards.values())
        assert b"".join(shards) == file_of(*good)
        assert [shard.count(b"\n") for shard in shards] == [one[1] for one in job.record["shards"]]
        ids = made.read(job.keys.custom_ids(1))
        assert [json.loads(one) for one in ids.splitlines()] == [
            json.loads(line)["custom_id"] for line in good
        ]
        assert job.open_uploads == []
        return job

    def sent(self, job: Job) -> list[int]:
        """Return how many bytes of each shard were sent, and not copied."""
        return [sent_bytes(job.made, job.keys.shard(1, number)) for number in (1, 2, 3)]

    def test_prepare_copies_unchanged_shards_without_sending_bytes(self, made: Account) -> None:
        job = self.prepare(made, file_of(*self.LARGE), *self.LARGE)
        assert self.sent(job) == [0, 0, len(file_of(*self.LARGE[140:]))]
        copies = [call.parameters for call in made.calls if call.operation == "UploadPartCopy"]
        # Two shards end at the same time, in any order.
        keys = {job.keys.shard(1, 1), job.keys.shard(1, 2)}
        assert len(copies) == len(keys)
        assert {one["Key"] for one in copies} == keys
        source = {"Bucket": BUCKET, "Key": job.key, "VersionId": job.version_id}
        assert [one["CopySource"] for one in copies] == [source, source]
        assert [one["PartNumber"] for one in copies] == [1, 1]

    def test_prepare_copies_lines_around_invalid_lines(self, made: Account) -> None:
        lines = [bad("x"), *self.LARGE[:69], b"[]", *self.LARGE[69:], bad("y")]
        job = self.prepare(made, file_of(*lines), *self.LARGE, on_invalid_line="skip")
        assert made.count("UploadPartCopy") == 2
        assert self.sent(job)[:2] == [len(file_of(self.LARGE[69])), 0]
        assert made.read(job.keys.skipped_raw(1)) == file_of(bad("x"), b"[]")
        assert made.read(job.keys.skipped_raw(3)) == file_of(bad("y"))

    def test_prepare_copies_nothing_from_compressed_file(self, made: Account) -> None:
        good = self.LARGE[: self.SHARD]
        job = Job(made, gzip.compress(file_of(*good), 1), "input/a.jsonl.gz", {})
        assert job.prepare()["accepted"] is True
        assert list(job.shards.values()) == [file_of(*good)]
        assert made.count("UploadPartCopy") == 0

    def test_prepare_of_rejected_file_leaves_no_copies(self, made: Account) -> None:
        job = Job(made, file_of(*self.LARGE, bad("x")), "input/a.jsonl", {})
        assert job.prepare()["accepted"] is False
        assert job.versions == ["invalid"]
        assert job.open_uploads == []


class TestSkipping:
    def test_prepare_keeps_skipped_lines_apart(self, upload: Upload) -> None:
        job = upload(bad("x"), *GOOD[:3], bad("id-0"), b"[]", on_invalid_line="skip")
        assert job.prepare()["accepted"] is True
        assert b"".join(job.shards.values()) == file_of(*GOOD[:3])
        assert job.work == [
            "ids/00001.jsonl",
            "invalid",
            "shards/attempt-1/00001.jsonl",
            "shards/attempt-1/00002.jsonl",
            "skipped/00001.jsonl",
            "skipped/00001.raw",
            "skipped/00002.jsonl",
            "skipped/00002.raw",
        ]
        assert job.made.read(job.keys.skipped_raw(2)) == file_of(bad("id-0"), b"[]")
        assert [shard[3] for shard in job.record["shards"]] == [1, 2]
        assert job.open_uploads == []

    def test_prepare_reports_skipped_lines(self, upload: Upload) -> None:
        job = upload(bad("x"), *GOOD[:3], bad("id-0"), b"", b"[]", on_invalid_line="skip")
        job.prepare()
        report = job.report
        assert report["status"] == "running"
        assert report["requests"] == {"total": 6, "succeeded": 0, "failed": 0, "invalid": 3}
        assert report["progress"] == {"completed": 0, "total": 3}
        assert [(one["line"], one["custom_id"], one["code"]) for one in report["errors"]] == [
            (1, "x", "invalid_method"),
            (5, "id-0", "duplicate_custom_id"),
            (7, None, "not_an_object"),
        ]
        assert report["errors_total"] == 3
        assert job.invalid == report["errors"]

    def test_prepare_without_valid_line_rejects(self, upload: Upload) -> None:
        job = upload(bad("a"), bad("b"), on_invalid_line="skip")
        assert job.prepare()["accepted"] is False
        assert job.record["failure"] is None
        assert [row["code"] for row in job.invalid] == ["invalid_method", "invalid_method"]
        assert job.versions == ["invalid"]
        assert job.open_uploads == []

    def test_prepare_with_problem_of_the_file_rejects_although_skipping(
        self, made: Account
    ) -> None:
        data = gzip.compress(file_of(*GOOD, bad("x")))[:-1]
        job = Job(made, data, "input/a.jsonl.gz", {"on_invalid_line": "skip"})
        assert job.prepare()["accepted"] is False
        assert [row["code"] for row in job.invalid] == ["invalid_method", "not_gzip"]
        assert job.versions == ["invalid"]


class TestRejected:
    """Nothing of a rejected file is left, not even as a version that nobody sees."""

    def test_prepare_with_invalid_line_rejects(self, upload: Upload) -> None:
        job = upload(*GOOD, bad("x"), request("y"))
        assert job.prepare()["accepted"] is False
        assert job.shards == {}
        assert job.versions == ["invalid"]
        assert job.open_uploads == []
        assert job.invalid == [
            {
                "line": 6,
                "custom_id": "x",
                "code": "invalid_method",
                "message": 'The method must be "POST", but it is another text. Set it to "POST".',
            }
        ]

    def test_prepare_reports_the_rejection(self, upload: Upload) -> None:
        job = upload(*GOOD, b"", *[bad(f"bad-{number}") for number in range(120)])
        job.prepare()
        report = job.report
        assert report["status"] == "running"
        assert report["input"]["lines"] == 126
        assert report["requests"]["total"] == 125
        assert report["requests"]["invalid"] == 120
        assert report["progress"]["total"] == 5
        assert len(report["errors"]) == 100
        assert report["errors_total"] == len(job.invalid) == 120
        assert [row["line"] for row in job.invalid] == list(range(7, 127))

    def test_prepare_compresses_problems_like_the_input(self, made: Account) -> None:
        job = Job(made, gzip.compress(file_of(bad("a"), b"[]")), "input/a.jsonl.gz", {})
        assert job.prepare()["accepted"] is False
        assert [row["line"] for row in job.invalid] == [1, 2]

    @pytest.mark.parametrize(
        ("data", "key", "code"),
        [
            pytest.param(b"", "input/a.jsonl", "empty_file", id="empty"),
            pytest.param(b"\xef\xbb\xbf\r\n\n", "input/a.jsonl", "empty_file", id="blank"),
            pytest.param(gzip.compress(b""), "input/a.jsonl.gz", "empty_file", id="empty gzip"),
            pytest.param(file_of(*GOOD), "input/a.jsonl.gz", "not_gzip", id="not gzip"),
        ],
    )
    def test_prepare_with_problem_of_the_file_rejects(
        self, made: Account, data: bytes, key: str, code: str
    ) -> None:
        job = Job(made, data, key, {})
        assert job.prepare()["accepted"] is False
        (row,) = job.invalid
        assert (row["line"], row["custom_id"], row["code"]) == (None, None, code)
        assert job.report["errors"] == [row]
        assert job.report["requests"]["total"] == 0

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            ("input/recurring/a.jsonl", "reserved_path"),
            ("input/superseded/job/a.jsonl", "reserved_path"),
            ("input/a.json", "unsupported_name"),
            ("input/a.jsonl.zip", "unsupported_name"),
            ("input/a", "unsupported_name"),
            ("input/" + "k" * (901 - len("input/.jsonl")) + ".jsonl", "key_too_long"),
        ],
    )
    def test_prepare_with_invalid_key_rejects(self, upload: Upload, key: str, code: str) -> None:
        job = upload(*GOOD, key=key)
        assert job.prepare()["accepted"] is False
        assert job.reads_of_the_input() == 0
        report = job.report
        assert report["input"]["bytes"] == len(file_of(*GOOD))
        assert report["requests"]["total"] == report["input"]["lines"] == 0
        (error,) = report["errors"]
        assert (error["line"], error["code"]) == (None, code)
        assert "pload the file under" in error["message"]
        assert job.invalid == [error]
        assert job.versions == ["invalid"]
        if code == "key_too_long":
            assert job.report_key == f"reports/{job.job_id}.json"


class TestOptions:
    def test_prepare_uses_options_of_the_upload(self, upload: Upload) -> None:
        job = upload(
            *GOOD,
            completion_window="7d",
            on_invalid_line="skip",
            max_attempts="2",
            max_job_cost_usd="1.50",
            check_models="false",
            canary_requests="0",
            canary_max_failed_percent="10",
            batch_deadline="6h",
            deadline_max_usd="2.50",
            retry_invalid_output="true",
        )
        assert job.prepare()["accepted"] is True
        assert job.record["options"] == {
            "completion_window": "7d",
            "skip_invalid_lines": True,
            "max_attempts": 2,
            "max_job_cost_usd": 1.5,
            "check_models": False,
            "canary_requests": 0,
            "canary_max_failed_percent": 10,
            "batch_deadline": "6h",
            "deadline_max_usd": 2.5,
            "retry_invalid_output": True,
        }

    def test_prepare_with_invalid_options_rejects(self, upload: Upload) -> None:
        """The file is checked all the same, so that one upload tells everything."""
        job = upload(*GOOD, bad("x"), max_attempts="11", on_invalid_line="ignore")
        assert job.prepare()["accepted"] is False
        report = job.report
        assert [(one["line"], one["code"]) for one in report["errors"]] == [
            (None, "invalid_option"),
            (None, "invalid_option"),
            (6, "invalid_method"),
        ]
        messages = " ".join(one["message"] for one in report["errors"])
        assert "a whole number from 1 to 10" in messages
        assert "reject or skip" in messages
        assert report["errors_total"] == len(job.invalid) == 3
        assert report["requests"]["total"] == 6
        assert report["input"]["lines"] == 6
        assert job.versions == ["invalid"]
        assert job.made.count("UploadPart") == 1

    def test_prepare_with_options_beyond_retention_rejects(self, upload: Upload) -> None:
        job = upload(*GOOD, max_attempts="10", completion_window="7d")
        assert job.prepare()["accepted"] is False
        assert "WorkRetentionDays=72" in job.report["errors"][0]["message"]
        assert job.report["progress"]["total"] == 5


class TestCost:
    ESTIMATE = 5 * BODY_BYTES / 4 * 0.0375e-6

    def test_prepare_above_the_cost_cap_rejects(self, upload: Upload) -> None:
        job = upload(*GOOD, b"[]", max_job_cost_usd="0.000000001", on_invalid_line="skip")
        assert job.prepare()["accepted"] is False
        report = job.report
        assert [(one["line"], one["code"]) for one in report["errors"]] == [
            (None, "too_expensive"),
            (6, "not_an_object"),
        ]
        assert "above the cap of 0.000000001 USD" in report["errors"][0]["message"]
        assert "Raise max-job-cost-usd or split the file." in report["errors"][0]["message"]
        assert report["cost_usd"]["estimated"] == pytest.approx(self.ESTIMATE, rel=1e-6)
        assert report["requests"] == {"total": 6, "succeeded": 0, "failed": 0, "invalid": 1}
        assert report["progress"]["total"] == 5
        assert sorted(row["code"] for row in job.invalid) == ["not_an_object", "too_expensive"]
        assert job.versions == ["invalid"]
        assert job.open_uploads == []

    def test_prepare_upload_cannot_raise_the_stacks_cap(
        self, monkeypatch: pytest.MonkeyPatch, upload: Upload
    ) -> None:
        monkeypatch.setenv("MAX_JOB_COST_USD", "0.000000002")
        bootstrap.reset()
        job = upload(*GOOD, max_job_cost_usd="1000")
        assert job.prepare()["accepted"] is False
        (error,) = job.report["errors"]
        assert "is above the cap of 0.000000002 USD. Split the file, or deploy" in error["message"]


class TestAgain:
    def test_prepare_again_changes_nothing(self, upload: Upload) -> None:
        job = upload(*GOOD, bad("x"), on_invalid_line="skip")
        first = job.prepare()
        assert job.reads_of_the_input() == 1
        state = (job.record, job.report, job.shards, job.versions)
        assert job.prepare() == first
        assert job.made.count("PutObject", "CreateMultipartUpload", "DeleteObjects") == 0
        assert job.reads_of_the_input() == 0
        assert (job.record, job.report, job.shards, job.versions) == state

    def test_prepare_again_keeps_a_rejection(self, upload: Upload) -> None:
        job = upload(bad("x"))
        assert job.prepare() == job.prepare()
        assert job.made.count("PutObject", "CreateMultipartUpload") == 0

    def test_prepare_of_closed_job_does_nothing(self, upload: Upload) -> None:
        job = upload(*GOOD)
        job.made.s3.put_object(Bucket=BUCKET, Key=job.keys.closed, Body=b"")
        assert job.prepare()["accepted"] is False
        assert job.work == ["closed"]
        assert job.made.keys("reports/") == []

    def test_prepare_of_stopped_job_does_nothing(self, upload: Upload) -> None:
        job = upload(*GOOD)
        job.made.s3.put_object(Bucket=BUCKET, Key=job.keys.stopped, Body=b"{}")
        assert job.prepare()["accepted"] is False
        assert job.work == ["stopped.json"]
        assert job.reads_of_the_input() == 0

    def test_prepare_of_unknown_job_raises(self, made: Account) -> None:
        with pytest.raises(ValueError, match="jobs/unknown does not exist"):
            made.invoke("prepare_input", {"job_id": "unknown"})
