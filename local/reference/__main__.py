"""Fill the generated blocks of all Markdown files: ``python -m local.reference [--check]``.

Exit status: 0 on success, 1 if ``--check`` found blocks that are not up to date, or a block
cannot be filled.
"""

from __future__ import annotations

import sys

from local.environment import PROJECT_ROOT


def main(arguments: list[str]) -> int:
    """Fill the blocks, or only check them; return the exit status."""
    # The pages are generated with the functions' code.
    sys.path += [str(PROJECT_ROOT / "functions"), str(PROJECT_ROOT / "cli")]
    from local.reference.blocks import BlockError, fill, markdown_files  # noqa: PLC0415
    from local.reference.contents import BLOCKS  # noqa: PLC0415

    only_look = "--check" in arguments
    status = 0
    for path in markdown_files(PROJECT_ROOT):
        before = path.read_text(encoding="utf-8")
        name = path.relative_to(PROJECT_ROOT)
        try:
            after = fill(before, BLOCKS)
        except BlockError as error:
            print(f"{name}: {error}")
            status = 1
            continue
        if after == before:
            continue
        if only_look:
            print(f"{name} is not up to date. Update it: make reference")
            status = 1
        else:
            path.write_text(after, encoding="utf-8")
            print(f"{name} written")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
