"""docs/security.md says what the template says."""

from __future__ import annotations

import re

from groq_batch.domain import object_keys
from tests.infrastructure import role_tables
from tests.infrastructure.stack import PROJECT, Stack, transformed

TOP_PREFIX = re.compile(r"BUCKET/([a-z]+|work/open)/\*")


def page() -> str:
    return role_tables.PAGE.read_text("utf-8")


def section(heading: str) -> str:
    """Return the text below a heading."""
    _, _, rest = page().partition(f"# {heading}\n")
    assert rest, heading
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(heading: str) -> list[str]:
    """Return what stands in the first column of a section's table."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [line.split("|")[1].strip() for line in lines[1:]]


def test_tables_of_roles_are_those_of_the_template():
    """When this fails: ``make roles``."""
    assert role_tables.page_with(page(), role_tables.tables()) == page()


def test_every_star_is_explained_and_no_other():
    cells = first_column("What still has a star")
    explained = {one.strip("`") for cell in cells for one in cell.split(", ")}
    found = {
        role_tables.shown(resource)
        for statements in role_tables.statements().values()
        for statement in statements
        for resource in statement.resources
        if re.search(r"[*?]", role_tables.shown(resource))
    }
    generic = {"BUCKET/<prefix>/*" if TOP_PREFIX.fullmatch(one) else one for one in found}
    assert generic == explained


def test_every_prefix_of_the_bucket_is_accounted_for():
    stored = " ".join(first_column("What is stored where, and for how long"))
    prefixes = {
        value for name, value in vars(object_keys).items() if re.fullmatch(r"[A-Z]+_PREFIX", name)
    }
    assert len(prefixes) == 9
    for prefix in prefixes:
        assert f"`{prefix}`" in stored, prefix


def test_times_are_those_of_the_template():
    stack = Stack.deploy()
    text = section("What is stored where, and for how long")
    assert f"`LogRetentionDays` ({stack.properties('LogGroup')['RetentionInDays']})" in text
    rules = {
        one["Id"]: one for one in stack.properties("Bucket")["LifecycleConfiguration"]["Rules"]
    }
    work, reports = rules["work-expires"], rules["old-reports-expire"]
    assert f"`WorkRetentionDays` ({work['ExpirationInDays']}), and a day more" in text
    assert work["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert reports["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    queue_days = stack.properties("DeadLetterQueue")["MessageRetentionPeriod"] / 86_400
    assert queue_days == 14


def test_functions_that_read_the_key_are_counted():
    readers = [
        name
        for name, role in Stack.deploy().roles.items()
        if any(action == "secretsmanager:GetSecretValue" for action, _ in role.grants())
    ]
    assert len(readers) == 6
    assert "read from Secrets Manager by the six functions that call Groq" in page()


def test_who_can_read_prompts_is_said():
    keys = ("input/x.jsonl", "output/x.jsonl", "work/job/shards/attempt-1/00001.jsonl")
    stack = Stack.deploy(ExistingBucketName="bucket")
    readers = {
        name
        for name, role in stack.roles.items()
        if any(role.allows("s3:GetObject", f"arn:aws:s3:::bucket/{key}") for key in keys)
    }
    of_functions = {name for name in stack.roles if name.endswith("FunctionRole")}
    assert readers == of_functions - {"StartJobFunctionRole"}
    text = section("What is stored where, and for how long")
    assert "The roles of all functions but StartJobFunction" in text


def test_what_the_key_encrypts_is_listed():
    key = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c"
    stack = Stack.deploy(KmsKeyArn=key, NotificationEmail="team@example.com")
    kinds = {
        resource["Type"].rsplit("::", 1)[-1]
        for resource in stack.resources.values()
        if key in str(resource["Properties"]) and "IAM" not in resource["Type"]
    }
    assert kinds == {"Bucket", "LogGroup", "Queue", "Topic", "StateMachine"}
    named = section("Encryption").replace("\n", " ")
    assert "the bucket, the log group, the queue, the topic and the state machine" in named


def test_targets_that_the_page_names_exist():
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", page()):
        assert f"\n{target}:" in makefile, target


IAM_SERVICES = {"StepFunctions": "states"}
"""The services whose prefix in IAM is not their name in CloudFormation."""

HANDLED_BY = {
    "AWS::IAM::Role": (
        "iam:CreateRole iam:DeleteRole iam:DeleteRolePermissionsBoundary iam:DeleteRolePolicy "
        "iam:GetRole iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies "
        "iam:PutRolePermissionsBoundary iam:PutRolePolicy iam:TagRole iam:UntagRole "
        "iam:UpdateAssumeRolePolicy iam:UpdateRole"
    ),
    "AWS::SSM::Parameter": (
        "ssm:AddTagsToResource ssm:DeleteParameter ssm:GetParameters ssm:PutParameter "
        "ssm:RemoveTagsFromResource"
    ),
}
"""What CloudFormation calls for a resource, by the ``handlers`` of its schema (``aws cloudformation
describe-type``), without managed policies of roles, which the template does not have."""


def permitted(text: str) -> set[str]:
    """Return the actions of a table, in whose cells only the first has its service."""
    found = set()
    for line in text.splitlines():
        service = ""
        for named in re.findall(r"`(?:([a-z0-9]+):)?([A-Z]\w+)`", line):
            service = named[0] or service
            found.add(f"{service}:{named[1]}")
    return found


def test_who_may_deploy_names_the_service_of_every_kind_of_resource():
    kinds = {resource["Type"].split("::")[1] for resource in transformed()["Resources"].values()}
    text = section("Who may deploy")
    for kind in kinds:
        assert re.search(f"`{IAM_SERVICES.get(kind, kind.lower())}[:`]", text), kind


def test_who_may_deploy_permits_what_cloudformation_calls():
    kinds = {resource["Type"] for resource in transformed()["Resources"].values()}
    for kind, actions in HANDLED_BY.items():
        assert kind in kinds
        assert set(actions.split()) <= permitted(section("Who may deploy")), kind


def test_who_may_deploy_names_resources_whose_names_do_not_begin_with_the_stacks():
    text = section("Who may deploy")
    # https://github.com/aws/aws-sam-cli/issues/2022
    assert "StateMachineName" not in transformed()["Resources"]["BatchJob"]["Properties"]
    assert "`BatchJob-*`" in text
    for name, resource in transformed()["Resources"].items():
        assert resource["Type"] != "AWS::SSM::Parameter" or "Name" not in resource["Properties"]
        if resource["Type"] == "AWS::Scheduler::Schedule":
            assert f"`{name}-*`" in text
    assert "`parameter/CFN-*`" in text
