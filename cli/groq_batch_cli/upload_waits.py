"""Why the uploads of a stack wait before their jobs are started, and what ends that."""

from __future__ import annotations

from groq_batch_cli.aws import Stack


def reason_to_wait(stack: Stack) -> str | None:
    """Return why an upload does not start its job at once; None when it does."""
    if stack.is_paused:
        return (
            f"The stack {stack.name} is paused: uploads wait, and no job is started. {_end(stack)}"
        )
    if stack.starts_on_upload:
        return None
    return f"This stack starts uploads when its schedule fires: {_schedule(stack)}."


def _end(stack: Stack) -> str:
    """Return what ends a pause, and what then becomes of the uploads that have waited."""
    if stack.target.is_emulated:
        return (
            "An emulated stack goes on when it is started anew, which removes everything in it: "
            "groq-batch local up --restart"
        )
    end = "To go on, deploy it with Paused=false;"
    if stack.parameters.get("TriggerMode") == "upload":
        return f"{end} what was uploaded before has to be started by hand."
    return f"{end} its schedule, {_schedule(stack)}, then starts what has waited."


def _schedule(stack: Stack) -> str:
    expression = stack.parameters.get("ScheduleExpression", "")
    zone = stack.parameters.get("ScheduleTimezone", "")
    # A rate has no use for a time zone.
    return f"{expression} in {zone}" if zone and not expression.startswith("rate") else expression
