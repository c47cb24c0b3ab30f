"""``python -m local.demo [FILE]``: run a file of requests, the sample when none is named.

Exit status: 0 when the job has ended with results, 1 when it was rejected or something failed, 2
when FILE cannot be used, 130 when it was interrupted.
"""

from __future__ import annotations

import os
import sys

from local.demo.console import Console
from local.demo.errors import EXIT_INTERRUPTED
from local.demo.interrupts import Interrupts
from local.environment import PROJECT_ROOT


def main() -> int:
    """Run the demo; return its exit status."""
    console = Console(sys.stdout, os.environ)
    interrupts = Interrupts()
    interrupts.install()
    try:
        # The functions' own checks, prices and client are used here as well.
        sys.path.append(str(PROJECT_ROOT / "functions"))
        # Within the reach of Ctrl-C: importing the AWS tools takes a moment.
        from local.demo.session import run  # noqa: PLC0415

        return run(sys.argv[1:], environ=os.environ, console=console, interrupts=interrupts)
    except KeyboardInterrupt:
        interrupts.end()
        console.line()
        console.line("Stopped. Nothing of it runs any more, and its temporary files are gone.")
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
