"""Environments for the emulator, the SAM CLI and boto3, without anything of a real account."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""Folder of the project: where template.yaml is."""

CACHE_FOLDER = PROJECT_ROOT / ".local"
"""Folder for data that is kept between runs (git-ignored)."""

REGION = "us-east-1"

ROOT_ACCESS_KEY = "test"
"""The access key that the emulator treats as the account's root user."""

ROOT_SECRET_KEY = "test"  # noqa: S105 - the emulator's own, opens nothing else

_PASSED_ON = (
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "http_proxy",
    "https_proxy",
)
"""Variables that started programs may need. All others are dropped, above all keys."""

_PACKAGE_INSTALLER_PREFIXES = ("PIP_", "UV_")


def remove_older(parent: Path, seconds: float) -> None:
    """Remove the folders in a folder that have not changed for some seconds."""
    oldest = time.time() - seconds
    for folder in parent.iterdir():
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def plain_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the part of the caller's environment that a started program gets: no secrets, no AWS.

    Args:
        environ: The caller's environment; the process's own when not given.
    """
    source = os.environ if environ is None else environ
    result = {name: source[name] for name in _PASSED_ON if name in source}
    # Proxies are for the real API; servers on this machine are reached directly.
    no_proxy = [source.get("NO_PROXY") or source.get("no_proxy") or "", "127.0.0.1,localhost"]
    result["NO_PROXY"] = result["no_proxy"] = ",".join(part for part in no_proxy if part)
    result["PYTHONUNBUFFERED"] = "1"
    return result


def aws_environment(
    endpoint_url: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of AWS tools, with the emulator's root user as the only identity.

    Args:
        endpoint_url: The emulator; left out for tools that make no calls, such as ``sam build``.
        environ: The caller's environment; the process's own when not given.
    """
    result = plain_environment(environ)
    result.update(
        AWS_ACCESS_KEY_ID=ROOT_ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=ROOT_SECRET_KEY,
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    if endpoint_url is not None:
        result["AWS_ENDPOINT_URL"] = endpoint_url
    return result


def sam_environment(
    settings_folder: Path,
    endpoint_url: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of the SAM CLI, with telemetry and version checks off.

    Args:
        settings_folder: Where the SAM CLI keeps its settings and temporary files, some of which it
            leaves behind; is created.
        endpoint_url: The emulator, for commands that make calls.
        environ: The caller's environment; the process's own when not given.
    """
    source = os.environ if environ is None else environ
    temporary = settings_folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    # A version check that is not due is skipped; it would be the only call to the internet.
    checked = {"telemetryEnabled": False, "lastVersionCheck": time.time()}
    (settings_folder / "metadata.json").write_text(json.dumps(checked), encoding="utf-8")
    result = aws_environment(endpoint_url, environ)
    result.update(
        {
            name: value
            for name, value in source.items()
            if name.startswith(_PACKAGE_INSTALLER_PREFIXES)
        }
    )
    result["TMPDIR"] = str(temporary)
    result["SAM_CLI_TELEMETRY"] = "0"
    # Seconds between two polls of a deployment; the default of 5 suits AWS's speed.
    result["SAM_CLI_POLL_DELAY"] = "0.5"
    result["__SAM_CLI_APP_DIR"] = str(settings_folder)
    return result
