"""Which addresses are accepted as the base URL of an API."""

from __future__ import annotations

import pytest

from groq_batch.groq.base_url import validate_base_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        ("https://api.groq.com/openai/v1//", "https://api.groq.com/openai/v1"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
        ("http://127.0.0.1:8080/openai/v1", "http://127.0.0.1:8080/openai/v1"),
        ("http://localhost:1/v1/", "http://localhost:1/v1"),
        ("http://[::1]:1/v1", "http://[::1]:1/v1"),
    ],
)
def test_base_urls(url: str, expected: str) -> None:
    assert validate_base_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.groq.com/openai/v1",
        "http://api.groq.com/openai/v1",
        "http://10.0.0.1/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "ftp://api.groq.com/v1",
        "https:///openai/v1",
        "https://user:secret@api.groq.com/v1",
        "https://api.groq.com/v1?key=1",
        "https://api.groq.com/v1#part",
        "https://api.groq.com:port/v1",
        "https://api.groq.com:99999/v1",
        "https://[::1/v1",
        "https://api.groq.com/v 1",
        "https://api.groq.com/v1\r\nHost: other",
        "https://api.gr\u00f6q.com/v1",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(ValueError, match="must be https://"):
        validate_base_url(url)
