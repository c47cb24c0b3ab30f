"""Run all checks in display order, so that each one runs after those that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.doctor import account, bucket, deployment, groq, jobs
from groq_batch_cli.doctor.findings import Finding, Look
from groq_batch_cli.stack_version import OUTPUT as VERSION_OUTPUT


class Checklist:
    """The checks of one stack.

    Attributes:
        stack: The stack, once found.
    """

    def __init__(self, target: Target, now: datetime) -> None:
        """Check the stack of a target, at the time ``now``."""
        self._target = target
        self._now = now
        self.stack: Stack | None = None

    def run(self) -> Iterator[Finding]:
        """Yield the findings; stop if credentials, the region or the stack are missing."""
        for look in (
            Look(account.CREDENTIALS, "", self._look_at_credentials),
            Look(account.REGION, "", self._look_at_region),
        ):
            findings = look()
            yield from findings
            if not all(finding.is_well for finding in findings):
                return
        yield from Look(deployment.STACK, "cloudformation:DescribeStacks", self._connect)()
        if self.stack is not None:
            for one in looks_at(self.stack, self._now):
                yield from one()

    def _look_at_credentials(self) -> Sequence[Finding]:
        return [account.look_at_credentials(self._target.session())]

    def _look_at_region(self) -> Sequence[Finding]:
        return [account.look_at_region(self._target.session())]

    def _connect(self) -> Sequence[Finding]:
        self.stack = connect(self._target, warns=False)
        return [deployment.look_at_stack(self.stack)]


def looks_at(stack: Stack, now: datetime) -> Iterator[Look]:
    """Yield the checks of a stack.

    Args:
        stack: The stack.
        now: The current time.
    """
    yield _look(account.CALLER, "", lambda: account.look_at_caller(stack.client("sts")))
    yield _look(deployment.VERSION, "", lambda: deployment.look_at_version(stack))
    yield _look(
        bucket.VERSIONING,
        "s3:GetBucketVersioning on the bucket",
        lambda: bucket.look_at_versioning(stack),
    )
    yield _look(
        bucket.EVENTS,
        "s3:GetBucketNotification on the bucket",
        lambda: bucket.look_at_events(stack),
    )
    invoke = "lambda:InvokeFunction on the function CheckStatusFunctionName"
    yield Look(bucket.WRITES, invoke, lambda: [*bucket.look_at_writes(stack)])
    yield _look(
        groq.KEY_STORE,
        "secretsmanager:DescribeSecret on the secret (not its value)",
        lambda: groq.look_at_secret(stack),
    )
    yield Look(groq.KEY_AND_PLAN, invoke, lambda: _groq(stack))
    yield _look(
        account.CONCURRENCY,
        "lambda:GetAccountSettings",
        lambda: account.look_at_concurrency(stack),
    )
    schedules = "cloudformation:DescribeStackResources on the stack, scheduler:GetSchedule"
    yield _look(deployment.SCHEDULE, schedules, lambda: deployment.look_at_schedule(stack))
    yield _look(deployment.RECONCILER, schedules, lambda: deployment.look_at_reconciler(stack))
    yield _look(
        deployment.DEAD_LETTERS,
        "sqs:GetQueueAttributes on the queue DeadLetterQueueUrl",
        lambda: deployment.look_at_dead_letters(stack),
    )
    yield _look(
        jobs.OPEN_JOBS,
        "s3:ListBucket on the bucket, s3:GetObject on work/*",
        lambda: jobs.look_at_open_jobs(stack, now),
    )
    yield _look(
        jobs.MAP_RUN,
        "s3:ListBucket on the bucket, states:GetExecutionHistory on the stack's executions, "
        "kms:Decrypt on the stack's key if it has one",
        lambda: jobs.look_at_map_run(stack),
    )


def _look(name: str, permission: str, find: Callable[[], Finding]) -> Look:
    return Look(name, permission, lambda: [find()])


def _groq(stack: Stack) -> Sequence[Finding]:
    return [
        *groq.groq_findings(
            groq.examine(stack),
            secret=stack.parameters["GroqApiKeySecretName"],
            checks_models=stack.parameters.get("CheckModels") != "false",
            stack_version=stack.outputs.get(VERSION_OUTPUT),
        )
    ]
