"""``python -m bench.start FOLDER...``: CPU time of the functions' initialization, in milliseconds.

A folder is a built function, such as ``.aws-sam/build/StartJobFunction``, with the code of all
handlers; several are measured in turn, for comparing two states of the code. Each time a fresh
interpreter imports a handler, which builds its clients as on Lambda; botocore is that of this
environment. No compiled code is written, as on Lambda, where the folder is read-only: a start
includes compiling the folder's modules, unless ``python -m compileall FOLDER`` was run before.
An interpreter ends without tidying up, which an environment on Lambda does not do at its start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from local.function_environment import PARAMETER_DEFAULTS

_ENVIRONMENT = {
    **PARAMETER_DEFAULTS,
    "BUCKET_NAME": "bucket",
    "GROQ_BASE_URL": "https://api.groq.com/openai/v1",
    "GROQ_API_KEY_SECRET_NAME": "groq",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "key",
}


def milliseconds(folder: Path, function: str) -> float:
    """Return the CPU time of one initialization, with that of the interpreter itself."""
    environment = {**_ENVIRONMENT, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", f"import os, {function}.app; os._exit(0)"]
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{function} in {folder} cannot be imported.")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Print the median of each function and folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    for function in sorted(path.parent.name for path in options.folders[0].glob("*_*/app.py")):
        found: dict[Path, list[float]] = {folder: [] for folder in options.folders}
        for _ in range(options.runs):
            for folder, times in found.items():
                times.append(milliseconds(folder, function))
        medians = (f"{statistics.median(times):8.0f}" for times in found.values())
        print(f"{function:18}", *medians, flush=True)


if __name__ == "__main__":
    main()
