"""Where the template does not follow a rule of checkov, it says why, at the resource."""

from __future__ import annotations

import re
from typing import Any

from tests.infrastructure.stack import source


def skipped() -> dict[str, dict[str, str]]:
    """Return the reason of every skipped check, by resource."""
    found: dict[str, dict[str, str]] = {}
    for name, resource in source()["Resources"].items():
        entries: list[dict[str, Any]] = (
            resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
        )
        if entries:
            assert len({one["id"] for one in entries}) == len(entries), name
            found[name] = {one["id"]: one["comment"] for one in entries}
    return found


def test_every_exception_has_a_reason():
    for name, reasons in skipped().items():
        for check, reason in reasons.items():
            assert re.fullmatch(r"CKV2?_AWS_\d+", check), name
            assert reason.endswith("."), (name, check)
            assert len(reason.split()) >= 8, (name, check)


def test_functions_have_the_same_exceptions():
    """`sam build` makes one package for functions whose metadata are the same."""
    functions = {
        name: resource.get("Metadata")
        for name, resource in source()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    first, *others = functions.values()
    assert first
    assert all(one == first for one in others)


def test_nothing_but_functions_and_the_bucket_has_exceptions():
    kinds = {source()["Resources"][name]["Type"] for name in skipped()}
    assert kinds == {"AWS::Serverless::Function", "AWS::S3::Bucket"}
