"""Lists of the Groq API: pages, cursors, and batches looked up by their ids."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from local.groq_simulator import GroqSimulator
from tests.integration.groq_calls import (
    HTML,
    batch_json,
    calls_of,
    create,
    failure,
    make_client,
    submit,
)
from tests.integration.raw_server import RawServer, http

pytestmark = pytest.mark.usefixtures("no_key_in_the_log")


def page(*items: Any, cursor: Any = None) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "paging": {"next_cursor": cursor}}


# Lists


def test_all_pages_are_read(simulator: GroqSimulator, client: GroqClient) -> None:
    first = submit(client)
    simulator.control.add_foreign_batches(500)
    second = submit(client)
    simulator.control.add_foreign_batches(30)
    for last_page in ("null", "empty", "absent"):
        for order in ("newest", "oldest"):
            simulator.control.configure(last_page=last_page, list_order=order, page_size=50)
            found = [batch.id for batch in client.all_batches()]
            assert len(found) == len(set(found)) == 532
            assert {first.id, second.id} <= set(found)


@pytest.mark.parametrize(
    "last",
    [
        page(batch_json("b")),
        page(batch_json("b"), cursor=""),
        page(batch_json("b"), cursor={}),
        page(batch_json("b"), cursor=False),
        {"object": "list", "data": [batch_json("b")]},
        {"object": "list", "data": [batch_json("b")], "paging": None},
        {"object": "list", "data": [batch_json("b")], "paging": {}},
        {"object": "list", "data": [batch_json("b")], "paging": []},
        {"object": "list", "data": [batch_json("b")], "has_more": False, "last_id": "b"},
        [batch_json("b")],
        page(None, {}, 7, "text", batch_json("b"), {"id": ""}),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("cursor", ["c/1 &?", 7])
def test_shapes_of_pages(last: Any, cursor: Any) -> None:
    with RawServer(http(200, page(batch_json("a"), cursor=cursor)), http(200, last)) as server:
        client = make_client(server.url)
        assert [batch.id for batch in client.all_batches()] == ["a", "b"]
    expected = b"7" if cursor == 7 else b"c%2F1+%26%3F"
    assert server.heads[1].startswith(b"GET /openai/v1/batches?cursor=%s HTTP/1.1" % expected)


def test_a_cursor_beside_the_items() -> None:
    first = {"object": "list", "data": [batch_json("a")], "paging": {}, "next_cursor": "c-1"}
    with RawServer(http(200, first), http(200, page(batch_json("b")))) as server:
        assert [found.id for found in make_client(server.url).all_batches()] == ["a", "b"]
    assert server.heads[1].startswith(b"GET /openai/v1/batches?cursor=c-1 HTTP/1.1")


@pytest.mark.parametrize("data", [[], None])
def test_an_empty_list_of_batches(data: Any) -> None:
    with RawServer(http(200, {"object": "list", "data": data})) as server:
        assert list(make_client(server.url).all_batches()) == []
        assert make_client(server.url).list_files() == []


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"object": "list"},
        {"data": {}},
        {"data": "text"},
        {"data": None, "error": {"message": "m"}},
        {"data": [], "error": {"message": "m"}},
        {"error": {"message": "m"}},
    ],
)
def test_what_is_no_list_is_not_taken_for_an_empty_one(answer: Any) -> None:
    with RawServer(http(200, answer)) as server:
        client = make_client(server.url)
        assert type(failure(lambda: list(client.all_batches()))) is UnknownOutcomeError
        assert type(failure(client.list_files)) is UnknownOutcomeError


@pytest.mark.parametrize("cursor", [{"page": 2}, ["c"], True, 7.5])
def test_batches_that_cannot_be_seen_to_the_end_are_an_error(cursor: Any) -> None:
    with RawServer(http(200, page(batch_json("a"), cursor=cursor))) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError


@pytest.mark.parametrize("place", ["beside the items", "in paging"])
def test_a_page_that_says_there_is_more_is_not_the_last(place: str) -> None:
    more = {"has_more": True, "first_id": "a", "last_id": "a"}
    answer = page(batch_json("a")) | more
    if place == "in paging":
        answer = {"data": [batch_json("a")], "paging": more}
    with RawServer(http(200, answer)) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError


def test_pages_that_go_round() -> None:
    file = {"id": "file_1"}
    first, second = page(file, cursor="c-1"), page(file, cursor="c-2")
    with RawServer(http(200, first), http(200, second), http(200, first)) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError
    assert server.connections == 3
    # Files have no pages as far as is known: a cursor is followed, but is no reason to fail.
    with RawServer(http(200, first), http(200, second), http(200, first)) as server:
        files = make_client(server.url).list_files()
    assert [found.id for found in files] == ["file_1"] * 3


def dated(*dates: int | None, cursor: str | None = None) -> dict[str, Any]:
    return page(
        *(batch_json(f"b-{number}", created_at=date) for number, date in enumerate(dates)),
        cursor=cursor,
    )


def pages_read(*pages: dict[str, Any], since: float | None) -> int:
    """Return how many pages are asked for when these are the answers."""
    with RawServer(*(http(200, one) for one in pages)) as server:
        list(make_client(server.url).batches_since(since))
    return server.connections


def long_list(*dates: int, cursor: str = "c-1") -> dict[str, Any]:
    """Return a page that shows the order of a list by itself: a thousand batches."""
    return dated(*(date for date in dates for _ in range(1000 // len(dates))), cursor=cursor)


def test_batches_since_a_moment_are_read_up_to_the_first_page_before_it() -> None:
    pages = [long_list(90, 80), dated(70, 60, cursor="c-2"), dated(50, 40)]
    assert pages_read(*pages, since=65) == 3
    assert pages_read(*pages, since=75) == 2
    assert pages_read(*pages, since=95) == 1
    # A batch of that very second may be the one.
    assert pages_read(*pages, since=70) == 3
    assert pages_read(*pages, since=None) == 3


def test_batches_since_a_moment_are_found_behind_a_few_old_ones_in_falling_order() -> None:
    """What comes newest first on one page need not do so in the whole list."""
    pages = [dated(50, 40, cursor="c-1"), dated(30, 20, cursor="c-2"), dated(90)]
    assert pages_read(*pages, since=85) == 3


@pytest.mark.parametrize(
    "first",
    [
        long_list(40, 50),  # Oldest first.
        long_list(50),  # Of one second, which shows no order.
        dated(50, cursor="c-1"),
        dated(*[50] * 500, None, *[40] * 500, cursor="c-1"),
        dated(cursor="c-1"),
        page({"id": "a"}, {"id": "b"}, cursor="c-1"),
    ],
    ids=["oldest first", "one second", "one batch", "a date missing", "empty", "no dates"],
)
def test_batches_in_an_order_that_is_not_shown_are_read_to_the_end(first: dict[str, Any]) -> None:
    assert pages_read(first, dated(90, 80), since=85) == 2


def test_order_that_breaks_later_is_believed_no_more() -> None:
    pages = [long_list(90, 80), dated(85, 40, cursor="c-2"), dated(30, cursor="c-3")]
    assert pages_read(*pages, dated(95), since=88) == 4


def test_large_pages_are_asked_for() -> None:
    first, second = page(batch_json("a"), cursor="c-1"), page(batch_json("b"))
    with RawServer(http(200, first), http(200, second)) as server:
        found = [batch.id for batch in make_client(server.url).batches_since(None)]
    assert found == ["a", "b"]
    assert server.heads[0].startswith(b"GET /openai/v1/batches?limit=100 HTTP/1.1")
    assert server.heads[1].startswith(b"GET /openai/v1/batches?limit=100&cursor=c-1 HTTP/1.1")


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("refused", [0, 1])
def test_a_limit_that_is_refused_is_left_out(status: int, refused: int) -> None:
    """The API's reference does not have it."""
    answers = [http(200, page(batch_json("a"), cursor="c-1")), http(200, page(batch_json("b")))]
    answers.insert(refused, http(status, {"error": {"message": "unknown parameter: limit"}}))
    with RawServer(*answers) as server:
        found = [batch.id for batch in make_client(server.url).batches_since(None)]
    assert found == ["a", "b"]
    asked = [b"limit" in head for head in server.heads]
    assert asked == [True] * (refused + 1) + [False] * (2 - refused)


def test_a_list_that_cannot_be_read_without_a_limit_either_is_an_error() -> None:
    refusal = http(400, {"error": {"message": "no"}})
    with RawServer(refusal, refusal) as server:
        error = failure(lambda: list(make_client(server.url).batches_since(None)))
    assert type(error) is RequestRefusedError
    assert server.connections == 2


def test_a_limit_that_cuts_the_list_off_does_not_hide_what_is_behind_it() -> None:
    """A full page that says it is the last may be that of a server with other ideas of a limit."""
    cut = page(*(batch_json(f"b-{number}") for number in range(100)))
    whole = [http(200, cut | {"paging": {"next_cursor": "c-1"}}), http(200, page(batch_json("z")))]
    with RawServer(http(200, cut), *whole) as server:
        found = {batch.id for batch in make_client(server.url).batches_since(None)}
    assert "z" in found
    assert [b"limit" in head for head in server.heads] == [True, False, False]


def test_an_account_with_many_batches_is_read_as_far_as_it_matters() -> None:
    old = [
        dated(*range(10_000 - 20 * number, 9_980 - 20 * number, -1), cursor=f"c-{number}")
        for number in range(400)
    ]
    assert pages_read(dated(20_001, 20_000, cursor="c"), *old, since=19_000) == 51


def test_an_error_in_the_middle_of_a_list(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.add_foreign_batches(50)
    simulator.control.add_fault("list", skip=1, status=429, times=None)
    seen = []

    def read() -> None:
        seen.extend(client.all_batches())

    assert type(failure(read)) is RateLimitedError
    assert len(seen) == 20


# Batches by their ids


def test_two_hundred_batches_with_one_call(simulator: GroqSimulator, client: GroqClient) -> None:
    ids = simulator.control.add_foreign_batches(450)
    found = client.batches_by_id(ids).batches
    assert sorted(found) == sorted(ids)
    assert all(batch.id == batch_id for batch_id, batch in found.items())
    assert simulator.control.stats()["calls"] == {"list_by_ids": 3}
    assert client.batches_by_id([]) == ({}, set())
    assert simulator.control.stats()["calls"] == {"list_by_ids": 3}


@pytest.mark.parametrize(
    "fault",
    [
        None,
        {"status": 400},
        {"status": 404},
        {"status": 414, "body": HTML},
        {"status": 500},
        {"status": 200, "body": HTML},
        {"status": 200, "body": {"object": "list", "data": []}},
        {"status": 200, "body": page(batch_json("foreign"), {}, cursor="c-1")},
        {"answer": "reset"},
    ],
    ids=str,
)
def test_what_a_list_does_not_show_is_asked_for_one_by_one(
    simulator: GroqSimulator, client: GroqClient, fault: dict[str, Any] | None
) -> None:
    ids = simulator.control.add_foreign_batches(30)
    unknown = ["batch_x", "batch_y"]
    if fault is not None:
        simulator.control.add_fault("list_by_ids", times=None, **fault)
    found = client.batches_by_id([*ids, *unknown])
    assert sorted(found.batches) == sorted(ids)
    assert found.unknown == set(unknown)
    assert calls_of(simulator, "retrieve") == (2 if fault is None else 32)


def test_unknown_ids_that_spoil_the_list(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.configure(unknown_ids="error")
    ids = simulator.control.add_foreign_batches(3)
    found = client.batches_by_id([*ids, "batch_x"])
    assert (sorted(found.batches), found.unknown) == (sorted(ids), {"batch_x"})


def test_a_list_by_ids_in_pages() -> None:
    answers = [
        page(batch_json("a"), batch_json("foreign"), cursor="c-1"),
        page(batch_json("b"), cursor="c-2"),
        page(batch_json("c"), cursor="c-3"),
    ]
    with RawServer(*(http(200, answer) for answer in answers), http(500)) as server:
        found = make_client(server.url).batches_by_id(["a", "b", "c"]).batches
    assert sorted(found) == ["a", "b", "c"]
    assert server.connections == 3
    assert b"?id=a&id=b&id=c&cursor=c-1 " in server.heads[1]


def test_what_was_found_is_not_lost_to_an_error(
    simulator: GroqSimulator, client: GroqClient
) -> None:
    ids = simulator.control.add_foreign_batches(250)
    # The second call for 50 of the ids fails, and so do they one by one.
    simulator.control.add_fault("list_by_ids", skip=1, times=None, status=429)
    found = client.batches_by_id(ids)
    assert (sorted(found.batches), found.unknown) == (sorted(ids[:200]), set())
    simulator.control.clear_faults()
    simulator.control.add_fault("list_by_ids", skip=1, times=None, status=400)
    simulator.control.add_fault("retrieve", times=None, status=401)
    found = client.batches_by_id(ids)
    assert (sorted(found.batches), found.unknown) == (sorted(ids[:200]), set())
    # No more is asked once one of the threads has met the error.
    assert calls_of(simulator, "retrieve") <= 8


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 401}, AccountError),
        ({"status": 429}, RateLimitedError),
        ({"status": 503}, UnknownOutcomeError),
        ({"answer": "reset"}, UnknownOutcomeError),
    ],
    ids=str,
)
def test_an_outage_is_told(
    simulator: GroqSimulator,
    client: GroqClient,
    fault: dict[str, Any],
    kind: type[GroqApiError],
) -> None:
    ids = simulator.control.add_foreign_batches(100)
    simulator.control.add_fault("*", times=None, **fault)
    assert type(failure(lambda: client.batches_by_id(ids))) is kind
    assert calls_of(simulator, "retrieve") <= 8 * 3


@pytest.mark.parametrize("answer", [{}, [], batch_json("other"), {"id": 7}, {"error": "x"}])
def test_an_answer_about_something_else(answer: Any) -> None:
    with RawServer(http(200, answer)) as server:
        client = make_client(server.url)
        assert type(failure(lambda: client.retrieve_batch("batch_1"))) is UnknownOutcomeError
        if answer != batch_json("other"):
            assert type(failure(lambda: create(client))) is UnknownOutcomeError
