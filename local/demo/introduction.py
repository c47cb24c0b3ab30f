"""Introduction of the demo: what will happen, where, and what it costs."""

from __future__ import annotations

from groq_batch_client.text import counted, dollars
from local.demo.console import Console
from local.demo.groq_access import GroqAccess
from local.demo.presentation import shown_path
from local.demo.request_file import RequestFile, Survey, Upload, survey

_SHOWN_MODELS = 3


def introduce(
    console: Console, file: RequestFile, access: GroqAccess | None, upload: Upload
) -> None:
    """Print what will happen.

    Args:
        console: Where to write.
        file: The file of requests.
        access: The real Groq API; None for the simulator.
        upload: What is uploaded of the file.
    """
    console.line(console.styled("Groq Batch on AWS, on this machine", "bold"))
    console.line()
    lines = [("Requests", shown_path(file.path)), ("AWS", "an emulator; no account is needed")]
    if access is None:
        lines += _simulator_lines(console, file)
    else:
        lines += _real_api_lines(console, access, upload)
    for label, text in lines:
        console.line(f"  {label:<10}{text}")
    console.line()


def _simulator_lines(console: Console, file: RequestFile) -> list[tuple[str, str]]:
    lines = [
        ("Groq", "a simulator, which answers with echoes and costs nothing"),
        ("", "Set GROQ_API_KEY, in the environment or in .env, to use the real Groq API."),
    ]
    if file.is_sample:
        lines.append(("", "One request fails once and is sent again; another fails for good."))
    return [(label, text if label else console.styled(text, "dim")) for label, text in lines]


def _real_api_lines(console: Console, access: GroqAccess, upload: Upload) -> list[tuple[str, str]]:
    lines = [
        ("Groq", console.styled("the real API, which costs money", "yellow")),
        ("", f"{access.base_url}, with the key from {access.source}"),
        ("Cost", cost_text(survey(upload.file))),
        ("Time", "seconds to hours, as Groq has capacity; a day at most for each attempt"),
    ]
    if upload.hints:
        lines.append(
            ("", f"{counted(upload.hints, 'hint')} for the simulator left out: the API knows none.")
        )
    lines.append(("", "Ctrl-C cancels the job at Groq. For the simulator: GROQ_API_KEY= make demo"))
    return lines


def cost_text(found: Survey) -> str:
    """Return the estimated cost of a file, if known."""
    requests = counted(found.requests, "request")
    if found.unknown_models:
        models = ", ".join(found.unknown_models[:_SHOWN_MODELS])
        return f"not known for {requests} (no known price for {models})"
    return f"about {dollars(found.cost_usd)} for {requests}, at the price for batches"
