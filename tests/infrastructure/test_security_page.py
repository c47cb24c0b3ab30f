"""docs/security.md says what the template says."""

from __future__ import annotations

import re

from groq_batch.domain import object_keys
from tests.infrastructure import role_tables
from tests.infrastructure.stack import PROJECT, Stack

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
