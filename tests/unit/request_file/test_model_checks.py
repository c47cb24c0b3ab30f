"""Which models requests may name."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.models import read_models
from groq_batch.records.model_listing import ModelListing, model_checker
from groq_batch.request_file.model_checks import ModelChecker
from groq_batch.request_file.request_rules import ALLOWED_URLS
from tests.samples import OPTIONS

AUDIO_URLS = ALLOWED_URLS[1:]


def checker(*entries: dict[str, Any] | str) -> ModelChecker:
    models = read_models({"data": [{"id": e} if isinstance(e, str) else e for e in entries]})
    assert models is not None
    return ModelChecker(models)


def model(name: str, takes: Any = None, gives: Any = None, **others: Any) -> dict[str, Any]:
    return {"id": name, "input_modalities": takes, "output_modalities": gives, **others}


class TestUnknown:
    def test_problem_of_listed_model_is_none_for_every_url(self) -> None:
        for url in ALLOWED_URLS:
            assert checker("a", "b").problem("a", url) is None

    @pytest.mark.parametrize("name", ["gpt-oss-20b", "OPENAI/GPT-OSS-20B", "openai/gpt-oss-20b "])
    def test_problem_of_unknown_model_names_similar_ones(self, name: str) -> None:
        found = checker("openai/gpt-oss-20b", "qwen/qwen3.8-27b").problem(name, CHAT_URL)
        assert found is not None
        assert found[0] == "unknown_model"
        assert f"The model {name} is not in the Groq account's list of models." in found[1]
        assert "Similar names: openai/gpt-oss-20b. Use" in found[1]
        assert found[1].endswith("upload the file with check-models=false.")

    def test_problem_of_unknown_model_names_at_most_three_best_first(self) -> None:
        names = [f"model-{number}" for number in range(9)]
        found = checker(*names, "model-77").problem("model-7x", CHAT_URL)
        assert found is not None
        told = found[1].partition("names: ")[2].partition(". Use")[0].split(", ")
        assert len(told) == 3
        assert set(told[:2]) == {"model-7", "model-77"}

    def test_problem_of_unlike_name_names_no_model(self) -> None:
        found = checker("openai/gpt-oss-20b").problem("xyz", CHAT_URL)
        assert found is not None
        assert "Similar" not in found[1]
        assert "xyz is not in the Groq account's list of models. Use a model from the" in found[1]

    def test_problem_names_only_models_that_can_serve_the_url(self) -> None:
        models = checker(
            model("whisper-large-v3", ["audio"], ["transcription"]),
            model("whisper-large-v2", ["audio"], ["transcription"], active=False),
            model("whisper-large-text", ["text"], ["text"]),
        )
        for url, told in ((CHAT_URL, "whisper-large-text"), (AUDIO_URLS[0], "whisper-large-v3")):
            found = models.problem("whisper-large", url)
            assert found is not None
            assert f"Similar names: {told}. Use" in found[1]

    def test_problem_of_inactive_model_says_so(self) -> None:
        found = checker(model("old", active=False), "older").problem("old", CHAT_URL)
        assert found is not None
        assert found[0] == "unknown_model"
        assert "old is inactive in the Groq account's list" in found[1]
        assert "Similar names: older." in found[1]

    def test_problem_truncates_a_long_name(self) -> None:
        found = checker("a").problem("x" * 10_000_000, CHAT_URL)
        assert found is not None
        assert len(found[1]) < 400

    def test_problem_stops_comparing_after_many_unknown_names(self) -> None:
        models = checker(*(f"model-{number}" for number in range(30)))
        begun = time.process_time()
        codes = {(models.problem(f"model-{n}-x", CHAT_URL) or ("",))[0] for n in range(100_000)}
        assert codes == {"unknown_model"}
        # All compared they would take minutes.
        assert time.process_time() - begun < 30


class TestUnsuitable:
    @pytest.mark.parametrize(
        ("takes", "gives", "chat", "audio"),
        [
            (["text"], ["text"], True, False),
            (["audio"], ["transcription"], False, True),
            (["text", "audio"], ["text"], True, True),
            (["text"], ["audio"], False, False),
            (["TEXT", "Audio"], ["Text"], True, True),
            (None, None, True, True),
            ([], [], True, True),
            (None, ["image"], False, True),
            (["image"], None, True, False),
        ],
    )
    def test_problem_of_model_with_other_modalities_is_unsuitable(
        self, takes: Any, gives: Any, chat: bool, audio: bool
    ) -> None:
        models = checker(model("m", takes, gives))
        assert (models.problem("m", CHAT_URL) is None) is chat
        for url in AUDIO_URLS:
            assert (models.problem("m", url) is None) is audio

    def test_problem_of_unsuitable_model_says_what_it_takes(self) -> None:
        models = checker(model("m", ["text", "image"], ["speech"]))
        code, message = models.problem("m", CHAT_URL) or ("", "")
        assert code == "unsuitable_model"
        assert "m generates speech but no text, so it does not support" in message
        _, message = models.problem("m", AUDIO_URLS[1]) or ("", "")
        assert "m accepts text, image but no audio, so it does not support /v1/audio/tra" in message


class TestWhenToCheck:
    LISTING = ModelListing(at="2026-11-30T00:00:00Z", models=read_models({"data": [{"id": "m"}]}))

    def test_model_checker_with_a_list_checks(self) -> None:
        found = model_checker(self.LISTING, OPTIONS)
        assert found is not None
        assert found.problem("m", CHAT_URL) is None

    def test_model_checker_without_a_list_is_none(self) -> None:
        assert model_checker(None, OPTIONS) is None
        assert model_checker(structs.replace(self.LISTING, models=None), OPTIONS) is None

    def test_model_checker_switched_off_by_the_job_is_none(self) -> None:
        assert model_checker(self.LISTING, replace(OPTIONS, check_models=False)) is None
