"""Writes the tables of roles in docs/security.md from the template.

    python -m tests.infrastructure.role_tables

A test fails when the page and the template have drifted apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from tests.infrastructure.stack import ACCOUNT, PROJECT, Stack, Statement

PAGE = PROJECT / "docs" / "security.md"
BEGIN = "<!-- tables of roles: written by `make roles` -->"
END = "<!-- end of the tables of roles -->"

_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/key-id"
_GIVEN = "given-bucket"
_NAMES = (
    (_KEY, "`KmsKeyArn`"),
    (f"arn:aws:s3:::{_GIVEN}", "BUCKET"),
    ("arn:aws:s3:::<Bucket>", "BUCKET"),
    ("<Bucket.Arn>", "BUCKET"),
    ("groq/api-key", "GroqApiKeySecretName"),
    (f"arn:aws:events:us-east-1:{ACCOUNT}:", ""),
    (f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:", ""),
    (f"arn:aws:states:us-east-1:{ACCOUNT}:", ""),
    (".us-east-1.amazonaws.com", ""),
)
_OPTIONAL = {
    "CheckBucket": "`ExistingBucketName`",
    "UseKey": "`KmsKeyArn`",
    "UseKeyForExecutions": "`KmsKeyArn`",
}
_SAID_ABOVE = "aws:ResourceAccount"
"""The page says of all statements on the bucket that they have this condition."""


def statements() -> dict[str, tuple[Statement, ...]]:
    """Return the statements of every role, those of optional parameters included."""
    stack = Stack.deploy(
        KmsKeyArn=_KEY, ExistingBucketName=_GIVEN, NotificationEmail="team@example.com"
    )
    return {name: role.statements for name, role in stack.roles.items()}


def shown(resource: str) -> str:
    """Return a resource as the page shows it: without account and region, the bucket as BUCKET."""
    for text, name in _NAMES:
        resource = resource.replace(text, name)
    return re.sub(r"<(\w+)(?:\.\w+)?>", r"\1", resource).strip("`")


def tables() -> str:
    """Return the tables: what all functions may do, then what each role may do beyond it."""
    roles = statements()
    functions = [name for name in roles if name.endswith("FunctionRole")]
    common = [one for one in roles[functions[0]] if all(one in roles[name] for name in functions)]
    parts = ["### Every function", "", *_table(common)]
    for name, own in roles.items():
        rest = [one for one in own if name not in functions or one not in common]
        parts += ["", f"### {name}", "", *_table(rest)]
    return "\n".join(parts)


def _table(rows: Iterable[Statement]) -> Iterator[str]:
    yield "| statement | actions | on |"
    yield "|---|---|---|"
    for one in rows:
        yield f"| {_sid(one)} | {_code(one.actions)} | {_on(one)} |"


def _sid(statement: Statement) -> str:
    parameter = _OPTIONAL.get(statement.sid)
    return statement.sid + (f" (only with {parameter})" if parameter else "")


def _on(statement: Statement) -> str:
    text = _code(map(shown, statement.resources))
    for _, key, values in statement.conditions:
        if key != _SAID_ABOVE:
            text += f", `{key}` like {_code(map(shown, values))}"
    return text


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in texts)


def page_with(page: str, written: str) -> str:
    """Return the page with other tables in their place.

    Raises:
        ValueError: The page has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def main() -> None:
    """Write the tables into the page."""
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"  # The transform asks for one.
    PAGE.write_text(page_with(PAGE.read_text("utf-8"), tables()), "utf-8")


if __name__ == "__main__":
    main()
