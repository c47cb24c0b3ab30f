"""What is listed at Groq, where the account has thousands of batches and files of others."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.batch import ENDPOINT
from groq_batch.steps.outcomes import backoff_seconds
from tests.harness.jobs import Upload, check_end, good_lines, put
from tests.harness.world import World

HOUR = 3_600.0
PAGES = 30
SMALL_PAGES = {"page_size": 2}


@pytest.fixture(autouse=True)
def _few_batches_show_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two pages show the order of a list, so that no account needs a thousand batches."""
    monkeypatch.setattr("groq_batch.groq.client._BATCHES_THAT_SHOW_AN_ORDER", 4)


def add_old_batches(world: World) -> int:
    """Fill the account with batches of another application that end hours before now.

    Returns:
        How often the account's batches were listed until then.
    """
    client = world.groq.client()
    data = good_lines(1, "other")[0].data + b"\n"
    for number in range(2 * PAGES):
        file = client.upload_file(
            filename=f"other-{number}.jsonl",
            open_stream=lambda: io.BytesIO(data),
            size=len(data),
        )
        client.create_batch(
            input_file_id=file.id,
            endpoint=ENDPOINT,
            completion_window="24h",
            metadata={"job": f"other-{number}"},
        )
        world.run_for(60)
    world.run_for(5 * HOUR)
    for batch in client.all_batches():
        assert client.retrieve_batch(batch.id).is_terminal
    for left in client.list_files():
        client.delete_file(left.id)
    return lists(world)


def lists(world: World) -> int:
    """Return how often a page of the account's batches was asked for."""
    return len(world.simulator.calls("list"))


def lose_the_create(world: World) -> Upload:
    """Upload a job whose batch is created with an answer that is lost."""
    world.simulator.add_fault("create", answer="reset", act=True, times=1)
    return put(world, "input/a.jsonl", good_lines(3))


def test_a_lost_answer_is_looked_for_among_the_newest_batches() -> None:
    with World(simulator=SMALL_PAGES) as world:
        before = add_old_batches(world)
        upload = lose_the_create(world)
        world.settle()
        (report,) = check_end(world, upload)
        # The account's check; then, in the doubt and at the end, what there is since the start of
        # the job: the page with its batch, and one before it.
        assert lists(world) - before <= 1 + 2 + 2
    assert report["status"] == "succeeded"


def test_a_create_that_did_not_act_is_looked_for_no_further() -> None:
    with World(simulator=SMALL_PAGES) as world:
        before = add_old_batches(world)
        world.simulator.add_fault("create", answer="reset", act=False, times=1)
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        check_end(world, upload)
        # Once more, before the create is repeated.
        assert lists(world) - before <= 1 + 2 + 2 + 2


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_lost_answer_is_found_wherever_the_list_has_it(order: str) -> None:
    """Nothing is left out where the list does not come newest first."""
    with World(simulator={**SMALL_PAGES, "list_order": order}) as world:
        before = add_old_batches(world)
        upload = lose_the_create(world)
        world.settle()
        (report,) = check_end(world, upload)
        assert (lists(world) - before > PAGES) == (order == "oldest")
    assert report["status"] == "succeeded"


def test_a_record_of_an_earlier_version_has_the_whole_list_read() -> None:
    """It does not say since when there could be a batch."""
    with World(simulator=SMALL_PAGES) as world:
        before = add_old_batches(world)
        upload = lose_the_create(world)
        world.run_for(30)
        key = object_keys.WorkKeys(upload.job_id(world.s3.bucket)).submission(1, 1)
        record = json.loads(world.s3.read(key) or b"")
        assert record.pop("begun_at") is not None
        world.s3.client().put_object(
            Bucket=world.s3.bucket, Key=key, Body=json.dumps(record).encode()
        )
        world.settle()
        check_end(world, upload)
        assert lists(world) - before > PAGES


def test_a_stopped_job_reads_what_there_is_since_its_start() -> None:
    with World(simulator={**SMALL_PAGES, "batch_seconds": HOUR}) as world:
        before = add_old_batches(world)
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(300)
        world.stop(upload.job_id(world.s3.bucket))
        world.settle()
        (report,) = check_end(world, upload)
        ends = sum(one.function == "finish_job" for one in world.invocations)
        assert lists(world) - before <= 1 + 2 * ends
    assert report["status"] == "cancelled"


def test_a_job_of_which_all_is_recorded_lists_no_files() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        upload = put(world, "input/a.jsonl", good_lines(5))
        world.settle()
        check_end(world, upload)
        assert world.simulator.calls("files_list") == []
        # Only large shards have the account checked by a list before they are uploaded.
        assert lists(world) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "create", "status": 404, "times": 1},
        {"route": "upload", "answer": "reset", "act": True, "times": 1},
    ],
    ids=["a file that was given up", "an upload whose answer was lost"],
)
def test_a_file_that_no_record_names_is_deleted(fault: dict[str, Any]) -> None:
    with World() as world:
        world.simulator.add_fault(**fault)
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        check_end(world, upload)
        assert world.simulator.calls("files_list") != []


def test_checks_that_groq_has_too_many_of_come_ever_later() -> None:
    """Without a Retry-After it is for the pipeline to leave the API alone."""
    with World(simulator={"batch_seconds": 2 * HOUR}) as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(30)
        world.simulator.add_fault("list_by_ids", status=429, times=6)
        world.settle()
        (report,) = check_end(world, upload)
        refused = [
            call["time"] for call in world.simulator.calls("list_by_ids") if call["status"] == 429
        ]
    assert report["status"] == "succeeded"
    pauses = [later - earlier for earlier, later in itertools.pairwise(refused)]
    assert len(pauses) == 5
    for number, pause in enumerate(pauses):
        assert pause >= backoff_seconds(number)
