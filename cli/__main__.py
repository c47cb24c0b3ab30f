"""``python cli``: run the command line from a clone of the project, without installing it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from groq_batch_cli.main import main

if __name__ == "__main__":
    main()
