"""The list of models, in the form that the API gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OWNED_BY = "Groq"


def _chat(name: str, prompt: str, completion: str) -> dict[str, Any]:
    return {
        "id": name,
        "active": True,
        "context_window": 131072,
        "max_completion_tokens": 65536,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
        "pricing": {"prompt": prompt, "completion": completion, "image": "0", "request": "0"},
    }


def _audio(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "active": True,
        "context_window": 448,
        "max_completion_tokens": 448,
        "input_modalities": ["audio"],
        "output_modalities": ["transcription"],
        "pricing": None,
    }


LISTED: tuple[dict[str, Any], ...] = (
    _chat("openai/gpt-oss-20b", "0.000000075", "0.0000003"),
    _chat("openai/gpt-oss-120b", "0.00000015", "0.0000006"),
    _chat("openai/gpt-oss-safeguard-20b", "0.000000075", "0.0000003"),
    _chat("qwen/qwen3.8-27b", "0.0000008", "0.000004"),
    _audio("whisper-large-v3"),
    _audio("whisper-large-v3-turbo"),
)
"""The models of an account, apart from the setting `models`."""


def listing(models: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Returns the answer to `GET /models`.

    Args:
        models: Fields that a model has instead of its own, by its name; a name that is not among
            the usual ones adds a model, None takes one away.
    """
    entries = {entry["id"]: entry for entry in LISTED}
    for name, fields in models.items():
        if fields is None:
            entries.pop(name, None)
        else:
            entries[name] = {**entries.get(name, _chat(name, "0", "0")), **fields}
    data = [{"object": "model", "owned_by": OWNED_BY, **entry} for entry in entries.values()]
    return {"object": "list", "data": data}
