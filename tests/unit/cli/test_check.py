"""``groq-batch check``: the pipeline's verdict, the place of each fault, and the cost."""

from __future__ import annotations

import errno
import gzip
import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain import prices
from groq_batch.domain.prices import on_demand_usd
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import LineChecker
from groq_batch_cli import limits
from groq_batch_cli.excerpt import excerpt
from groq_batch_cli.file_check import check_file
from groq_batch_cli.main import run
from groq_batch_client.request_files import RequestFile

PROJECT = Path(__file__).parents[3]
GOOD = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "openai/gpt-oss-20b", "messages": [{}], "max_completion_tokens": 100},
}


AUDIO_URL = "/v1/audio/transcriptions"


def line(**changes: Any) -> bytes:
    request = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return json.dumps(request, ensure_ascii=False).encode()


def body(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD["body"], **changes}.items() if value is not None}  # type: ignore[dict-item]


def write(folder: Path, *lines: bytes, name: str = "requests.jsonl") -> str:
    path = folder / name
    data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def check_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(["check", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


# -- the place of a fault ---------------------------------------------------------------------


def found_place(data: bytes) -> tuple[str, str]:
    """Return the code of a line's problem and the text that is marked."""
    checker = LineChecker()
    checker.check(1, line(custom_id="used"))
    problem = checker.check(2, data)
    assert isinstance(problem, Problem)
    place = excerpt(problem, data)
    if place is None:
        return problem.code, ""
    assert place.text[place.indent :] != ""
    text = data.decode("utf-8", "replace")
    assert text[place.column - 1 :].startswith(place.text[place.indent :][: place.marked][:20])
    return problem.code, place.text[place.indent :][: place.marked]


@pytest.mark.parametrize(
    ("data", "code", "marked"),
    [
        (b'{"custom_id": "\xff"}', "invalid_encoding", "\ufffd"),
        (b'{"custom_id": "a", }', "invalid_json", "}"),
        (b"nonsense", "invalid_json", "n"),
        (b'{"a": "\\\\ud800 \\ud83d\\ude00 \\ud83d"}', "invalid_json", "\\ud83d"),
        (b'{"a": "\\udE00"}', "invalid_json", "\\udE00"),
        (b'{"a": NaN}', "invalid_json", "N"),
        (b"[1, 2]", "not_an_object", "[1, 2]"),
        (b' {"method": "POST"}', "missing_custom_id", "{"),
        (line(custom_id=7), "invalid_custom_id", "7"),
        (line(custom_id="used"), "duplicate_custom_id", '"used"'),
        (line(method="GET"), "invalid_method", '"GET"'),
        (line(method=None), "invalid_method", "{"),
        (line(url="/v1/embeddings"), "invalid_url", '"/v1/embeddings"'),
        (line(body=1), "invalid_body", "1"),
        (line(body=body(model="")), "missing_model", '""'),
        (line(body=body(model=None)), "missing_model", "{"),
        (line(body=body(messages={})), "invalid_messages", "{}"),
        (line(body=body(messages=None)), "invalid_messages", "{"),
        (line(url=AUDIO_URL, body=body(url="")), "missing_audio", '""'),
        (line(url=AUDIO_URL, body=body(url="x", file="a.mp3")), "missing_audio", '"a.mp3"'),
        (line(url=AUDIO_URL, body=body()), "missing_audio", "{"),
        (line(body=body(stream=True)), "unsupported_parameter", "true"),
        (line(body=body(service_tier="flex")), "unsupported_parameter", '"flex"'),
    ],
)
def test_fault_is_pointed_at(data: bytes, code: str, marked: str) -> None:
    assert found_place(data) == (code, marked)


def test_of_a_key_that_stands_twice_the_last_value_is_pointed_at() -> None:
    data = line().replace(b'"POST"', b'"POST", "method": "PUT"')
    assert found_place(data) == ("invalid_method", '"PUT"')


def test_long_line_is_cut_around_the_fault() -> None:
    data = line(body={**GOOD["body"], "x": "日本語" * 1000}, url="/x" * 500)  # type: ignore[dict-item]
    problem = LineChecker().check(1, data)
    assert isinstance(problem, Problem)
    place = excerpt(problem, data)
    assert place is not None
    assert place.text.startswith("…")
    assert place.text.endswith("…")
    assert len(place.text) < 120
    assert place.marked == 40


def test_excerpt_cannot_steer_the_terminal() -> None:
    data = line(custom_id="\u202e\x7f", url="x")
    problem = LineChecker().check(1, data)
    assert isinstance(problem, Problem)
    place = excerpt(problem, data)
    assert place is not None
    assert place.text.isprintable()


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode()))
def test_place_is_within_any_line(data: bytes) -> None:
    found = LineChecker().check(1, data)
    if isinstance(found, Problem):
        place = excerpt(found, data)
        if place is not None:
            assert 1 <= place.column <= len(data.decode("utf-8", "replace")) + 1
            assert place.marked >= 1


def test_deep_nesting_has_no_place() -> None:
    data = b'{"custom_id": "a", "x": ' + b"[" * 100_000
    assert found_place(data) == ("invalid_json", "")


# -- the verdict ------------------------------------------------------------------------------


def test_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line(), line(custom_id="b"), b"", line(custom_id="c"))
    assert run(["check", path, "--max-requests-per-batch", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0] == f"{path}: 3 requests, no problems"
    heads = ["model", "requests", "tokens in", "tokens out", "batch", "on demand"]
    assert out.splitlines()[1].split() == " ".join(heads).split()
    assert out.splitlines()[2].split()[:2] == ["openai/gpt-oss-20b", "3"]
    assert out.splitlines()[3].startswith("  2 batches, estimated $0.0000")


def test_good_file_says_nothing_when_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--quiet", write(tmp_path, line())]) == 0
    assert capsys.readouterr() == ("", "")


def test_problems_are_shown_with_their_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, line(), line(custom_id="b", method="PUT"), line())
    assert run(["check", "--source", path]) == 1
    assert capsys.readouterr().out.splitlines()[:7] == [
        (
            f'{path}:2:30: invalid_method (custom_id b) The method must be "POST", but it is '
            f'another text. Set it to "POST".'
        ),
        '    …tom_id": "b", "method": "PUT", "url": "/v1/chat/completions", "body": {"…',
        "                             ^^^^^",
        (
            f"{path}:3:15: duplicate_custom_id (custom_id a) This custom_id was already used on "
            f"line 1. Give every request a custom_id of its own."
        ),
        '    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completi…',
        "                  ^^^",
        f"{path}: 2 problems in 3 lines",
    ]


def test_pipe_shows_no_piece_of_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = body(messages=[{"role": "user", "content": "Xyzzy"}])
    path = write(tmp_path, line(method="PUT", body=secret), b'{"Xyzzy')
    assert run(["check", path]) == 1
    assert "Xyzzy" not in capsys.readouterr().out
    _, found = check_json(capsys, path)
    assert "Xyzzy" not in json.dumps(found)


def test_problems_beyond_the_first_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, *[line(method="PUT", custom_id=f"{n}") for n in range(5)], b"1")
    assert run(["check", "--max-problems", "2", path]) == 1
    out = capsys.readouterr().out
    assert f"{path}: 4 more lines with problems; in all: 5 invalid_method, 1 not_an_object" in out
    assert f"{path}: 6 problems in 6 lines" in out
    status, found = check_json(capsys, "--max-problems", "2", path)
    assert status == 1
    assert len(found["problems"]) == 2
    assert found["problems_total"] == 6
    assert found["problem_codes"] == {"invalid_method": 5, "not_an_object": 1}


def test_bad_lines_may_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line(), b"1")
    assert run(["check", path]) == 1
    assert "with --skip-invalid the other 1 request would run: 1 batch" in capsys.readouterr().out
    assert run(["check", "--skip-invalid", path]) == 0
    assert "without the bad lines: 1 batch, estimated" in capsys.readouterr().out
    assert run(["check", "--skip-invalid", write(tmp_path, b"1")]) == 1


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line(), line(custom_id="ü", method="PUT"))
    status, found = check_json(capsys, path)
    assert status == 1
    bytes_of_body = len(json.dumps(GOOD["body"]))
    cost = bytes_of_body / 4 * 0.075e-6 / 2 + 100 * 0.30e-6 / 2
    assert found == {
        "file": path,
        "passes": False,
        "bytes": Path(path).stat().st_size,
        "lines": 2,
        "requests": {"good": 1, "invalid": 1},
        "batches": 1,
        "models": {
            "openai/gpt-oss-20b": {
                "requests": 1,
                "input_tokens": round(bytes_of_body / 4),
                "output_tokens": 100,
                "cost_usd": {
                    "batch": pytest.approx(cost),
                    "on_demand": pytest.approx(2 * cost),
                },
            }
        },
        "cost_usd": {"batch": pytest.approx(cost), "on_demand": pytest.approx(2 * cost)},
        "problems": [
            {
                "line": 2,
                "column": 30,
                "custom_id": "ü",
                "code": "invalid_method",
                "message": 'The method must be "POST", but it is another text. Set it to "POST".',
            }
        ],
        "problems_total": 1,
        "problem_codes": {"invalid_method": 1},
    }


def test_each_file_has_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path, line(), name="good.jsonl")
    bad = write(tmp_path, b"1", name="bad.jsonl")
    assert run(["check", "--json", good, bad]) == 1
    verdicts = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [(one["file"], one["passes"]) for one in verdicts] == [(good, True), (bad, False)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.jsonl", b"\n \n", "empty_file"),
        ("plain.jsonl.gz", None, "not_gzip"),
        ("requests.json", line(), "unsupported_name"),
        (f"{'x' * 240}.jsonl", line(), None),
    ],
)
def test_problems_of_the_whole_file(
    name: str,
    content: bytes | None,
    code: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    path.write_bytes(line() if content is None else content)
    status, found = check_json(capsys, str(path))
    assert status == (0 if code is None else 1)
    assert [one["code"] for one in found["problems"]] == ([] if code is None else [code])


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input(
    pack: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pack(b"\xef\xbb\xbf" + line() + b"\r\n" + line(custom_id="b"))
    monkeypatch.setattr("sys.stdin", Stdin(data))
    status, found = check_json(capsys, "-")
    assert (status, found["file"], found["requests"]["good"]) == (0, "<stdin>", 2)


def test_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "requests.jsonl"
    path.symlink_to(path)
    for name in ("nowhere.jsonl", str(path)):
        assert run(["check", name]) == 2
        assert f"{name} does not exist." in capsys.readouterr().err


class BrokenDisk(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_file_that_breaks_off_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, line())
    monkeypatch.setattr(Path, "open", lambda *_: BrokenDisk())
    assert run(["check", path]) == 1
    assert capsys.readouterr().err == f"Error: {path} cannot be read: Input/output error.\n"
    stdin = Stdin(b"")
    stdin.buffer = BrokenDisk()
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["check", "-"]) == 1
    assert capsys.readouterr().err == "Error: <stdin> cannot be read: Input/output error.\n"


def test_check_folder_looks_at_every_file_below_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    good = [write(tmp_path, line(), name=name) for name in ("b.jsonl", "deep/er/a.jsonl")]
    for name in ("._b.jsonl", "deep/.c.jsonl", ".git/d.jsonl", "notes.txt"):
        (tmp_path / name).write_text("what is no request\n")
    assert run(["check", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert [one.split(":")[0] for one in said.out.splitlines() if "no problems" in one] == good
    hidden = f"{tmp_path}/._b.jsonl, {tmp_path}/deep/.c.jsonl"
    assert said.err == f"Skipped, as hidden: {hidden}\n"


def test_check_folder_without_requests_is_a_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert run(["check", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder without request files" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "run"])
def test_table_in_the_place_of_requests_names_make(
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my tickets.csv").write_text("id,text\n1,x\n")
    assert run([verb, "my tickets.csv"]) == 2
    said = capsys.readouterr()
    assert (
        "my tickets.csv is a table, not a request file. Turn its rows into requests first: "
        "groq-batch make 'my tickets.csv' --model MODEL --prompt '... {COLUMN} ...' --out 'my "
        "tickets.jsonl'"
    ) in said.err
    assert said.out == ""


def test_file_named_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line())
    assert run(["check", path, path]) == 2
    assert "given twice" in capsys.readouterr().err


# -- cost -------------------------------------------------------------------------------------


def test_model_without_a_price(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line(body=body(model="x/y", max_completion_tokens=None)))
    assert run(["check", path]) == 0
    out = capsys.readouterr().out
    assert "1 batch, no estimate, because a price or the length of audio is not known" in out
    assert "no output is counted for requests without max_completion_tokens" in out
    _, found = check_json(capsys, path)
    assert found["cost_usd"] == {"batch": None, "on_demand": None}


def test_many_models_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, *[line(custom_id=f"{n}", body=body(model=f"m-{n}")) for n in range(20)])
    assert run(["check", path]) == 0
    assert "and 8 more models" in capsys.readouterr().out


def test_cost_cap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line())
    assert run(["check", "--max-cost", "0.000001", path]) == 1
    out = capsys.readouterr().out
    assert f"{path}: too_expensive The estimated cost of " in out
    assert run(["check", "--max-cost", "1", path]) == 0
    assert run(["check", "--max-cost", "0", path]) == 0


@pytest.mark.parametrize(
    ("model", "cap", "stack_cap", "words"),
    [
        ("openai/gpt-oss-20b", 0.000001, None, "Raise --max-cost or split the file."),
        ("openai/gpt-oss-20b", 0.000001, 1.0, "Raise --max-cost or split the file."),
        ("openai/gpt-oss-20b", 0.000001, 0.000001, "with a larger MaxJobCostUsd."),
        ("other", 1.0, None, "is not known. Name another model, or use a stack without MaxJob"),
        # The stack may know it from its account's list of models.
        ("other", 1.0, 0.0, None),
        ("other", 1.0, 1.0, None),
        ("whisper-large-v3", 1.0, 1.0, "is billed by the length of the audio"),
        ("whisper-large-v3", 1.0, 0.0, "or leave out --max-cost: the stack has no"),
        ("whisper-large-v3", 0.0, 0.0, None),
    ],
)
def test_what_a_cap_keeps_from_running(
    tmp_path: Path, model: str, cap: float, stack_cap: float | None, words: str | None
) -> None:
    path = write(tmp_path, line(body=body(model=model)))
    found = check_file(
        RequestFile(path),
        limits=limits.split_limits(50_000, 100_000_000),
        max_cost_usd=cap,
        stack_cap_usd=stack_cap,
    )
    problems = [problem.message for problem in found.file_problems]
    assert len(problems) == (words is not None)
    if words is not None:
        assert words in problems[0]


def test_models_are_left_to_the_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line(body=body(model="no/such-model")))
    assert run(["check", path]) == 0
    assert "models are checked by the stack alone" in capsys.readouterr().out


def test_discount_is_that_of_the_price_list() -> None:
    text = (Path(prices.__file__).parent / "prices.json").read_text("utf-8")
    assert on_demand_usd(1.0) == 1 / (1 - json.loads(text)["batch_discount"])


# -- the pipeline's own rules -----------------------------------------------------------------


def test_limits_are_the_defaults_of_the_template() -> None:
    template = (PROJECT / "template.yaml").read_text("utf-8")
    for name, value in [
        ("MaxRequestsPerBatch", limits.DEFAULT_MAX_REQUESTS),
        ("MaxBytesPerBatch", limits.DEFAULT_MAX_BYTES),
    ]:
        declared = f'  {name}:\n    Type: Number\n    Default: "?{value}"?\n'
        assert re.search(declared, template), name


def test_line_that_fits_into_no_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, line())
    status, found = check_json(capsys, "--max-bytes-per-batch", "100", path)
    assert status == 1
    assert [(one["code"], one["column"]) for one in found["problems"]] == [("line_too_long", None)]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    long = [line(custom_id=f"{n}", body=body(x="y" * 10_000)) for n in range(2_000)]
    path = write(tmp_path, *long)
    split_limits = limits.split_limits(50_000, 100_000_000)
    check_file(RequestFile(path), limits=split_limits)
    tracemalloc.start()
    try:
        check_file(RequestFile(path), limits=split_limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Path(path).stat().st_size > 20_000_000
    assert peak < 8_000_000
