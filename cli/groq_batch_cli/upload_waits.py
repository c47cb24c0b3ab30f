"""Explain why the uploads of a stack wait, and what starts them."""

from __future__ import annotations

from groq_batch_cli.aws import Stack


def reason_to_wait(stack: Stack) -> str | None:
    """Return why uploads do not start jobs at once; None if they do."""
    if stack.is_paused:
        return (
            f"The stack {stack.name} is paused: uploads wait, and no job is started. {_end(stack)}"
        )
    if stack.starts_on_upload:
        return None
    return f"This stack starts uploads on its schedule: {_schedule(stack)}."


def _end(stack: Stack) -> str:
    """Return how to end a pause, and what then happens to the waiting uploads."""
    if stack.target.is_emulated:
        return (
            "To resume an emulated stack, restart it, which deletes everything in it: "
            "groq-batch local up --restart"
        )
    end = "To resume, deploy it with Paused=false;"
    if stack.parameters.get("TriggerMode") == "upload":
        return f"{end} uploads made before that must be started by hand."
    return f"{end} its schedule, {_schedule(stack)}, then starts the waiting uploads."


def _schedule(stack: Stack) -> str:
    expression = stack.parameters.get("ScheduleExpression", "")
    zone = stack.parameters.get("ScheduleTimezone", "")
    # A time zone does not matter for a rate.
    return f"{expression} in {zone}" if zone and not expression.startswith("rate") else expression
