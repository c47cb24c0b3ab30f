"""Runs the emulator (MiniStack) with its corrections: ``python -m local.emulator_main``."""

from __future__ import annotations

import sys

from local.emulator_corrections import UnknownVersionError, apply_corrections


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        apply_corrections()
    except UnknownVersionError as error:
        print(error, file=sys.stderr)
        return 1
    from ministack.app import main as serve  # noqa: PLC0415 - after the check of its version

    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
