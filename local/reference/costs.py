"""Prices and an example of a file's cost, calculated with the pipeline's code."""

from __future__ import annotations

from groq_batch.domain import prices
from groq_batch.domain.cost import ModelUsage, actual_cost_usd
from groq_batch.domain.prices import HourPrice
from local.reference.markdown import code, table

EXAMPLE_REQUESTS = 100_000
EXAMPLE_PROMPT_TOKENS = 1_000
EXAMPLE_COMPLETION_TOKENS = 200


def models() -> list[str]:
    """Return the models with a known price, first those that Groq lists for batches."""
    listed = prices.price_table()["models"]
    return sorted(listed, key=lambda name: "preview" in listed[name])


def cost_example() -> str:
    """Return the cost of a file of 100,000 requests at Groq, in a batch and on demand."""
    used = ModelUsage(
        answers=EXAMPLE_REQUESTS,
        prompt_tokens=EXAMPLE_REQUESTS * EXAMPLE_PROMPT_TOKENS,
        completion_tokens=EXAMPLE_REQUESTS * EXAMPLE_COMPLETION_TOKENS,
    )
    rows = []
    for model in models():
        known = prices.price_table()["models"][model]
        if "hour" in known or "preview" in known:
            continue
        batch = actual_cost_usd({model: used}) or 0.0
        on_demand = prices.on_demand_usd(batch)
        rows.append(
            [code(model), f"{on_demand:.2f}", f"{batch:.2f}", f"{on_demand - batch:.2f}"],
        )
    heads = ["model", "on demand, USD", "here, USD", "saved, USD"]
    shown = table(heads, rows, right=(1, 2, 3))
    return (
        f"{EXAMPLE_REQUESTS:,} requests of {EXAMPLE_PROMPT_TOKENS:,} tokens, each answered with "
        f"{EXAMPLE_COMPLETION_TOKENS}:\n\n{shown}\n\n"
        f"Prices of {prices.table_prices().date} from <https://groq.com/pricing>."
    )


def price_table() -> str:
    """Return the batch price of every model in the price table."""
    rows = []
    for model in models():
        known = prices.table_prices().of(model)
        if known is None:
            continue
        if isinstance(known, HourPrice):
            rows.append([code(model), "", "", f"{known.hour:.4g}"])
        else:
            amounts = (f"{known.input * 1e6:.4g}", f"{known.output * 1e6:.4g}")
            rows.append([code(model), *amounts, ""])
    heads = ["model", "input, USD per million tokens", "output", "audio, USD per hour"]
    return table(heads, rows, right=(1, 2, 3))
