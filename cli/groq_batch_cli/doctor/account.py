"""Check the caller and the limits of the account."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, unknown, well

CREDENTIALS = "credentials"
CALLER = "caller"
REGION = "region"
CONCURRENCY = "Lambda's concurrency"

NEEDED_CONCURRENCY = 20
"""Ten for the Map of a job, and ten for everything else
(docs/operations.md, Capacity and quotas)."""


def look_at_credentials(session: Any) -> Finding:
    """Check that there are credentials, without calling AWS."""
    credentials = session.get_credentials()
    if credentials is None:
        return to_do(
            CREDENTIALS,
            "there are none",
            "Sign in (aws sso login, aws configure), or name a profile with --profile. For the "
            "emulated stack of this machine add --local.",
        )
    return well(CREDENTIALS, f"found ({credentials.method})")


def look_at_caller(sts: Any) -> Finding:
    """Check that AWS accepts the credentials, and show whose they are.

    The call needs no permission:
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    return well(CALLER, str(sts.get_caller_identity()["Arn"]))


def look_at_region(session: Any) -> Finding:
    """Check that a region is set, and show it."""
    region = session.region_name
    if region is None:
        return to_do(REGION, "none is set", "Set it with --region or AWS_REGION.")
    return well(REGION, str(region))


def look_at_concurrency(stack: Stack) -> Finding:
    """Check that the account allows enough concurrent functions."""
    client = stack.client("lambda")
    limits = client.get_account_settings()["AccountLimit"]
    if is_loopback(client.meta.endpoint_url):
        return unknown(CONCURRENCY, "not known here: an emulator has no account limit")
    limit = int(limits["ConcurrentExecutions"])
    # The part that is not reserved for single functions, which the stack shares.
    unreserved = int(limits["UnreservedConcurrentExecutions"])
    text = f"{limit:,} at a time, {unreserved:,} of them not reserved"
    if unreserved >= NEEDED_CONCURRENCY:
        return well(CONCURRENCY, text)
    if limit >= NEEDED_CONCURRENCY:
        advice = "Reserve less for single functions"
    else:
        advice = (
            "Raise the quota in Service Quotas (aws service-quotas "
            "request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
            "--desired-value 1000)"
        )
    return to_do(
        CONCURRENCY,
        text,
        f"{advice}: a job uses up to 10, and with fewer than {NEEDED_CONCURRENCY} in all its "
        f"steps wait for each other and for the account's other functions.",
    )


def is_loopback(url: str) -> bool:
    """Tell whether a URL is on this machine, where only an emulator can be."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
