"""template.yaml as CloudFormation gets it: after SAM's transform, with parameters filled in."""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from local import asl

PROJECT = Path(__file__).parents[2]
MACHINE, machine = asl.MACHINE, asl.machine
TEMPLATE = PROJECT / "template.yaml"

WITHOUT_STATEMENT = "TEST_WITHOUT_STATEMENT"
"""Variable that takes a statement from a role (``StartJobFunctionRole/ListUploads``), or one action
of it (``StartJobFunctionRole/ListUploads/s3:ListBucketVersions``), to see which tests miss it; see
``make test-iam``."""

ACCOUNT = "123456789012"
_PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}
_NO_VALUE = object()


class _ManagedPolicies:
    """SAM asks for names of AWS's own policies; the template uses none of its policy templates."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def source() -> dict[str, Any]:
    """Return the template as it is written; not to be changed."""
    parsed: dict[str, Any] = json.loads(json.dumps(yaml_parse(TEMPLATE.read_text("utf-8"))))
    return parsed


@cache
def transformed() -> dict[str, Any]:
    """Return the template after the transform; not to be changed."""
    template = copy.deepcopy(source())
    # What `sam deploy` puts here is the address of an upload.
    template["Globals"]["Function"]["CodeUri"] = "s3://artifacts/functions.zip"
    result: dict[str, Any] = transform(template, {}, _ManagedPolicies())
    return result


def defaults() -> dict[str, str]:
    """Return the parameters' defaults as text, as CloudFormation hands them on."""
    return {name: str(one["Default"]) for name, one in source()["Parameters"].items()}


def references(value: Any) -> Iterator[str]:
    """Yield what a part of the template names, and so is made after: resources and parameters."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        if key == "Ref":
            yield part
        elif key == "DependsOn":
            yield from as_list(part)
        elif key == "Fn::GetAtt":
            yield (part if isinstance(part, str) else part[0]).split(".")[0]
        elif key == "Fn::Sub":
            yield from re.findall(r"\$\{([A-Za-z0-9:]+)", json.dumps(part))
        yield from references(part)


def made_before(template: Mapping[str, Any], name: str) -> set[str]:
    """Return the resources that CloudFormation completes before it begins one, itself included."""
    resources = template["Resources"]
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in resources and one not in found:
            found.add(one)
            waiting.extend(references(resources[one]))
    return found


@dataclass(frozen=True)
class Stack:
    """The resources that a deployment makes.

    Of what only AWS knows the name of the attribute stands in angle brackets: ``<Bucket>`` for its
    ``Ref``, ``<Bucket.Arn>`` for an attribute.
    """

    parameters: dict[str, str]
    resources: dict[str, dict[str, Any]]
    outputs: dict[str, str]

    @classmethod
    def deploy(cls, **parameters: str) -> Stack:
        """Return the stack with the defaults, or with parameters of one's own."""
        return cls.of(transformed(), **parameters)

    @classmethod
    def of(cls, template: Mapping[str, Any], **parameters: str) -> Stack:
        """Return the stack that a transformed template makes."""
        values = {**defaults(), **parameters}
        written = template["Conditions"]
        conditions = {name: _condition(one, values, written) for name, one in written.items()}
        resolver = _Resolver(values, conditions, template["Resources"])
        resources = {
            name: resolver.resolve(resource)
            for name, resource in template["Resources"].items()
            if conditions.get(resource.get("Condition", ""), True)
        }
        outputs = {
            name: resolver.resolve(one["Value"]) for name, one in template["Outputs"].items()
        }
        return cls(values, resources, outputs)

    def properties(self, name: str) -> dict[str, Any]:
        """Return a resource's properties."""
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of every resource of a type, by name."""
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """The properties of every Lambda function."""
        return self.of_type("AWS::Lambda::Function")

    def environment(self, function: str) -> dict[str, str]:
        """Return a function's environment variables."""
        variables: dict[str, str] = self.functions[function]["Environment"]["Variables"]
        return variables

    def role(self, name: str) -> Role:
        """Return what a role may do, policies of their own included."""
        documents = [
            policy["PolicyDocument"] for policy in self.properties(name).get("Policies", [])
        ]
        documents += [
            policy["PolicyDocument"]
            for policy in self.of_type("AWS::IAM::Policy").values()
            if f"<{name}>" in policy["Roles"]
        ]
        written = [one for document in documents for one in as_list(document["Statement"])]
        statements = map(Statement.read, written)
        without = os.environ.get(WITHOUT_STATEMENT, "")
        if without.startswith(f"{name}/"):
            sid, _, action = without.removeprefix(f"{name}/").partition("/")
            statements = (one.without(action) if one.sid == sid else one for one in statements)
        return Role(tuple(statements))

    @property
    def roles(self) -> dict[str, Role]:
        """What every role may do."""
        return {name: self.role(name) for name in self.of_type("AWS::IAM::Role")}


def _condition(value: Any, parameters: Mapping[str, str], written: Mapping[str, Any]) -> bool:
    """Return what a condition of the template comes to; knows those that the template uses."""
    ((operator, arguments),) = value.items()
    if operator == "Condition":
        return _condition(written[arguments], parameters, written)
    if operator == "Fn::Not":
        return not _condition(arguments[0], parameters, written)
    if operator == "Fn::And":
        return all(_condition(one, parameters, written) for one in arguments)
    if operator == "Fn::Equals":
        left, right = (_text(one, parameters) for one in arguments)
        return bool(left == right)
    raise NotImplementedError(operator)


def _text(value: Any, parameters: Mapping[str, str]) -> Any:
    """Return what a condition compares: a text, or a list that it splits one into."""
    if not isinstance(value, dict):
        return value
    ((function, arguments),) = value.items()
    if function == "Ref":
        return parameters[arguments]
    if function == "Fn::Split":
        return _text(arguments[1], parameters).split(arguments[0])
    if function == "Fn::Join":
        return str(arguments[0]).join(_text(arguments[1], parameters))
    raise NotImplementedError(function)


@dataclass(frozen=True)
class _Resolver:
    parameters: Mapping[str, str]
    conditions: Mapping[str, bool]
    resources: Mapping[str, Any]

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            parts = [self.resolve(one) for one in value]
            return [one for one in parts if one is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._reference(argument)
            if name == "Fn::GetAtt":
                return self._attribute(argument)
            if name == "Fn::Sub":
                text = re.sub(
                    r"\$\{([^}]+)\}", lambda match: str(self._reference(match[1])), argument
                )
                return text.replace("arn:aws:s3:::<Bucket>", "<Bucket.Arn>")
            if name == "Fn::If":
                chosen = argument[1] if self.conditions[argument[0]] else argument[2]
                return self.resolve(chosen)
            if name.startswith("Fn::"):
                raise NotImplementedError(name)
        resolved = {name: self.resolve(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not _NO_VALUE}

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        if "." in name:
            return self._attribute(name)
        return self.parameters.get(name, f"<{name}>")

    def _attribute(self, argument: str | list[str]) -> Any:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        resource = self.resources[name]
        if resource["Type"] == "AWS::SSM::Parameter" and attribute == "Value":
            return self.resolve(resource["Properties"]["Value"])
        return f"<{name}.{attribute}>"


# -- permissions ---------------------------------------------------------------------------------


def as_list(value: Any) -> list[Any]:
    """Return a list as it is and anything else as a list of one, as policies mean it."""
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Statement:
    """One statement of a policy."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    @classmethod
    def read(cls, statement: Mapping[str, Any]) -> Statement:
        """Read what a policy says; nothing is denied, and nothing is all but something."""
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & set(statement)
        return cls(
            sid=statement["Sid"],
            actions=tuple(as_list(statement["Action"])),
            resources=tuple(as_list(statement["Resource"])),
            conditions=tuple(
                (operator, key, tuple(as_list(values)))
                for operator, keys in statement.get("Condition", {}).items()
                for key, values in keys.items()
            ),
        )

    def without(self, action: str) -> Statement:
        """Return the statement without one of its actions, or without any when none is named."""
        kept = tuple(one for one in self.actions if action and one != action)
        return dataclasses.replace(self, actions=kept)

    def allows(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Tell whether a call would pass by this statement."""
        return (
            action in self.actions
            and any(fnmatch.fnmatchcase(resource, _pattern(one)) for one in self.resources)
            and all(_holds(*condition, context) for condition in self.conditions)
        )


def _pattern(text: str) -> str:
    """Return an IAM pattern for ``fnmatch``, to which square brackets mean something as well."""
    return text.replace("[", "[[]")


def _holds(operator: str, key: str, values: Iterable[str], context: Mapping[str, str]) -> bool:
    given = context.get(key)
    if given is None:
        return operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    if operator == "StringEquals":
        return given in values
    if operator == "StringLike":
        return any(fnmatch.fnmatchcase(given, _pattern(one)) for one in values)
    raise NotImplementedError(operator)


@dataclass(frozen=True)
class Role:
    """What the inline policies of a role allow. There are no statements that deny."""

    statements: tuple[Statement, ...]

    def allows(self, action: str, resource: str, **context: str) -> bool:
        """Tell whether a call would pass.

        Args:
            action: Such as ``s3:GetObject``.
            resource: An ARN, as in ``Stack``.
            context: Condition keys; ``s3_prefix`` stands for ``s3:prefix``. Resources are of the
                stack's own account unless ``aws_ResourceAccount`` says otherwise.
        """
        given = {name.replace("_", ":", 1): value for name, value in context.items()}
        given.setdefault("aws:ResourceAccount", ACCOUNT)
        return any(one.allows(action, resource, given) for one in self.statements)

    def grants(self) -> Iterator[tuple[str, str]]:
        """Yield every action with everything that it is granted on, prefixes of lists included."""
        for statement in self.statements:
            prefixes = [
                value
                for _, key, values in statement.conditions
                if key == "s3:prefix"
                for value in values
            ]
            for action in statement.actions:
                for resource in statement.resources:
                    if prefixes:
                        yield from ((action, f"{resource}/{prefix}") for prefix in prefixes)
                    else:
                        yield action, resource
