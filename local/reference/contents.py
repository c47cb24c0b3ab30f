"""The function that writes each generated block."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local.reference import (
    bucket,
    cadence,
    costs,
    machine,
    options,
    parameters,
    python_client,
    reports,
    usage,
)

BLOCKS: Mapping[str, Callable[[], str]] = {
    "bucket-deliveries": bucket.deliveries,
    "bucket-work": bucket.work,
    "cadence": cadence.cadence,
    "cost-example": costs.cost_example,
    "event-example": reports.event_example,
    "event-pattern": reports.event_pattern,
    "machine-picture": machine.picture,
    "machine-retries": machine.retries,
    "machine-states": machine.states,
    "options": options.options,
    "outputs": parameters.outputs,
    "parameters": parameters.parameters,
    "prices": costs.price_table,
    "python-classes": python_client.classes,
    "python-errors": python_client.errors,
    "python-options": python_client.options,
    "report-example": reports.report_example,
    "usage-example": usage.usage_example,
    "usage-fields": usage.usage_fields,
    "usage-key": usage.usage_key,
}
