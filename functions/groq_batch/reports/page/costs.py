"""Show the cost of a job on its page, and its usage by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from groq_batch.domain.cost import JobUsage, ModelUsage, actual_cost_usd
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.prices import FROM_GROQ, Prices, on_demand_usd
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.reports.page import charts, wording
from groq_batch.reports.page.data import PageData

_MAX_MODELS = 12


class ModelRow(msgspec.Struct, frozen=True):
    """Usage and cost of one model."""

    model: str
    prompt: str
    completion: str
    batch: str
    on_demand: str


def cost_bars_of(report: Mapping[str, Any]) -> list[charts.Bar]:
    """Return the cost, the estimate, and the price of ordinary calls, as bars."""
    usage = ReportedUsage.of(report)
    is_final = report["status"] != RUNNING
    amounts: list[tuple[str, float | None, str, str]] = []
    on_demand = None if usage.estimated_usd is None else on_demand_usd(usage.estimated_usd)
    if is_final and usage.actual_usd is not None and report["requests"]["succeeded"]:
        amounts.append(("Cost", usage.actual_usd, "accent", "from the tokens of the answers"))
        on_demand = usage.all_on_demand_usd
    amounts.append(("Estimate", usage.estimated_usd, "faint", "before sending"))
    if on_demand is not None:
        amounts.append(("On demand", on_demand, "faint", "the same requests"))
    largest = max((amount for _, amount, _, _ in amounts if amount is not None), default=0)
    return [
        charts.Bar(
            label=label,
            value=wording.money(amount),
            remark=remark,
            drawing=charts.single_bar(amount / largest, style) if amount and largest else "",
        )
        for label, amount, style, remark in amounts
    ]


def cost_remark(report: Mapping[str, Any]) -> str:
    """Return what the amounts mean."""
    usage, dated = ReportedUsage.of(report), _dated(report)
    if report["status"] == RUNNING or not report["requests"]["succeeded"]:
        if usage.estimated_usd is None:
            return (
                "The price of a model, or the length of the audio, is not known, so there is no "
                "estimate."
            )
        return (
            f"The estimate counts one token for every four bytes of a request, plus the token "
            f"limits that requests set for their answers. {dated}"
        )
    if usage.actual_usd is None or usage.all_on_demand_usd is None:
        return (
            "The cost is not known, because the price of a model or the usage of an answer is not "
            "known."
        )
    saved = max(usage.all_on_demand_usd - usage.actual_usd, 0.0)
    return f"The batch price saved {wording.money(saved)} compared to on-demand calls. {dated}"


def _dated(report: Mapping[str, Any]) -> str:
    """Return which prices the report's amounts are based on."""
    prices = report.get("prices")
    if prices is None:
        return ""
    source = "Groq's list" if prices["source"] == FROM_GROQ else "the table"
    return f"Prices of {source}, {prices['date']}."


def models_of(page_data: PageData) -> list[ModelRow]:
    """Return usage and cost by model, largest first, and their total."""
    prices = page_data.job.prices if page_data.job is not None else None
    usage, total = page_data.usage, page_data.usage.total
    models = sorted(total, key=lambda model: -_amount_of_work(total[model]))
    shown, rest = models[:_MAX_MODELS], models[_MAX_MODELS:]
    rows = [_model_row(model or "not named", usage.of([model]), prices) for model in shown]
    if rest:
        rows.append(_model_row(f"{wording.whole(len(rest))} others", usage.of(rest), prices))
    if len(models) > 1:
        rows.append(_model_row("All", usage, prices))
    return rows


def _amount_of_work(used: ModelUsage) -> float:
    return used.prompt_tokens + used.completion_tokens + used.billed_seconds


def _model_row(label: str, usage: JobUsage, prices: Prices | None) -> ModelRow:
    total = usage.total
    all_in_batches = actual_cost_usd(total, prices)
    prompt = wording.whole(sum(used.prompt_tokens for used in total.values()))
    seconds = sum(used.billed_seconds for used in total.values())
    if seconds:
        audio = f"{wording.duration(seconds)} of audio"
        prompt = audio if prompt == "0" else f"{prompt} and {audio}"
    return ModelRow(
        model=wording.text(label, most=wording.NAME_CHARACTERS),
        prompt=prompt,
        completion=wording.whole(sum(used.completion_tokens for used in total.values())),
        batch=wording.money(usage.cost_usd(prices)),
        on_demand=wording.money(None if all_in_batches is None else on_demand_usd(all_in_batches)),
    )
