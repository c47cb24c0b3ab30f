"""Run the real ``sam build``, once for the same sources."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.environment import CACHE_FOLDER, PROJECT_ROOT, remove_older, sam_environment
from local.processes import run_program

BUILDS_FOLDER = CACHE_FOLDER / "builds"

_SOURCES = ("template.yaml", "statemachine", "functions")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache")
_BUILD_TIMEOUT_SECONDS = 300
_UNUSED_BUILD_SECONDS = 24 * 3600
_ARM_MACHINES = frozenset({"arm64", "aarch64"})


@dataclass(frozen=True, slots=True)
class Build:
    """A built application.

    Attributes:
        folder: Folder of the build; belongs to the cache and is not to be changed.
        template: The built template, for ``sam deploy``.
        parameters: The parameters that say what it was built for; every deployment needs them.
        was_cached: Whether an earlier build was found.
    """

    folder: Path
    template: Path
    parameters: dict[str, str]
    was_cached: bool


def machine_parameters() -> dict[str, str]:
    """Return the runtime and the architecture of functions on this machine.

    On AWS the template's own defaults hold.
    """
    architecture = "arm64" if platform.machine().lower() in _ARM_MACHINES else "x86_64"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"PythonRuntime": f"python{version}", "Architecture": architecture}


def _source_files(project: Path) -> Iterator[Path]:
    for name in _SOURCES:
        source = project / name
        if source.is_file():
            yield source
        else:
            yield from sorted(
                path
                for path in source.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
            )


def source_hash(project: Path, parameters: dict[str, str]) -> str:
    """Return a name for a build, derived from its sources and its target."""
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for path in _source_files(project):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(project)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:20]


def build_application(
    builds_folder: Path = BUILDS_FOLDER,
    *,
    project: Path = PROJECT_ROOT,
    log_file: Path | None = None,
) -> Build:
    """Build the application with ``sam build``, or find the build of the same sources.

    Several may build at the same time: each builds in a folder of its own, the first one stays.

    Args:
        builds_folder: Where the builds are kept.
        project: Folder with template.yaml, statemachine/ and functions/.
        log_file: Where the output of ``sam build`` goes; kept with the build when not given.

    Raises:
        LocalStackError: ``sam build`` failed; the end of its output is in the message.
    """
    parameters = machine_parameters()
    folder = builds_folder / source_hash(project, parameters)
    template = folder / "build" / "template.yaml"
    if template.exists():
        folder.touch()
        return Build(folder, template, parameters, was_cached=True)
    builds_folder.mkdir(parents=True, exist_ok=True)
    # Builds that were not used for a day, and files of interrupted builds.
    remove_older(builds_folder, _UNUSED_BUILD_SECONDS)
    workplace = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=builds_folder))
    try:
        _run_sam_build(
            project, workplace, parameters, log_file=log_file or workplace / "sam-build.log"
        )
        try:
            workplace.rename(folder)
        except OSError:
            if not template.exists():  # Any error but "another process was faster".
                raise
        shutil.rmtree(folder / "sam", ignore_errors=True)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return Build(folder, template, parameters, was_cached=False)


def _run_sam_build(
    project: Path, workplace: Path, parameters: dict[str, str], *, log_file: Path
) -> None:
    # Copy the sources first, so that later changes do not affect the build: the built
    # template refers to the state machine's file.
    sources = workplace / "sources"
    sources.mkdir()
    for name in _SOURCES:
        if (project / name).is_file():
            shutil.copy2(project / name, sources / name)
        elif (project / name).is_dir():
            shutil.copytree(project / name, sources / name, ignore=_IGNORED)
    command = [sys.executable, "-m", "samcli", "build"]
    command += ["--template", str(sources / "template.yaml")]
    command += ["--build-dir", str(workplace / "build"), "--parameter-overrides"]
    command += [f"{name}={value}" for name, value in parameters.items()]
    environment = sam_environment(workplace / "sam")
    # sam build searches the PATH for python3.X; use the interpreter that runs this.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
    run_program(
        "sam build",
        command,
        environment=environment,
        log_file=log_file,
        directory=sources,
        timeout_seconds=_BUILD_TIMEOUT_SECONDS,
    )
