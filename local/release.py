"""Create the files of a release: the command line's packages, the built application, the notes.

usage: python -m local.release VERSION [FOLDER]

The application is what ``sam build`` makes for the default runtime and architecture, so that a
person who downloads it needs the SAM CLI alone: unpack it, then ``sam deploy`` in its folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.environment import CACHE_FOLDER, PROJECT_ROOT, sam_environment


def notes_of(changelog: str, version: str) -> str:
    """Return the changelog's entry of a version, without its heading.

    Raises:
        ValueError: The changelog has no entry of this version.
    """
    heading = re.search(rf"^## \[{re.escape(version)}\].*\n", changelog, re.MULTILINE)
    if heading is None:
        raise ValueError(f"CHANGELOG.md has no heading '## [{version}]'; add what changed.")
    rest = changelog[heading.end() :]
    following = re.search(r"^## \[", rest, re.MULTILINE)
    return rest[: following.start() if following else None].strip() + "\n"


def _build_application(folder: Path, sam_folder: Path) -> None:
    """Build where ``sam deploy`` expects it; the template refers to the folder's state machine."""
    shutil.copytree(PROJECT_ROOT / "statemachine", folder / "statemachine")
    for name in ("template.yaml", "samconfig.toml", "LICENSE"):
        shutil.copy2(PROJECT_ROOT / name, folder / name)
    shutil.copytree(
        PROJECT_ROOT / "functions",
        folder / "functions",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    subprocess.run(
        [sys.executable, "-m", "samcli", "build", "--no-cached"],
        cwd=folder,
        env=sam_environment(sam_folder),
        check=True,
    )


def main(arguments: list[str]) -> None:
    """Create the release's files in a folder, by default ``.local/release``."""
    version = arguments[0]
    folder = Path(arguments[1]) if len(arguments) > 1 else CACHE_FOLDER / "release"
    code = (PROJECT_ROOT / "functions/groq_batch/__init__.py").read_text("utf-8")
    if f'__version__ = "{version}"' not in code:
        sys.exit(f"functions/groq_batch/__init__.py has another version than {version}.")
    notes = notes_of((PROJECT_ROOT / "CHANGELOG.md").read_text("utf-8"), version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "NOTES.md").write_text(notes, "utf-8")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=PROJECT_ROOT,
        check=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        application = Path(temporary) / f"groq-batch-{version}"
        _build_application(application, Path(temporary) / "sam")
        shutil.make_archive(
            str(folder / f"{application.name}-application"), "zip", temporary, application.name
        )
    print(f"The files of version {version} are in {folder}:")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
