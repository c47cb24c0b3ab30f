"""Which Groq API is used, and what a key that does not work is said to be."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from groq_batch.domain.batch import Batch
from groq_batch.groq.error_mapping import error_from_response
from groq_batch.groq.errors import NoAnswer, NotSentError, UnknownOutcomeError
from local.demo.errors import DemoError
from local.demo.groq_access import (
    DEFAULT_BASE_URL,
    GroqAccess,
    cancel_batches,
    check_access,
    find_access,
)

KEY = "gsk_a_key_that_nobody_may_see"
ACCESS = GroqAccess(DEFAULT_BASE_URL, KEY, ".env")


class TestFindAccess:
    def test_simulator_without_a_key(self) -> None:
        assert find_access({}, {}) is None
        assert find_access({"GROQ_BASE_URL": "https://x.example/v1"}, {}) is None

    def test_key_of_the_environment(self) -> None:
        access = find_access({"GROQ_API_KEY": f" {KEY}\n"}, {})
        assert access == GroqAccess(DEFAULT_BASE_URL, KEY, "the environment")

    def test_key_of_the_file(self) -> None:
        access = find_access({}, {"GROQ_API_KEY": KEY})
        assert access == GroqAccess(DEFAULT_BASE_URL, KEY, ".env")

    def test_environment_counts_before_the_file(self) -> None:
        access = find_access({"GROQ_API_KEY": KEY}, {"GROQ_API_KEY": "gsk_other"})
        assert access is not None
        assert access.key == KEY

    def test_empty_key_in_the_environment_asks_for_the_simulator(self) -> None:
        assert find_access({"GROQ_API_KEY": ""}, {"GROQ_API_KEY": KEY}) is None

    @pytest.mark.parametrize("key", ["gsk 1", "gsk_ü", "gsk_1\ngsk_2", "gsk_\x00"])
    def test_key_that_can_be_none(self, key: str) -> None:
        with pytest.raises(DemoError, match="GROQ_API_KEY in the environment") as caught:
            find_access({"GROQ_API_KEY": key}, {})
        assert key not in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("", DEFAULT_BASE_URL),
            ("https://api.groq.com", DEFAULT_BASE_URL),
            ("https://api.groq.com/", DEFAULT_BASE_URL),
            ("https://api.groq.com/openai/v1/", DEFAULT_BASE_URL),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/openai/v1"),
            ("https://gateway.example/groq", "https://gateway.example/groq"),
        ],
    )
    def test_base_url(self, given: str, used: str) -> None:
        for environ, dotenv in (({"GROQ_BASE_URL": given}, {}), ({}, {"GROQ_BASE_URL": given})):
            access = find_access(environ, {"GROQ_API_KEY": KEY, **dotenv})
            assert access is not None
            assert access.base_url == used

    @pytest.mark.parametrize(
        "url", ["http://api.groq.com", "api.groq.com", "https://u:p@x.example/v1", "https://[::1"]
    )
    def test_base_url_that_cannot_be_used(self, url: str) -> None:
        with pytest.raises(DemoError, match="GROQ_BASE_URL cannot be used"):
            find_access({"GROQ_API_KEY": KEY, "GROQ_BASE_URL": url}, {})

    def test_key_is_not_shown(self) -> None:
        assert KEY not in repr(ACCESS)


class FakeClient:
    """A client whose calls end as they are told to."""

    def __init__(self, *, batches: list[Batch] | None = None, error: Exception | None = None):
        self.batches = batches or []
        self.error = error
        self.pages = 0
        self.cancelled: list[str] = []

    def within(self, seconds: float) -> FakeClient:
        assert seconds <= 60
        return self

    def all_batches(self) -> Iterator[Batch]:
        if self.error is not None:
            raise self.error
        for batch in self.batches:
            self.pages += 1
            yield batch

    def cancel_batch(self, batch_id: str) -> Batch:
        self.cancelled.append(batch_id)
        return Batch(id=batch_id, status="cancelling")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(GroqAccess, "client", lambda _self: fake)
    return fake


def message_of(environ: dict[str, str] | None = None) -> str:
    with pytest.raises(DemoError) as caught:
        check_access(ACCESS, environ or {})
    text = str(caught.value)
    assert KEY not in text
    assert "\n" not in text
    return text


def refusal(code: str | None, message: str = "…") -> bytes:
    return json.dumps({"error": {"message": message, "code": code}}).encode()


class TestCheckAccess:
    def test_reads_no_more_than_the_first_page(self, client: FakeClient) -> None:
        client.batches = [Batch(id=str(number), status="completed") for number in range(50)]
        check_access(ACCESS, {})
        assert client.pages == 1

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (401, refusal("invalid_api_key"), "refuses the key in GROQ_API_KEY (from .env). Copy"),
            (403, refusal("not_available_for_plan"), "has no Batch API. Upgrade"),
            (403, refusal(None, "Access denied: network settings"), "refuses the address of this"),
            (403, refusal(None, "You may not."), "Check the rights of the API key"),
            (400, refusal("blocked_api_access"), "spend limit"),
            (429, refusal("rate_limit_exceeded"), "Try again in some minutes"),
            (503, b"<html>", "out of order at present (status 503)"),
            (404, refusal("unknown_url"), "does not answer like the Groq API (status 404)"),
            (404, b"<html>", "does not answer like the Groq API (status 404)"),
            (302, b"", "does not answer like the Groq API (status 302)"),
        ],
    )
    def test_refusals(self, client: FakeClient, status: int, body: bytes, expected: str) -> None:
        client.error = error_from_response(status, {}, body)
        assert expected in message_of()

    def test_answer_that_is_no_list(self, client: FakeClient) -> None:
        client.error = UnknownOutcomeError("The answer is not a list.")
        assert "does not answer like the Groq API. Check GROQ_BASE_URL" in message_of()

    @pytest.mark.parametrize("reason", list(NoAnswer))
    def test_no_answer(self, client: FakeClient, reason: NoAnswer) -> None:
        client.error = NotSentError("…", reason=reason)
        assert "api.groq.com" in message_of()
        assert "HTTPS_PROXY" not in message_of()
        assert "HTTPS_PROXY is set, but" in message_of({"HTTPS_PROXY": "http://proxy:3128"})

    def test_no_network(self, client: FakeClient) -> None:
        client.error = NotSentError("…", reason=NoAnswer.NAME_NOT_FOUND)
        assert message_of() == (
            "api.groq.com cannot be found: this machine has no network, or its DNS does not work."
        )


class TestCancelBatches:
    def test_only_the_jobs_own_that_still_run(self, client: FakeClient) -> None:
        def batch(name: str, status: str, job: str | None = "j-1") -> Batch:
            return Batch(id=name, status=status, metadata={"job": job} if job else None)

        client.batches = [
            batch("running", "in_progress"),
            batch("ending", "cancelling"),
            batch("ended", "completed"),
            batch("foreign", "in_progress", "j-2"),
            batch("unknown", "in_progress", None),
        ]
        cancelled = cancel_batches(ACCESS, "j-1")
        assert [(b.id, b.status) for b in cancelled] == [
            ("running", "cancelling"),
            ("ending", "cancelling"),
        ]
        assert client.cancelled == ["running"]
