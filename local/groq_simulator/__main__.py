"""Runs the simulator as a process: `python -m local.groq_simulator --port 0 --port-file FILE`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from local.groq_simulator.server import GroqSimulator
from local.groq_simulator.settings import Settings


def _parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.groq_simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="file that receives the port")
    parser.add_argument("--data-dir", type=Path, help="folder for the temporary folder")
    parser.add_argument("--batch-seconds", type=float, help="how long a batch takes")
    parser.add_argument("--speed", type=float, help="divides the durations of batches")
    parser.add_argument(
        "--key",
        action="append",
        metavar="KEY[=STATE]",
        help="accepted API key; state paid, free, spend_limit or network_blocked (repeatable)",
    )
    parser.add_argument(
        "--honour-request-hints", action="store_true", help="obey body.metadata.simulate"
    )
    parser.add_argument(
        "--no-request-accounting", action="store_true", help="do not count single requests"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help=f"any setting (repeatable): {', '.join(Settings.__dataclass_fields__)}",
    )
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for one in options.set:
        name, _, value = one.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    if options.batch_seconds is not None:
        settings["batch_seconds"] = options.batch_seconds
    if options.speed is not None:
        settings["speed"] = options.speed
    if options.key:
        pairs = (one.partition("=") for one in options.key)
        settings["keys"] = {key: state or "paid" for key, _, state in pairs}
    if options.honour_request_hints:
        settings["honour_request_hints"] = True
    if options.no_request_accounting:
        settings["account_requests"] = False
    return settings


def main(arguments: list[str]) -> None:
    """Runs until SIGTERM or SIGINT."""
    options = _parse_arguments(arguments)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    simulator = GroqSimulator(port=options.port, data_dir=options.data_dir, **_settings(options))
    with simulator:
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        if options.port_file is not None:
            # Renamed into place, so that readers never see an incomplete number.
            partial = options.port_file.with_name(options.port_file.name + ".partial")
            partial.write_text(f"{simulator.port}\n")
            partial.rename(options.port_file)
        ended.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
