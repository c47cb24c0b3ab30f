"""Select the stack from the command-line options and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from groq_batch_cli.aws import Target
from groq_batch_cli.local_choice import running_state
from groq_batch_cli.local_state import LocalState
from groq_batch_client.stack import DEFAULT_STACK_NAME, STACK_VARIABLE


def choose_target(
    *,
    stack_name: str | None,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
    local: bool,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Return the stack that a command is for.

    Args:
        stack_name: The option ``--stack-name``.
        region: The option ``--region``.
        profile: The option ``--profile``.
        endpoint_url: The option ``--endpoint-url``.
        local: The option ``--local``.
        environ: The environment; that of the process if not given.

    Raises:
        CommandError: ``--local`` is given, and no emulated stack is running or several are.
    """
    environ = os.environ if environ is None else environ
    given = {
        "--stack-name": stack_name,
        "--region": region,
        "--profile": profile,
        "--endpoint-url": endpoint_url,
    }
    options = [part for name, value in given.items() if value is not None for part in (name, value)]
    if local:
        named = ["--stack-name", stack_name] if stack_name is not None else []
        return local_target(running_state(), stack_name, options=("--local", *named))
    return Target(
        stack_name=stack_name or environ.get(STACK_VARIABLE) or DEFAULT_STACK_NAME,
        # As in the AWS CLI; boto3 itself reads AWS_DEFAULT_REGION only.
        region=region or environ.get("AWS_REGION") or None,
        profile=profile,
        endpoint_url=endpoint_url,
        options=tuple(options),
    )


def local_target(
    state: LocalState, stack_name: str | None = None, *, options: tuple[str, ...] = ()
) -> Target:
    """Return an emulated stack of this machine as the target of a command."""
    return Target(
        stack_name=stack_name or state.stack_name,
        region=state.region,
        endpoint_url=state.endpoint_url,
        access_key=(state.access_key, state.secret_key),
        options=options,
    )
