"""``groq-batch usage``, and ``groq-batch open`` without a job, over usage records in a bucket."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.times import timestamp
from groq_batch.records.usage import UsageOfModel, UsageRecord
from groq_batch.records.usage_sums import UsageSums
from groq_batch_cli.main import run
from tests.index_samples import usage_record
from tests.integration.cli_world import Said, World

NO_RECORDS = (
    "Jobs that ended under version 1 of the stack have no usage record and are not counted.\n"
)


class Jobs:
    """Jobs that have ended."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.number = 0

    def end(self, *, days_ago: float = 0.0, **fields: Any) -> UsageRecord:
        self.number += 1
        ended = datetime.now(UTC) - timedelta(days=days_ago)
        given = {"started_at": timestamp(ended), "finished_at": timestamp(ended), **fields}
        record = usage_record(self.number, **given)
        assert record.write(self.world.storage)
        return record


@pytest.fixture
def jobs(world: World) -> Jobs:
    made = Jobs(world)
    # Older than any period below, so that nothing is said of version 1.
    made.end(days_ago=40, folder="old", actual_usd=100.0)
    made.end(folder="search", actual_usd=2.5, requests=1000, succeeded=1000)
    made.end(folder="search", actual_usd=None, status="failed", requests=10, succeeded=0)
    made.end(days_ago=3, folder="ads", actual_usd=0.25, requests=200, succeeded=190)
    made.end(days_ago=10, folder="", actual_usd=0.0, status="rejected", requests=5, models=[])
    return made


def rows(capsys: Said, *arguments: str) -> list[dict[str, Any]]:
    assert run(["usage", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_usage_by_folder_is_a_table_with_the_dearest_first(jobs: Jobs, capsys: Said) -> None:
    assert run(["usage"]) == 0
    out, err = capsys.readouterr()
    head, *lines, total = out.splitlines()
    assert head.split() == [
        "FOLDER", "JOBS", "REQUESTS", "ANSWERED", "PROMPT", "TOKENS", "COMPLETION", "TOKENS", "COST"
    ]  # fmt: skip
    assert [line.split()[:4] for line in lines] == [
        ["search", "2", "1,010", "1,000"],
        ["ads", "1", "200", "190"],
        ["(top)", "1", "5", "44,988"],
    ]
    assert [line.split()[-1] for line in lines] == ["$2.50", "$0.2500", "$0"]
    assert total == "Total: 4 jobs, 1,215 requests, $2.75, the cost of 1 job is not known"
    assert err == ""


def test_usage_since_a_time_counts_the_jobs_that_ended_since(jobs: Jobs, capsys: Said) -> None:
    assert [row["folder"] for row in rows(capsys, "--since", "7d")] == ["search", "ads"]
    assert [row["folder"] for row in rows(capsys, "--since", "1h")] == ["search"]
    day = f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%d}"
    assert [row["folder"] for row in rows(capsys, "--since", day)] == ["search", "ads", ""]
    assert rows(capsys, "--since", "50d")[0]["folder"] == "old"


def test_usage_until_a_time_counts_the_jobs_that_ended_before(jobs: Jobs, capsys: Said) -> None:
    assert [row["folder"] for row in rows(capsys, "--until", "1h")] == ["ads", ""]
    between = ("--since", "20d", "--until", "5d")
    assert [row["folder"] for row in rows(capsys, *between)] == [""]
    # The first day of a month begins the next one: a job that ended then is not in this one.
    ended = jobs.end(days_ago=60, folder="exact").finished_at
    assert [row["folder"] for row in rows(capsys, "--since", ended, "--until", "55d")] == ["exact"]
    assert rows(capsys, "--since", "70d", "--until", ended) == []
    # Without --since the thirty days before.
    assert [row["folder"] for row in rows(capsys, "--until", "35d")] == ["old", "exact"]
    assert run(["usage", "--since", "5d", "--until", "6d"]) == 2
    assert "--until has to be later than --since." in capsys.readouterr().err


def test_usage_by_day_is_in_the_order_of_the_days(jobs: Jobs, capsys: Said) -> None:
    found = rows(capsys, "--by", "day")
    assert [row["day"] for row in found] == sorted(row["day"] for row in found)
    assert [row["jobs"] for row in found] == [1, 1, 2]


def test_usage_by_status_counts_jobs(jobs: Jobs, capsys: Said) -> None:
    found = {row["status"]: row["jobs"] for row in rows(capsys, "--by", "status")}
    assert found == {"succeeded": 2, "failed": 1, "rejected": 1}


def test_usage_by_model_sums_up_what_each_took(jobs: Jobs, capsys: Said) -> None:
    models = [
        UsageOfModel(model="a", requests=3, succeeded=2, prompt_tokens=5, usd=4.0),
        UsageOfModel(model="b", requests=1, succeeded=1, completion_tokens=7, usd=None),
    ]
    jobs.end(models=models)
    found = {row.pop("model"): row for row in rows(capsys, "--by", "model", "--since", "1h")}
    assert found["a"] == {
        "jobs": 1, "requests": 3, "succeeded": 2, "failed": 1, "invalid": 0, "prompt_tokens": 5,
        "completion_tokens": 0, "usd": 4.0, "without_cost": 0,
    }  # fmt: skip
    assert (found["b"]["usd"], found["b"]["without_cost"]) == (0.0, 1)
    assert found["openai/gpt-oss-20b"]["jobs"] == 2


def test_usage_as_csv_is_read_by_a_reader_of_csv(jobs: Jobs, capsys: Said) -> None:
    odd = 'a,"b"\n=1+1 🙂'
    jobs.end(folder=odd, actual_usd=50.0)
    assert run(["usage", "--csv"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["folder"] for row in found] == [odd, "search", "ads", ""]
    assert found[0]["usd"] == "50.0"


def test_usage_of_a_hostile_folder_stays_one_line(jobs: Jobs, capsys: Said) -> None:
    jobs.end(folder="x\n\x1b[31m\u202ey" + "W" * 500, actual_usd=50.0)
    assert run(["usage"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 6
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_usage_in_two_forms_at_once_is_a_wrong_usage(jobs: Jobs, capsys: Said) -> None:
    assert run(["usage", "--csv", "--json"]) == 2


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--csv"]])
def test_usage_of_a_stack_without_records_says_why(
    arguments: list[str],
    world: World,
    capsys: Said,
) -> None:
    assert run(["usage", *arguments]) == 0
    assert NO_RECORDS in capsys.readouterr().err


def test_usage_of_a_time_before_the_first_record_says_so(jobs: Jobs, capsys: Said) -> None:
    assert run(["usage", "--since", "60d"]) == 0
    assert capsys.readouterr().err == NO_RECORDS


def test_usage_with_a_record_that_cannot_be_read_says_so(jobs: Jobs, capsys: Said) -> None:
    record = jobs.end(actual_usd=1.0)
    jobs.world.storage.put_bytes(record.object_key, b"{}")
    assert run(["usage"]) == 0
    out, err = capsys.readouterr()
    assert "Total: 4 jobs" in out
    assert "1 object below usage/ cannot be read as a usage record." in err


def test_open_without_a_job_makes_an_index_of_all(jobs: Jobs, capsys: Said) -> None:
    world = jobs.world
    world.upload()
    before = {item.key for item in world.storage.objects("")}
    assert run(["open"]) == 0
    out, err = capsys.readouterr()
    page = Path(out.removesuffix("\n"))
    assert page.name == "index.html"
    text = page.read_text()
    assert "4 ended" in text
    assert "$2.75" in text
    assert "updated every 15 minutes" not in text
    assert err == ""
    assert {item.key for item in world.storage.objects("")} == before, "nothing is written"


def test_open_without_a_job_goes_on_with_the_sums_of_the_stack(jobs: Jobs, capsys: Said) -> None:
    storage = jobs.world.storage
    sums = UsageSums(complete_on=f"{datetime.now(UTC):%Y-%m-%d}")
    sums.save(storage, over=None)
    assert run(["open", "--print"]) == 0
    text = Path(capsys.readouterr().out.removesuffix("\n")).read_text()
    assert "2 ended" in text, "of the days that the stack has looked at, today's are new"


def test_open_of_an_upload_named_index_has_no_page(jobs: Jobs, capsys: Said) -> None:
    jobs.world.storage.put_bytes(object_keys.INDEX_KEY, b"the index of all")
    jobs.world.s3.put_object(Bucket="bucket", Key="input/index", Body=b"x")
    assert run(["open", "index"]) == 1
