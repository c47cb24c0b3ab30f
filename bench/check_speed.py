"""How fast ``groq-batch check`` is, next to decoding the same file with msgspec alone.

Both are processes of their own, taken in turns, from start to exit. The check has its progress bar
on a terminal; the other does the least that anybody could do: read the file line by line and decode
each line. Processor time says the same on a busy machine, time by the clock does not.

    python -m bench.check_speed [megabytes]
"""

from __future__ import annotations

import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
MEGABYTES = 183.0
LINE_BYTES = 4066
"""45,000 of them make 183 MB."""

ROUNDS = 5
_TEXT = 'Say in a sentence:\nThe battery "lasts two days", the café mode does not. '


_BARE = """
import sys
import msgspec
decode = msgspec.json.Decoder().decode
with open(sys.argv[1], "rb") as stream:
    for line in stream:
        decode(line)
"""


@dataclass(frozen=True, slots=True)
class _Time:
    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class CheckSpeed:
    """What was measured; each value is the median of some rounds, taken in turns.

    Attributes:
        megabytes: Size of the file.
        check_seconds: ``groq-batch check`` with its progress bar, from start to exit.
        bare_seconds: Reading the file by lines and decoding each with msgspec, from start to exit.
        check_processor_seconds: The same as processor time.
        bare_processor_seconds: Likewise.
        help_seconds: ``groq-batch --help``, from start to exit.
        python_seconds: A Python that does nothing, from start to exit.
    """

    megabytes: float
    check_seconds: float
    bare_seconds: float
    check_processor_seconds: float
    bare_processor_seconds: float
    help_seconds: float
    python_seconds: float

    @property
    def ratio(self) -> float:
        """The speed of the check as a share of that of msgspec alone."""
        return self.bare_seconds / self.check_seconds

    @property
    def processor_ratio(self) -> float:
        """The same by processor time."""
        return self.bare_processor_seconds / self.check_processor_seconds


def measure(megabytes: float = MEGABYTES, *, rounds: int = ROUNDS) -> CheckSpeed:
    """Measure the check and what it is compared with, in turns, in one run."""
    with tempfile.TemporaryDirectory(prefix="groq-batch-bench-") as folder:
        file = Path(folder) / "requests.jsonl"
        write_requests(file, int(megabytes * 1e6))
        check: list[_Time] = []
        bare: list[_Time] = []
        for _ in range(rounds):
            bare.append(_process([sys.executable, "-c", _BARE, str(file)]))
            check.append(_run(["check", str(file)]))
        helps = [_run(["--help"]) for _ in range(rounds)]
        nothing = [_process([sys.executable, "-c", ""]) for _ in range(rounds)]
        return CheckSpeed(
            megabytes=file.stat().st_size / 1e6,
            check_seconds=statistics.median(one.clock for one in check),
            bare_seconds=statistics.median(one.clock for one in bare),
            check_processor_seconds=statistics.median(one.processor for one in check),
            bare_processor_seconds=statistics.median(one.processor for one in bare),
            help_seconds=statistics.median(one.clock for one in helps),
            python_seconds=statistics.median(one.clock for one in nothing),
        )


def write_requests(file: Path, total_bytes: int) -> None:
    """Write requests of about 4 KB each."""
    with file.open("wb") as stream:
        for number in range(max(total_bytes // LINE_BYTES, 1)):
            request = {
                "custom_id": f"request-{number:08d}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "openai/gpt-oss-20b",
                    "messages": [{"role": "user", "content": _TEXT * 50}],
                    "max_completion_tokens": 200,
                },
            }
            stream.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")


def _run(arguments: list[str]) -> _Time:
    return _process([sys.executable, str(PROJECT / "cli"), *arguments])


def _process(command: list[str]) -> _Time:
    """Return the time of a command that has a terminal for its progress bar."""
    ours, theirs = pty.openpty()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours,))
    reader.start()
    status = process.wait()
    clock = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    reader.join()
    os.close(ours)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Time(clock, processor)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # Linux says so when the other side is closed.
        return


def main(arguments: list[str]) -> None:
    """Measure and print."""
    found = measure(float(arguments[0]) if arguments else MEGABYTES)
    speed = found.megabytes / found.check_seconds
    print(
        f"groq-batch check: {found.megabytes:.0f} MB in {found.check_seconds:.2f} s "
        f"({speed:.0f} MB/s), {100 * found.ratio:.0f} % of msgspec alone "
        f"({found.bare_seconds:.2f} s); {100 * found.processor_ratio:.0f} % by processor time\n"
        f"groq-batch --help: {found.help_seconds:.3f} s, of which Python itself "
        f"{found.python_seconds:.3f} s"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
