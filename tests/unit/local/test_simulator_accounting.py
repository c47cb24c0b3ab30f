"""What the simulator calls paid twice: an answer after one that has the form asked for."""

from __future__ import annotations

import json

import pytest

from groq_batch.domain.structured_output import asked_form, given_form
from local.groq_simulator.accounting import Accounting
from local.groq_simulator.answers import fits_form, render
from local.groq_simulator.outcomes import MISFIT_KINDS, Outcome
from local.groq_simulator.settings import Settings

JOB = {"job": "j"}


@pytest.mark.parametrize(
    ("answers", "is_paid_twice"),
    [
        ([True], False),
        ([False, True], False),
        ([False, False, False], False),
        ([True, True], True),
        ([True, False], True),
        ([False, True, False], True),
    ],
    ids=str,
)
def test_answer_after_one_that_fits_is_paid_twice(answers: list[bool], is_paid_twice: bool) -> None:
    accounting = Accounting(Settings())
    for fits in answers:
        accounting.succeeded(JOB, "a", fits=fits)
    accounting.succeeded({"job": "another"}, "a")
    assert accounting.paid_twice() == (["a"] if is_paid_twice else [])
    assert accounting.requests("j")["a"]["succeeded"] == len(answers)
    accounting.clear()
    assert accounting.paid_twice() == []


@pytest.mark.parametrize("kind", sorted(MISFIT_KINDS))
def test_answers_have_another_form_where_one_is_asked_for(kind: str) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    asking = {**body, "response_format": form}
    assert asked_form(json.dumps({"body": asking}).encode()) is not None
    assert not fits_form(Outcome(kind), asking)
    found = given_form(render(Outcome(kind), "a", asking, batch_id="b", now=0).output)
    assert found.is_broken or found.texts == ('{"something": "else"}',)
    # Who asks for nothing gets what everybody gets.
    assert fits_form(Outcome(kind), body)
    usual = render(Outcome(), "a", body, batch_id="b", now=0)
    assert render(Outcome(kind), "a", body, batch_id="b", now=0) == usual
