"""``python cli``: run the command line from a clone of the project, without installing it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NEEDED = ("boto3", "click", "msgspec")

# Python has already put the folder of this file on the path.
sys.path.append(str(PROJECT / "functions"))

if __name__ == "__main__":
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(
            f"Error: {sys.executable} lacks {', '.join(missing)}. Run `make setup` in {PROJECT}, "
            f"then {PROJECT}/.venv/bin/python {PROJECT}/cli; or install the command line: "
            f"pip install {PROJECT}"
        )
    from groq_batch_cli.entry_point import main

    main()
