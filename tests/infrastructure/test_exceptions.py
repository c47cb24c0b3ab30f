"""Where the template does not follow a rule of checkov, ``.checkov.yaml`` says why."""

from __future__ import annotations

import re

import yaml

from tests.infrastructure.stack import PROJECT, source

CONFIGURATION = PROJECT / ".checkov.yaml"


def test_every_skipped_check_has_a_reason():
    lines = CONFIGURATION.read_text("utf-8").splitlines()
    skipped = yaml.safe_load("\n".join(lines))["skip-check"]

    assert len(set(skipped)) == len(skipped) > 0
    for check in skipped:
        assert re.fullmatch(r"CKV2?_AWS_\d+", check)
        reason = lines[lines.index(f"  - {check}") - 1]
        assert re.fullmatch(r"  # .*\.", reason), check
        assert len(reason.split()) >= 8, check


def test_skipped_checks_concern_functions_and_the_bucket_alone():
    """A check that is skipped is skipped for every resource: no kind may have two of them."""
    kinds = [resource["Type"] for resource in source()["Resources"].values()]
    assert kinds.count("AWS::S3::Bucket") == 1


def test_resources_have_no_exceptions_of_their_own():
    """With them `sam build` would make a package for each function instead of one for all."""
    for name, resource in source()["Resources"].items():
        assert "checkov" not in resource.get("Metadata", {}), name
        if resource["Type"] == "AWS::Serverless::Function":
            assert "Metadata" not in resource, name
