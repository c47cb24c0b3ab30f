"""Offer shell completions: paths of jobs, and models with a known price.

Completion must be quick and must not fail: without credentials, or if AWS does not answer at once,
it offers nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

_REPORTS = "reports/"
_REPORT_ENDING = ".json"
_SECONDS = 2.0
_MAX_PATHS = 300
_KEPT_SECONDS = 3600.0
"""How long to cache the bucket name of a stack, which rarely changes."""


def complete_model(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the models of the price list."""
    table = files("groq_batch.domain").joinpath("prices.json").read_text("utf-8")
    models = json.loads(table)["models"]
    return [CompletionItem(name) for name in models if name.startswith(incomplete)]


def complete_job(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the paths of jobs that begin with the typed text."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to import

    from groq_batch_client.errors import GroqBatchError  # noqa: PLC0415

    try:
        return [CompletionItem(path) for path in _paths(context.params, incomplete)]
    except (BotoCoreError, ClientError, GroqBatchError, OSError):
        # The command itself will report the error.
        return []


def _paths(params: dict[str, Any], begun: str) -> Iterator[str]:
    from groq_batch_cli.targets import choose_target  # noqa: PLC0415 - as above

    target = choose_target(
        stack_name=params.get("stack_name"),
        region=params.get("region"),
        profile=params.get("profile"),
        endpoint_url=params.get("endpoint_url"),
        local=bool(params.get("local")),
    )
    session = target.session()
    if session.get_credentials() is None:
        return
    bucket = _bucket(session, target)
    found = _client(session, target, "s3").list_objects_v2(Bucket=bucket, Prefix=_REPORTS + begun)
    keys = (entry["Key"] for entry in found.get("Contents", []))
    paths = [
        key.removeprefix(_REPORTS).removesuffix(_REPORT_ENDING)
        for key in keys
        if key.endswith(_REPORT_ENDING)
    ]
    yield from paths[:_MAX_PATHS]


def _client(session: Any, target: Any, service: str) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(retries={"max_attempts": 0}, connect_timeout=_SECONDS, read_timeout=_SECONDS)
    return session.client(service, endpoint_url=target.endpoint_url, config=config)


def _bucket(session: Any, target: Any) -> str:
    """Return the bucket of a stack, from a cache on this machine if recent."""
    place = _cache_file()
    name = json.dumps([target.stack_name, target.region, target.profile, target.endpoint_url])
    kept = _read(place)
    entry = kept.get(name)
    now = time.time()
    if entry is not None and now - entry["at"] < _KEPT_SECONDS:
        return str(entry["bucket"])
    found = _client(session, target, "cloudformation").describe_stacks(StackName=target.stack_name)[
        "Stacks"
    ][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    bucket = str(outputs.get("BucketName", ""))
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({**kept, name: {"bucket": bucket, "at": now}}), encoding="utf-8")
    draft.replace(place)
    return bucket


def _cache_file() -> Path:
    """Return the cache file: https://specifications.freedesktop.org/basedir-spec/latest/."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "groq-batch" / "stacks.json"


def _read(place: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return kept
