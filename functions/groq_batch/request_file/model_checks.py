"""Check the model of a request against the Groq account's list of models."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.models import ListedModel

_AUDIO_URLS = "/v1/audio/"
_MAX_ALIKE = 3
_MAX_COMPARED = 1000
"""Most unknown names to find similar names for. It takes about a millisecond for each, and a file
may have a different name on every line."""
_MAX_KEPT = 1000
_SHOWN_CHARACTERS = 100
_SEND_ANYWAY = "To have the API decide, upload the file with check-models=false."


class ModelChecker:
    """Checks models against one list."""

    def __init__(self, models: Mapping[str, ListedModel]) -> None:
        """Check against these models."""
        self._models = models
        self._verdicts: dict[tuple[str, str], tuple[str, str] | None] = {}
        self._compared = 0

    def problem(self, model: str, url: str) -> tuple[str, str] | None:
        """Return code and message if the model cannot be used with the URL, else None."""
        known = (model, url)
        if known in self._verdicts:
            return self._verdicts[known]
        verdict = self._check(model, url)
        if len(self._verdicts) < _MAX_KEPT:
            self._verdicts[known] = verdict
        return verdict

    def _check(self, model: str, url: str) -> tuple[str, str] | None:
        listed, shown = self._models.get(model), model[:_SHOWN_CHARACTERS]
        if listed is None or not listed.is_active:
            found = "is not in" if listed is None else "is inactive in"
            message = (
                f"The model {shown} {found} the Groq account's list of models. "
                f"{self._advice(model, url)} {_SEND_ANYWAY}"
            )
            return ErrorCode.UNKNOWN_MODEL, message
        wrong = _unsuitable(listed, url)
        if wrong is None:
            return None
        message = (
            f"According to the Groq account's list of models, {shown} {wrong}, so it does not "
            f"support {url}. Use another model or another url. {_SEND_ANYWAY}"
        )
        return ErrorCode.UNSUITABLE_MODEL, message

    def _advice(self, model: str, url: str) -> str:
        alike = self._alike(model, url)
        if not alike:
            return "Use a model from the list."
        return f"Similar names: {', '.join(alike)}. Use a model from the list."

    def _alike(self, model: str, url: str) -> list[str]:
        """Return up to three similar names of the list that can answer the URL."""
        self._compared += 1
        if self._compared > _MAX_COMPARED:
            return []
        usable = self._usable(url)
        wanted = model[:_SHOWN_CHARACTERS].lower()
        return [usable[name] for name in get_close_matches(wanted, usable, n=_MAX_ALIKE)]

    def _usable(self, url: str) -> dict[str, str]:
        """Return the names of the models that can answer the URL, by lowercase name."""
        return {
            name.lower(): name
            for name, listed in self._models.items()
            if listed.is_active and _unsuitable(listed, url) is None
        }


def _unsuitable(model: ListedModel, url: str) -> str | None:
    """Return why a model's listed modalities do not fit the URL; None if they do."""
    if url.startswith(_AUDIO_URLS):
        if model.takes is not None and "audio" not in model.takes:
            return f"accepts {_listed(model.takes)} but no audio"
    elif model.gives is not None and "text" not in model.gives:
        return f"generates {_listed(model.gives)} but no text"
    return None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(name[:_SHOWN_CHARACTERS] for name in names[:_MAX_ALIKE])
