"""Introduction of the demo: what will happen, where, and what it costs."""

from __future__ import annotations

from groq_batch.domain.cost import models_billed_by_hour, unknown_models
from groq_batch_cli.file_check import FileCheck, check_file
from groq_batch_cli.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_REQUESTS, split_limits
from groq_batch_cli.prices import price
from groq_batch_cli.terminal import Terminal
from groq_batch_client import request_files
from groq_batch_client.text import counted, dollars, listed
from local.demo.groq_access import GroqAccess
from local.demo.presentation import shown_path
from local.demo.request_file import RequestFile, Upload

_SHOWN_MODELS = 3


def introduce(
    terminal: Terminal, file: RequestFile, access: GroqAccess | None, upload: Upload
) -> None:
    """Print what will happen.

    Args:
        terminal: Where to write.
        file: The file of requests.
        access: The real Groq API; None for the simulator.
        upload: What is uploaded of the file.
    """
    terminal.print(terminal.styled("Groq Batch on AWS, on this machine", "bold"))
    terminal.print()
    lines = [("Requests", shown_path(file.path)), ("AWS", "an emulator; no account is needed")]
    if access is None:
        lines += _simulator_lines(terminal, file)
    else:
        lines += _real_api_lines(terminal, access, upload)
    for label, text in lines:
        terminal.print(f"  {label:<10}{text}")
    terminal.print()


def _simulator_lines(terminal: Terminal, file: RequestFile) -> list[tuple[str, str]]:
    lines = [
        ("Groq", "a simulator, which answers with echoes and costs nothing"),
        ("", "Set GROQ_API_KEY, in the environment or in .env, to use the real Groq API."),
    ]
    if file.is_sample:
        lines.append(("", "One request fails once and is sent again; another fails for good."))
    return [(label, text if label else terminal.styled(text, "dim")) for label, text in lines]


def _real_api_lines(
    terminal: Terminal, access: GroqAccess, upload: Upload
) -> list[tuple[str, str]]:
    lines = [
        ("Groq", terminal.styled("the real API, which costs money", "yellow")),
        ("", f"{access.base_url}, with the key from {access.source}"),
        ("Cost", cost_text(upload.file)),
        ("Time", "seconds to hours, as Groq has capacity; a day at most for each attempt"),
    ]
    if upload.hints:
        lines.append(
            ("", f"{counted(upload.hints, 'hint')} for the simulator left out: the API knows none.")
        )
    lines.append(("", "Ctrl-C cancels the job at Groq. For the simulator: GROQ_API_KEY= make demo"))
    return lines


def cost_text(file: RequestFile) -> str:
    """Return the estimated cost of a file, if known, from the pipeline's own checks."""
    found = checked(file)
    requests = counted(found.good, "request")
    cost = price(found.models).batch
    if cost is None:
        at_fault = [*unknown_models(found.models), *models_billed_by_hour(found.models)]
        models = listed(at_fault, _SHOWN_MODELS)
        return f"not known for {requests} (no known price for {models})"
    return f"about {dollars(cost)} for {requests}, at the price for batches"


def checked(file: RequestFile) -> FileCheck:
    """Check a file as the pipeline does, with the template's limits."""
    limits = split_limits(DEFAULT_MAX_REQUESTS, DEFAULT_MAX_BYTES)
    return check_file(request_files.RequestFile(str(file.path)), limits=limits)
