"""Plain ``sam build`` and ``sam deploy``: the template is sound, and nothing is asked for."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint_file

from tests.infrastructure.stack import PROJECT, TEMPLATE, references, source, transformed
from tests.infrastructure.test_parameters import accepts

CONFIGURATION: dict[str, Any] = tomllib.loads(
    (PROJECT / "samconfig.toml").read_text(encoding="utf-8")
)
ENVIRONMENTS = ["default", "dev", "prod"]


def test_linter_finds_nothing():
    found = lint_file(TEMPLATE, config=ManualArgs(regions=["us-east-1", "eu-central-1"]))
    assert [str(one) for one in found] == []


def test_template_is_ascii():
    """CloudFormation answers with a question mark for any other character.

    `sam deploy` prints the outputs' descriptions so:
    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/814
    """
    assert TEMPLATE.read_text("utf-8").isascii()


def test_no_check_of_the_linter_is_switched_off():
    assert "cfn-lint" not in source().get("Metadata", {})
    assert not any("cfn-lint" in one.get("Metadata", {}) for one in source()["Resources"].values())


def test_no_resource_waits_for_itself():
    resources = transformed()["Resources"]
    needed = {
        name: set(references(resource)) & set(resources) for name, resource in resources.items()
    }
    assert not any(name in others for name, others in needed.items())
    made: set[str] = set()
    while len(made) < len(resources):
        ready = {name for name, others in needed.items() if others <= made} - made
        assert ready, f"a circle among {sorted(set(resources) - made)}"
        made |= ready


def test_every_environment_has_a_stack_of_its_own():
    assert sorted(set(CONFIGURATION) - {"version"}) == sorted(ENVIRONMENTS)
    names = [CONFIGURATION[one]["global"]["parameters"]["stack_name"] for one in ENVIRONMENTS]
    assert names == ["groq-batch", "groq-batch-dev", "groq-batch-prod"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_deploy_needs_no_option_and_asks_nothing(environment: str):
    deploy = CONFIGURATION[environment]["deploy"]["parameters"]
    assert deploy["resolve_s3"] is True
    # Enough for roles and policies without names of their own.
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert deploy["confirm_changeset"] is False
    assert deploy["fail_on_empty_changeset"] is False
    assert CONFIGURATION[environment]["build"]["parameters"] == {"cached": True, "parallel": True}
    assert CONFIGURATION[environment]["validate"]["parameters"] == {"lint": True}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_overrides_are_parameters_of_the_template(environment: str):
    deploy = CONFIGURATION[environment]["deploy"]["parameters"]
    for override in deploy.get("parameter_overrides", "").split():
        name, _, value = override.partition("=")
        assert accepts(name, value)
        # What is built for has to be said to both, or native packages do not fit.
        assert name not in ("PythonRuntime", "Architecture")


def test_roles_need_no_further_capability():
    for resource in transformed()["Resources"].values():
        assert "RoleName" not in resource["Properties"]
        assert not resource["Type"].startswith("AWS::CloudFormation::")
