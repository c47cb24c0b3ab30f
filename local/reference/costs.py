"""Prices, and an example of what a file costs, computed as the pipeline does it."""

from __future__ import annotations

import json

from groq_batch import prices
from groq_batch.cost import actual_cost_usd
from local.environment import PROJECT_ROOT
from local.reference.markdown import code, table

EXAMPLE_REQUESTS = 100_000
EXAMPLE_PROMPT_TOKENS = 1_000
EXAMPLE_COMPLETION_TOKENS = 200


def models() -> list[str]:
    """Return the models with a known price."""
    path = PROJECT_ROOT / "functions" / "groq_batch" / "prices.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["models"])


def cost_example() -> str:
    """Return what a file of 100,000 requests costs at Groq, in a batch and on demand."""
    tokens = (
        EXAMPLE_REQUESTS * EXAMPLE_PROMPT_TOKENS,
        EXAMPLE_REQUESTS * EXAMPLE_COMPLETION_TOKENS,
    )
    rows = []
    for model in models():
        batch = actual_cost_usd({model: tokens}) or 0.0
        on_demand = prices.on_demand_usd(batch)
        rows.append(
            [code(model), f"{on_demand:.2f}", f"{batch:.2f}", f"{on_demand - batch:.2f}"],
        )
    heads = ["model", "on demand, USD", "here, USD", "saved, USD"]
    shown = table(heads, rows, right=(1, 2, 3))
    return (
        f"{EXAMPLE_REQUESTS:,} requests of {EXAMPLE_PROMPT_TOKENS:,} tokens, each answered with "
        f"{EXAMPLE_COMPLETION_TOKENS}:\n\n{shown}\n\n"
        f"Prices of {prices.price_list_date()} from <https://groq.com/pricing>."
    )


def price_table() -> str:
    """Return the price of a million tokens of every model whose price is known."""
    rows = []
    for model in models():
        known = prices.price_of(model)
        if known is None:
            continue
        rows.append([code(model), f"{known.input * 1e6:.4g}", f"{known.output * 1e6:.4g}"])
    heads = ["model", "input, USD per million tokens", "output, USD per million tokens"]
    return table(heads, rows, right=(1, 2))
