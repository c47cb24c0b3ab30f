"""The entry point: verbs found, nothing imported that is not needed, errors as sentences."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from botocore import exceptions
from click.shell_completion import ShellComplete

from groq_batch import __version__
from groq_batch.bucket.s3_errors import UnreadableObjectError, UnwritableObjectError
from groq_batch_cli import main
from groq_batch_cli.errors import CommandError
from groq_batch_cli.job_list import STATUSES
from groq_batch_client.aws_errors import explain, is_passing

PROJECT = Path(__file__).parents[3]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"groq-batch {__version__}\n"


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown and text in shown for name, text in main.VERBS.items())


def test_every_module_of_a_verb_is_listed() -> None:
    modules = {path.stem for path in (PROJECT / "cli/groq_batch_cli/verbs").glob("[!_]*.py")}
    assert modules == set(main.VERBS)


@pytest.mark.parametrize("name", main.VERBS)
def test_help_of_a_verb_begins_as_in_the_list(name: str) -> None:
    command = main.load_verb(name)
    assert (command.help or "").split("\n", 1)[0] == main.VERBS[name]


@pytest.mark.parametrize("name", main.VERBS)
def test_every_option_of_a_verb_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert "\b" not in capsys.readouterr().out
    command = main.load_verb(name)
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all(one.help for one in options), [one.name for one in options if not one.help]


def python(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'cli'}:{PROJECT / 'functions'}"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"msgspec", "botocore", "json"}),
        (["check", str(PROJECT / "events/sample.jsonl")], {"botocore", "boto3", "requests"}),
        (["run", "--help"], {"boto3", "pyarrow"}),
        (["make", "--help"], {"botocore.session", "boto3", "pyarrow"}),
        (["completion", "zsh"], {"msgspec", "botocore"}),
    ],
)
def test_only_what_is_needed_is_imported(arguments: list[str], unwanted: set[str]) -> None:
    code = (
        "import sys; from groq_batch_cli.main import run; assert run(sys.argv[1:]) == 0\n"
        "print(); print(*sys.modules)"
    )
    imported = set(python(code, *arguments).splitlines()[-1].split())
    assert "groq_batch_cli.main" in imported
    assert unwanted & imported == set()


@pytest.mark.parametrize("arguments", [["frobnicate"], ["check"], ["check", "--frobnicate", "x"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 2
    assert "Usage: groq-batch" in capsys.readouterr().err


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(main, "load_verb", lambda _: command)
    return main.run(["check"])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CommandError("Do this."), "Do this."),
        (
            exceptions.NoRegionError(),
            "No AWS region is set. Set one with --region or AWS_REGION.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.jsonl"),
            "out.jsonl: No space left on device.",
        ),
    ],
    ids=["known", "of AWS", "of a file"],
)
def test_error_is_one_sentence(
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_failing(monkeypatch, error) == 1
    assert capsys.readouterr() == ("", f"Error: {sentence}\n")


def command_line(shell: str, folder: Path) -> str:
    """Run the command line in a shell; returns what it says on standard error."""
    words = [sys.executable, str(PROJECT / "cli")]
    # Python may not write its own files either, of which it would notice less.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["sh", "-c", shell, "sh", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("out", ["new/out.jsonl", "out.jsonl.gz"])
def test_file_that_cannot_be_written_is_named(out: str, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": os.urandom(100).hex()}) + "\n" for _ in range(100))
    (tmp_path / "rows.jsonl").write_text(rows)
    make = f"make rows.jsonl --model m --prompt '{{text}}' --out {out}"
    assert command_line(f'ulimit -f 2; exec "$@" {make}', tmp_path) == (
        f"Error: {out}: File too large.\n"
    )
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [tmp_path / "rows.jsonl"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_no_error(closed: str) -> None:
    sample = PROJECT / "events/sample.jsonl"
    command = ["sh", "-c", f'exec "$@" check {sample} {closed}', "sh", sys.executable, "cli"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("verb", ["check", "make --model m --prompt {custom_id}"])
def test_standard_output_that_is_full_is_named(verb: str, tmp_path: Path) -> None:
    shell = f'exec "$@" {verb} {PROJECT / "events/sample.jsonl"} > /dev/full'
    assert command_line(shell, tmp_path) == "Error: <stdout>: No space left on device.\n"


@pytest.mark.parametrize("option", ["--prompt-file", "--schema"])
def test_small_file_that_breaks_off_is_named(
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read_text(*_: Any, **__: Any) -> str:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "x.json"
    path.write_text("{}")
    monkeypatch.setattr(Path, "read_text", read_text)
    prompt = ["--prompt", "x"] if option == "--schema" else []
    sample = str(PROJECT / "events/sample.jsonl")
    assert main.run(["make", sample, "--model", "m", *prompt, option, str(path)]) == 1
    assert capsys.readouterr().err == f"Error: {path}: Input/output error.\n"


def test_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run_failing(monkeypatch, ZeroDivisionError())


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_failing(monkeypatch, KeyboardInterrupt()) == 130


def test_reader_that_goes_away_is_no_fault() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "functions")}
    command = f"{sys.executable} {PROJECT / 'cli'} check --help | head -1"
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_GROQ_BATCH_COMPLETE" in script
    assert "groq-batch" in script


def test_completion_knows_the_verbs() -> None:
    environment = {
        "_GROQ_BATCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "groq-batch st",
        "COMP_CWORD": "1",
    }
    code = "import os, sys; os.environ.update(%r); from groq_batch_cli.main import main; main()"
    assert python(code % environment).split() == ["plain,start", "plain,status"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("stauts", "No such command 'stauts'. Did you mean status?"),
        ("chekc", "No such command 'chekc'. Did you mean check?"),
        ("frobnicate", "No such command 'frobnicate'."),
    ],
)
def test_misspelt_command_suggests_the_closest(
    typed: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([typed, "x"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"Error: {expected}"


def completions(*words: str) -> list[str]:
    """Return what a shell offers behind some words, the last of which is not complete."""
    complete = ShellComplete(main.cli, {}, "groq-batch", "_GROQ_BATCH_COMPLETE")
    found = complete.get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_completion_of_models_is_the_price_list() -> None:
    assert completions("make", "rows.csv", "--model", "openai/gpt-oss-2") == ["openai/gpt-oss-20b"]


def test_completion_of_a_status_has_those_of_jobs_without_a_report() -> None:
    assert completions("jobs", "--status", "") == list(STATUSES)
    assert {"starting", "waiting", "replaced"} <= set(STATUSES)


def test_completion_of_jobs_without_credentials_offers_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert completions("status", "") == []
    assert list(tmp_path.iterdir()) == []


def client_error(code: str, message: str = "", operation: str = "GetObject") -> Any:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.NoCredentialsError(), "There are no AWS credentials. Sign in (aws sso login,"),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="x"),
            "There are no AWS credentials.",
        ),
        (exceptions.ProfileNotFound(profile="work"), "There is no AWS profile work."),
        (exceptions.InvalidRegionError(region_name="mars"), "'mars' is not the name of a region."),
        (exceptions.SSOTokenLoadError(error_msg="x"), "The AWS credentials cannot be loaded:"),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            "http://127.0.0.1:1 does not answer. Check the network and the name of the region.",
        ),
        (exceptions.SSLError(endpoint_url="https://s3", error="x"), "https://s3 does not answer."),
        (exceptions.ReadTimeoutError(endpoint_url="https://s3"), "https://s3 does not answer."),
        (client_error("ExpiredToken"), "The AWS credentials have expired. Sign in again"),
        (client_error("InvalidClientTokenId"), "AWS does not accept these credentials."),
        (
            client_error("AccessDenied", "not authorized to perform: s3:GetObject"),
            "AWS denies GetObject (not authorized to perform: s3:GetObject). Ask for this",
        ),
        (client_error("403", "Forbidden"), "AWS denies GetObject. Ask for this permission,"),
        (
            client_error("NoSuchBucket"),
            "The bucket does not exist. If it was deleted,",
        ),
        (client_error("SlowDown"), "AWS throttles GetObject."),
        (client_error("Odd", "What\x1b[31m?"), "AWS returns Odd for GetObject: What [31m?"),
        (UnreadableObjectError("output/x"), "S3 denies reading output/x."),
        (UnwritableObjectError("input/x"), "S3 denies writing input/x."),
        (exceptions.DataNotFoundError(data_path="x"), "The AWS client failed: "),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_errors_of_aws_say_what_to_do(error: Exception, expected: str) -> None:
    assert (explain(error) or "").startswith(expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="x"), True),
        (exceptions.ConnectionClosedError(endpoint_url="x"), True),
        (client_error("SlowDown"), True),
        (
            exceptions.ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}, "Error": {}}, "X"),
            True,
        ),
        (client_error("ExpiredToken"), False),
        (exceptions.NoCredentialsError(), False),
        (ValueError("x"), False),
    ],
)
def test_errors_that_pass(error: Exception, expected: bool) -> None:
    assert is_passing(error) is expected


def test_other_errors_are_not_explained() -> None:
    assert explain(ValueError("x")) is None


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys


class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)


signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["--version"]
runpy.run_module("groq_batch_cli", run_name="__main__")
"""


def test_an_interrupt_while_the_command_line_is_imported_prints_nothing() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'cli'}:{PROJECT / 'functions'}"}
    command = [sys.executable, "-c", INTERRUPTED_IMPORT]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
