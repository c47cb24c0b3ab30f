"""Check the secret, and let the stack test its key and plan at Groq."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import error_code
from groq_batch.domain.examination import Examination
from groq_batch.domain.json_data import from_json_data
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, unknown, well
from groq_batch_cli.doctor.function import invoke_doctor
from groq_batch_cli.errors import CommandError
from groq_batch_client.text import counted, one_line, shorten

KEY_STORE = "secret"
KEY_AND_PLAN = "key and plan"
KEY = "key"
PLAN = "plan"
BATCH_LIST = "Groq's list of batches"
FUNCTION_VERSION = "version of the functions"

_LONGEST_CODE = 64
_YES = "yes"
_ORDERS = {
    "newest_first": "newest first",
    "oldest_first": "oldest first",
    "mixed": "not sorted by date",
}
_REMEDIES = {
    "invalid_api_key": "Put a valid key into the secret {secret} (docs/operations.md, Rotate the "
    "key); the functions use it within five minutes.",
    "plan_required": "The account's plan has no Batch API. Upgrade it to the Developer tier in the "
    "Groq console.",
    "permission_denied": "Check the rights of the key and of its project in the Groq console, and "
    "the stack's parameter GroqBaseUrl.",
    "spend_limit": "Raise the spend limit in the Groq console, or wait until it resets on the "
    "first of the month.",
    "secret_missing": "Create the secret {secret} with the key, or deploy with the name of yours "
    "as GroqApiKeySecretName.",
    "secret_unreadable": "Store the bare key in the secret {secret}, or JSON with the field "
    "GROQ_API_KEY; if a KMS key encrypts it, allow the role CheckStatusFunctionRole kms:Decrypt.",
}
_TRY_AGAIN = (
    "Try again in some minutes; https://groqstatus.com says whether Groq has an outage. If the "
    "error stays, check the log of the functions and the parameter GroqBaseUrl."
)


def look_at_secret(stack: Stack) -> Finding:
    """Check that the secret exists, without reading its value."""
    name = stack.parameters["GroqApiKeySecretName"]
    try:
        described = stack.client("secretsmanager").describe_secret(SecretId=name)
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return to_do(
            KEY_STORE,
            f"there is no {name} in this region",
            f"aws secretsmanager create-secret --name {name} --secret-string file://KEYFILE, or "
            f"deploy with the name of yours as GroqApiKeySecretName.",
        )
    if described.get("DeletedDate") is not None:
        return to_do(
            KEY_STORE,
            f"{name} is scheduled for deletion and cannot be read",
            f"aws secretsmanager restore-secret --secret-id {name}",
        )
    changed = described.get("LastChangedDate")
    return well(KEY_STORE, f"{name}, changed {changed:%Y-%m-%d}" if changed else name)


def examine(stack: Stack) -> Examination:
    """Invoke the status function, which calls Groq.

    Raises:
        CommandError: The function has an older version, or it fails.
    """
    answer = invoke_doctor(stack, True)
    try:
        return from_json_data(answer, Examination)
    except ValueError:
        text = "The function's response cannot be read. Deploy the stack again."
        raise CommandError(text) from None


def groq_findings(
    found: Examination, *, secret: str, checks_models: bool, stack_version: str | None
) -> Iterator[Finding]:
    """Yield the findings from the function's response.

    Args:
        found: The response.
        secret: The name of the secret.
        checks_models: Whether the stack checks requests against the model list.
        stack_version: The version in the outputs of the stack.
    """
    if found.version is not None and stack_version is not None and found.version != stack_version:
        yield to_do(
            FUNCTION_VERSION,
            f"they run {_code(found.version)}, and the stack says {_code(stack_version)}",
            "Deploy the stack again, after sam build.",
        )
    takes_batches = found.batches == _YES
    if found.models == _YES:
        yield well(KEY, "Groq accepts it")
    elif takes_batches and not checks_models:
        yield well(KEY, "Groq accepts it, but lists no models; CheckModels=false needs none")
    elif takes_batches:
        yield to_do(
            KEY,
            f"Groq accepts it, but lists no models ({_code(found.models)}), so nothing checks them",
            "Allow the key to list models in the Groq console, or deploy with CheckModels=false.",
        )
    else:
        yield _refusal(KEY, found.models, secret)
    if takes_batches:
        yield well(PLAN, "Groq lists batches")
        yield judge_batch_list(found)
    else:
        yield _refusal(PLAN, found.batches, secret)


def judge_batch_list(found: Examination) -> Finding:
    """Show whether the list of batches has pages, and its sort order.

    The stack handles any of them. With few batches the response shows neither.
    """
    number = found.batches_listed or 0
    listed = counted(number, "batch", "batches")
    order = _ORDERS.get(found.order or "")
    pages = "more pages by cursor" if found.has_next_page else "one page"
    if order is None and not found.has_next_page:
        return unknown(BATCH_LIST, f"{listed} on one page: too few to show pages and order")
    return well(BATCH_LIST, f"{listed}, {order or 'order unclear'}, {pages}")


def _refusal(name: str, code: str, secret: str) -> Finding:
    remedy = _REMEDIES.get(code, _TRY_AGAIN).format(secret=secret)
    return to_do(name, f"the call to Groq failed: {_code(code)}", remedy)


def _code(text: str) -> str:
    return shorten(one_line(text), _LONGEST_CODE)
