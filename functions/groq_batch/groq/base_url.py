"""Decide which addresses of an API are accepted."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def validate_base_url(url: str) -> str:
    """Return a base URL without its trailing slash.

    Raises:
        ValueError: It is neither https nor http on a loopback address, or contains credentials.
    """
    if not is_base_url(url):
        raise ValueError(
            "The base URL of the Groq API must be https://… (or http:// on a loopback address), "
            f"such as https://api.groq.com/openai/v1, not {url[:200]!r}"
        )
    return url.rstrip("/")


def is_base_url(url: str) -> bool:
    """Tell whether a URL is https, or http on a loopback address, and has no credentials."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username is not None or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
