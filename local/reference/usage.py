"""Example and fields of the usage record, created by the real code."""

from __future__ import annotations

from collections.abc import Iterator

from groq_batch.domain.json_data import to_json_data
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.records.usage import UsageOfModel, UsageRecord
from local.reference.docstrings import entries, sections
from local.reference.markdown import code, json_block, table
from local.reference.reports import example


def usage_example() -> str:
    """Return the usage record of the example job, with line breaks."""
    return json_block(to_json_data(_record()))


def usage_key() -> str:
    """Return the key of that record."""
    return code(_record().object_key)


def usage_fields() -> str:
    """Return a table of all fields, in their order."""
    return table(["field", "meaning"], [*_rows(UsageRecord), *_rows(UsageOfModel, "models[].")])


def _record() -> UsageRecord:
    report = example()
    usage = ReportedUsage.of(report)
    model = UsageOfModel(
        model="openai/gpt-oss-20b",
        requests=report["requests"]["total"],
        succeeded=report["requests"]["succeeded"],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        usd=usage.actual_usd,
    )
    return UsageRecord.of_report(report, [model])


def _rows(record: type[UsageRecord | UsageOfModel], prefix: str = "") -> Iterator[list[str]]:
    """Yield each field with its description from the class docstring."""
    for name, text in entries(sections(record)["Attributes"]):
        yield [code(prefix + name), text.replace("None", "null")]
