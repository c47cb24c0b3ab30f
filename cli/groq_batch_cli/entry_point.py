"""Start ``groq-batch`` so that Ctrl-C ends it quietly from its first moment.

Importing the command line takes a few tenths of a second. An interrupt during that time would print
the traceback of whatever was being imported.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line and exit with its status."""
    handler = signal.getsignal(signal.SIGINT)
    # Where a shell has the signal ignored, it stays so.
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from groq_batch_cli.main import main as run  # noqa: PLC0415  (see above)

    signal.signal(signal.SIGINT, handler)
    run()
