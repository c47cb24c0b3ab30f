"""``python -m local.demo [FILE]``: run a file of requests, the sample when none is named.

Exit status: 0 when the job has ended with results, 1 when it was rejected or something failed, 2
when FILE cannot be used, 130 when it was interrupted.
"""

from __future__ import annotations

import io
import os
import sys

from local.demo.errors import EXIT_INTERRUPTED
from local.demo.interrupts import Interrupts, drop_output


def main() -> int:
    """Run the demo; return its exit status."""
    interrupts = Interrupts()
    try:
        interrupts.install()
        # Ctrl-C has to work from here on, and importing the AWS tools takes a moment.
        from local.environment import PROJECT_ROOT  # noqa: PLC0415

        # The functions' own checks, and what the command line shows of a job, are used here as
        # well: the demo's modules can be imported only after this.
        sys.path += [str(PROJECT_ROOT / "functions"), str(PROJECT_ROOT / "cli")]
        from groq_batch_cli.terminal import Terminal  # noqa: PLC0415
        from local.demo.session import run  # noqa: PLC0415

        if isinstance(sys.stdout, io.TextIOWrapper):
            # Whatever the terminal speaks, an answer in another script is no reason to fail.
            sys.stdout.reconfigure(errors="replace")
        terminal = Terminal(sys.stdout, sys.stdout, os.environ)
        return run(sys.argv[1:], environ=os.environ, terminal=terminal, interrupts=interrupts)
    except KeyboardInterrupt:
        interrupts.end()
        print("\nStopped. Everything that the demo had started has ended.", flush=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
