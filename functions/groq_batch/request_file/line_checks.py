"""The checks of a request line, in the order in which they are reported.

Valid lines of the usual form are recognised many at a time, by one typed decode each (the fast
way). Any other line is taken apart key by key (the careful way), which gives the same verdict on
every line and can name what is wrong. Both walk over the prompts without building objects for them,
so that a line needs no more memory than its bytes.

Text that cannot be written as UTF-8 (half of a surrogate pair, such as a lone backslash-u-d800) is
taken as invalid JSON wherever it stands: RFC 8259 calls its meaning unpredictable, and neither the
custom_id nor an answer row could be written with it. Of a key that stands twice the last value
counts, as in most parsers; only its size may be that of all of them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
from typing import Annotated, Literal, Protocol, get_args

import msgspec

from groq_batch.domain.cost import ModelEstimate, ModelEstimates
from groq_batch.domain.json_nesting import nests_deeper_than
from groq_batch.domain.problem import Problem
from groq_batch.request_file.body_sizes import Shortened, estimated_bytes, without_long_texts
from groq_batch.request_file.lines import Lines, is_blank, without_line_end
from groq_batch.request_file.seen_ids import DuplicateFinder, SeenIds

_Url = Literal["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/translations"]
ALLOWED_URLS: tuple[str, ...] = get_args(_Url)
"""Endpoints that Groq's batch guide names for request lines."""
CHAT_URL = "/v1/chat/completions"
FIRST_CHECKS = 1
"""The checks before there were ``invalid_messages`` and ``missing_audio``."""
CHECKS = 2
"""These checks. A large file whose checking has begun is checked to its end by the same ones."""
MAX_NESTING = 500
"""Brackets that may be open at once. Python's parsers give up at about a thousand, less the calls
that are under way, so that without a limit of its own a line might pass here and fail later."""
_SHALLOW_BYTES = 2 * MAX_NESTING
"""A line of so many bytes cannot be nested too deeply: what opens has to close."""
_ALL_BUT_OPENING = bytes(byte for byte in range(256) if byte not in b"[{")
_PIECE_BYTES = 64 * 1024
_TOO_DEEP = (
    f"The line is nested too deeply: more than {MAX_NESTING} brackets are open at once. Write a "
    f"flatter request."
)
_USUAL_END = b"}}\n"
_BEHIND_BODY = len(b"}\n")
_FEW_LINES = 8
_MOST_ODD_LINES = 64
_MAX_TOKENS = 2**53
"""A larger limit of output tokens is not a number that any parser agrees on."""


class CheckedRequest(msgspec.Struct, frozen=True, gc=False):
    """What matters of a valid line.

    Attributes:
        custom_id: The request's id.
        model: The model it asks.
        body_bytes: Size of its ``body`` as it counts for the estimate (see ``body_sizes``).
        max_output_tokens: The limit that it sets for the answer, if it does.
    """

    custom_id: str
    model: str
    body_bytes: int
    max_output_tokens: int | None


class ValidLines(msgspec.Struct, frozen=True, gc=False):
    """Valid lines that follow each other.

    Attributes:
        lines: The lines, each with a line feed.
        size: Their size in bytes.
        offset: Offset in the stream at which these exact bytes are; None if they were changed.
        custom_ids: Their ids.
        models: Number and sizes of the requests, by model.
    """

    lines: list[bytes]
    size: int
    offset: int | None
    custom_ids: list[str]
    models: dict[str, ModelEstimate]


class InvalidLine(msgspec.Struct, frozen=True, gc=False):
    """An invalid line.

    Attributes:
        data: The line without line end.
        problem: The first check that it fails.
    """

    data: bytes
    problem: Problem


_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Tokens = Annotated[int, msgspec.Meta(gt=0, le=_MAX_TOKENS)]


class _Message(msgspec.Struct, gc=False):
    """A message, of which nothing matters but that it is there."""


class _Body(msgspec.Struct, gc=False):
    """The body of a good request as it nearly always is: what matters of it."""

    model: _Text
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)] | None = None
    url: str | None = None
    file: None = None
    stream: bool | None = None
    service_tier: None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None


class _Request(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A good request line as it nearly always is."""

    custom_id: _Text
    method: Literal["POST"]
    url: _Url
    body: _Body


class ModelCheck(Protocol):
    """Says which models requests may name."""

    def problem(self, model: str, url: str) -> tuple[str, str] | None:
        """Return code and sentence of what is wrong with a model for a URL; None if nothing is."""


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_syntax = msgspec.json.Decoder(msgspec.Raw).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(float | int).decode
_PLACE = re.compile(r" \(byte (\d+)\)$")
_APPLE_DOUBLE_MAGIC = b"\x00\x05\x16\x07"
_APPLE_DOUBLE = (
    "like a file that macOS writes beside others, under their names with ._ in front. Leave it out."
)
_NO_NUMBER = re.compile(rb"-?Infinity|NaN")
_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HALF_PAIR_AT_END = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}.{0,5}\Z")


class LineChecker:
    """Checks the lines of one file and remembers the ids that were used."""

    def __init__(
        self,
        duplicates: DuplicateFinder | None = None,
        *,
        models: ModelCheck | None = None,
        checks: int = CHECKS,
    ) -> None:
        """Check lines.

        Args:
            duplicates: Finds ids that were used before; among the checked lines if None.
            models: Checks the models that requests name; None accepts any.
            checks: Which checks lines must pass: ``CHECKS``, or ``FIRST_CHECKS``.
        """
        self._duplicates = duplicates or SeenIds()
        self._models = models
        self._checks = checks

    def check_lines(self, block: Lines) -> Iterator[ValidLines | InvalidLine]:
        """Check lines that follow each other.

        Yields:
            The results in order, valid lines many at a time; nothing for blank lines.
        """
        given, lines = block.lines, _with_line_feeds(block.lines)
        is_changed = lines is not given
        offset, start, most, odd = block.offset, 0, len(lines), 1
        while start < len(lines):
            batch = lines[start : start + most]
            requests, sizes = _usual_requests(batch)
            count = self._count_allowed(requests)
            if count:
                yield from self._find_duplicates(
                    block.first + start,
                    None if is_changed else offset,
                    batch[:count],
                    requests[:count],
                    sizes,
                )
            if start + count < len(lines):
                offset += sum(map(len, given[start : start + count]))
            start += count
            if count == len(batch):
                most *= 2
                continue
            # Lines of an unusual form rarely come alone: less and less often is the next one tried.
            odd = 1 if count else min(2 * odd, _MOST_ODD_LINES)
            for line in given[start : start + odd]:
                yield from self._check_unusual(block.first + start, offset, line)
                offset += len(line)
                start += 1
            most = _FEW_LINES

    def check(self, number: int, data: bytes) -> CheckedRequest | Problem:
        """Check one line, the careful way.

        Args:
            number: The physical line, from 1.
            data: Its bytes, without line end.

        Returns:
            What matters of the request, or the first problem that applies.
        """
        position = utf8_error(data)
        if position is not None:
            return Problem(number, None, "invalid_encoding", encoding_message(position, data))
        return self._check_carefully(number, data)

    def _count_allowed(self, requests: list[_Request]) -> int:
        """Return how many requests there are before the first whose model may not be named."""
        models = self._models
        if models is None:
            return len(requests)
        named = {(request.body.model, request.url) for request in requests}
        refused = {pair for pair in named if models.problem(*pair) is not None}
        places = (n for n, one in enumerate(requests) if (one.body.model, one.url) in refused)
        return next(places, len(requests)) if refused else len(requests)

    def _find_duplicates(
        self,
        number: int,
        offset: int | None,
        lines: list[bytes],
        requests: list[_Request],
        sizes: list[int],
    ) -> Iterator[ValidLines | InvalidLine]:
        """Separate lines whose id was used before from the others, which are valid."""
        custom_ids = [request.custom_id for request in requests]
        duplicates = self._duplicates.add(custom_ids, number)
        start = 0
        for end, first_line in [*duplicates, (len(lines), 0)]:
            if end > start:
                run = slice(start, end)
                size = sum(map(len, lines[run]))
                yield ValidLines(
                    lines[run],
                    size,
                    offset,
                    custom_ids[run],
                    _estimates(requests[run], sizes[run]),
                )
                offset = None if offset is None else offset + size
            if end < len(lines):
                problem = _duplicate(number + end, custom_ids[end], first_line)
                yield InvalidLine(without_line_end(lines[end]), problem)
                offset = None if offset is None else offset + len(lines[end])
            start = end + 1

    def _check_unusual(
        self, number: int, offset: int, line: bytes
    ) -> Iterator[ValidLines | InvalidLine]:
        """Check one line the careful way."""
        data = without_line_end(line)
        if is_blank(data):
            return
        found = self.check(number, data)
        if isinstance(found, Problem):
            yield InvalidLine(data, found)
            return
        written = data + b"\n"
        yield ValidLines(
            [written],
            len(written),
            offset if written == line else None,
            [found.custom_id],
            {found.model: ModelEstimate(1, found.body_bytes, found.max_output_tokens or 0)},
        )

    def _check_carefully(self, number: int, data: bytes) -> CheckedRequest | Problem:
        """Check a line that the fast way does not take, key by key."""
        fields = _read_object(number, data)
        if isinstance(fields, Problem):
            return fields
        if "custom_id" not in fields:
            return Problem(
                number,
                None,
                "missing_custom_id",
                "The request has no custom_id. Give every request a custom_id of its own.",
            )
        custom_id = _text(fields["custom_id"])
        if not custom_id:
            found = "empty" if custom_id == "" else _kind(fields["custom_id"])
            return Problem(
                number,
                None,
                "invalid_custom_id",
                f"The custom_id must be a text that is not empty, but it is {found}. Give every "
                f"request a custom_id of its own.",
            )
        for _, first_line in self._duplicates.add((custom_id,), number):
            return _duplicate(number, custom_id, first_line)
        result = self._check_fields(custom_id, fields)
        if isinstance(result, CheckedRequest):
            return result
        code, message = result
        return Problem(number, custom_id, code, message)

    def _check_fields(
        self, custom_id: str, fields: dict[str, msgspec.Raw]
    ) -> CheckedRequest | tuple[str, str]:
        """Check what stands beside the id; return the request, or code and sentence."""
        if _text(fields.get("method")) != "POST":
            found = _found(fields.get("method"))
            return (
                "invalid_method",
                f'The method must be "POST", but it is {found}. Set it to "POST".',
            )
        url = _text(fields.get("url"))
        if url not in ALLOWED_URLS:
            found = _found(fields.get("url"))
            message = (
                f"The url must be one of {', '.join(ALLOWED_URLS)}, but it is {found}. Write it "
                f"without host and without /openai."
            )
            return "invalid_url", message
        body = fields.get("body")
        if body is None or _kind(body) != "an object":
            message = (
                f"The body must be an object, but it is {_kind(body)}. Put the request's "
                f"parameters into it."
            )
            return "invalid_body", message
        return self._check_body(custom_id, url, body)

    def _check_body(
        self, custom_id: str, url: str, body: msgspec.Raw
    ) -> CheckedRequest | tuple[str, str]:
        """Check the body of a request; return the request, or code and sentence."""
        fields = _decode_object(body)
        model = _text(fields.get("model"))
        if not model:
            found = "empty" if model == "" else _kind(fields.get("model"))
            message = (
                f"The body's model must be the name of a model, but it is {found}. Name one that "
                f"Groq runs in batches, such as openai/gpt-oss-20b."
            )
            return "missing_model", message
        wrong = self._check_parameters(url, fields)
        if wrong is None and self._models is not None:
            wrong = self._models.problem(model, url)
        if wrong is not None:
            return wrong
        return CheckedRequest(
            custom_id,
            model,
            estimated_bytes(bytes(body)),
            output_limit(fields.get("max_completion_tokens"), fields.get("max_tokens")),
        )

    def _check_parameters(self, url: str, fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
        """Return code and sentence of what is wrong with the parameters of a body, if anything."""
        if self._checks > FIRST_CHECKS:
            wrong = _check_messages(fields) if url == CHAT_URL else _check_audio(fields)
            if wrong is not None:
                return wrong
        if bytes(fields.get("stream", b"")) == b"true":
            return (
                "unsupported_parameter",
                "stream is true, but a batch cannot stream. Remove stream from the body.",
            )
        if _is_given(fields.get("service_tier")):
            return (
                "unsupported_parameter",
                "service_tier is set, but a batch takes none. Remove service_tier from the body.",
            )
        return None


def _with_line_feeds(lines: list[bytes]) -> list[bytes]:
    """Return lines that end as Windows ends them with a line feed alone; others as they are."""
    if lines[0].endswith(b"\r\n"):
        return [without_line_end(line) + b"\n" for line in lines]
    return lines


def _usual_requests(lines: list[bytes]) -> tuple[list[_Request], list[int]]:
    """Decode lines up to the first that is not, beyond doubt, a good request of the usual form.

    All that is asked of a line is asked of all of them at once, by loops that run in C.

    Returns:
        The requests, and what their bodies count for the estimate, two bytes more each.
    """
    if not (
        all(map(bytes.startswith, lines, repeat(b"{")))
        and all(map(bytes.endswith, lines, repeat(_USUAL_END)))
    ):
        lines = _until_unusual(lines)
    if not lines:
        return [], []
    shortened = without_long_texts(lines)
    lines = shortened.lines
    if not (_are_flat(lines) and _are_utf8(lines)):
        lines = _until_unusual(lines)
    requests: list[_Request] = []
    with suppress(msgspec.DecodeError, RecursionError):
        # What was decoded before the line that fails stays in the list.
        requests.extend(map(_decode_request, lines))
    # With a bracket in the id the body would not be found.
    unusual = [
        place
        for place, one in enumerate(requests)
        if one.body.stream
        or not (one.body.messages if one.url == CHAT_URL else one.body.url)
        or "{" in one.custom_id
    ]
    if unusual:
        del requests[unusual[0] :]
    return requests, _body_sizes(shortened, len(requests))


def _until_unusual(lines: list[bytes]) -> list[bytes]:
    """Return the lines before the first that is not framed as usual."""
    return lines[: next(n for n, line in enumerate(lines) if not _has_usual_frame(line))]


def _has_usual_frame(line: bytes) -> bool:
    return (
        line.startswith(b"{")
        and line.endswith(_USUAL_END)
        and utf8_error(line) is None
        and not _nests_too_deeply(line)
    )


def _are_utf8(lines: list[bytes]) -> bool:
    if all(map(bytes.isascii, lines)):
        return True
    return all(utf8_error(line) is None for line in lines)


def _are_flat(lines: list[bytes]) -> bool:
    """Tell whether none of some lines is nested too deeply."""
    # Brackets that are open at once stand at least a byte apart, braces (with a key each) four:
    # plain prompts leave none where too many could stand before them.
    longest = max(map(len, lines))
    if longest <= _SHALLOW_BYTES or (
        max(map(bytes.find, lines, repeat(b"["), repeat(_SHALLOW_BYTES // 4))) < 0
        and max(map(bytes.find, lines, repeat(b"{"), repeat(_SHALLOW_BYTES))) < 0
    ):
        return True
    # Code, JSON, footnotes: brackets within prompts are common, but seldom so many.
    if longest <= _PIECE_BYTES and max(map(_opening_brackets, lines)) <= MAX_NESTING:
        return True
    return not any(map(_nests_too_deeply, lines))


def _body_sizes(shortened: Shortened, count: int) -> list[int]:
    """Return what the bodies of the first usual lines count, each with the two bytes behind it."""
    # Such a line has four keys and no others, and only the body has brackets and can end with one:
    # it begins at the first bracket after the line's own, and ends one before the line's end.
    lines = shortened.lines[:count]
    begins = [*map(bytes.index, lines, repeat(b"{"), repeat(1))]
    sizes = [*map(int.__sub__, map(len, lines), begins)]
    semicolons = [*map(bytes.find, lines, repeat(b";"))]
    odd = {place for place in shortened.escaped if place < count}
    if max(semicolons, default=-1) >= 0:
        odd.update(place for place, at in enumerate(semicolons) if at >= 0)
    for place in odd:
        body = lines[place][begins[place] : -_BEHIND_BODY]
        sizes[place] = estimated_bytes(body) + _BEHIND_BODY
    for place, size in shortened.texts.items():
        if place < count:
            sizes[place] += size
    return sizes


def _estimates(requests: list[_Request], sizes: list[int]) -> dict[str, ModelEstimate]:
    """Return what each model is asked to do by requests.

    Args:
        requests: The requests.
        sizes: What their bodies count, each with the two bytes behind it.
    """
    bodies = [request.body for request in requests]
    names = {body.model for body in bodies}
    if len(names) == 1:
        size = sum(sizes) - len(sizes) * _BEHIND_BODY
        tokens = sum([body.max_completion_tokens or body.max_tokens or 0 for body in bodies])
        return {names.pop(): ModelEstimate(len(bodies), size, tokens)}
    models = ModelEstimates()
    for body, size in zip(bodies, sizes, strict=True):
        models[body.model].add(size - _BEHIND_BODY, body.max_completion_tokens or body.max_tokens)
    return models


def utf8_error(data: bytes) -> int | None:
    """Return the place, from 1, of the first byte that is not UTF-8; None if all are."""
    if data.isascii():
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    return None


def encoding_message(position: int, beginning: bytes) -> str:
    """Return the sentence about a line that is not UTF-8.

    Args:
        position: The first byte that is not, from 1.
        beginning: The line's first bytes; some tell what the file is instead.
    """
    if beginning.startswith(_GZIP_MAGIC):
        return (
            "The line begins as a gzip file does: it is compressed under another name than that of "
            "a compressed file, or twice. Upload it compressed once, under a name that ends in "
            ".jsonl.gz, or decompress it."
        )
    if beginning.startswith(_APPLE_DOUBLE_MAGIC):
        return f"The line begins {_APPLE_DOUBLE}"
    if beginning.startswith(_UTF_16_BOMS):
        return "The line begins as UTF-16 text does. Save the file as UTF-8."
    return f"Byte {position} of the line is not UTF-8. Save the file as UTF-8."


def too_long_message(size: int, limit: int) -> str:
    """Return the sentence about a line of more bytes than the limit."""
    return (
        f"The line has {size} bytes, and a line of at most {limit} bytes fits into a batch. "
        f"Shorten the request."
    )


def _read_object(number: int, data: bytes) -> dict[str, msgspec.Raw] | Problem:
    """Return the values of a line by their keys, unread, or what keeps it from being an object."""
    try:
        value = _decode_syntax(data)
    except msgspec.DecodeError as error:
        return Problem(number, None, "invalid_json", _json_message(data, str(error)))
    except RecursionError:
        return Problem(number, None, "invalid_json", _TOO_DEEP)
    if _nests_too_deeply(data):
        return Problem(number, None, "invalid_json", _TOO_DEEP)
    if _kind(value) != "an object":
        return Problem(number, None, "not_an_object", _object_message(value))
    fields: dict[str, msgspec.Raw] = _decode_object(value)
    return fields


def _check_messages(fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
    """Return code and sentence of what is wrong with the messages of a chat, if anything."""
    messages = fields.get("messages")
    if messages is not None and _kind(messages) == "a list" and len(_decode_list(messages)):
        return None
    found = "empty" if _kind(messages) == "a list" else _kind(messages)
    message = (
        f"The body's messages must be a list of at least one message, but it is {found}. Write the "
        f'conversation as "messages": [{{"role": "user", "content": "..."}}].'
    )
    return "invalid_messages", message


def _check_audio(fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
    """Return code and sentence of what is wrong with where the audio is, if anything."""
    advice = "Put the audio where Groq can fetch it, and its address into the body's url."
    if _is_given(fields.get("file")):
        return "missing_audio", f"file is set, but a batch takes none. {advice}"
    url = _text(fields.get("url"))
    if url:
        return None
    found = "empty" if url == "" else _kind(fields.get("url"))
    return "missing_audio", f"The body's url must be a text, but it is {found}. {advice}"


def _is_given(value: msgspec.Raw | None) -> bool:
    """Tell whether a value is there and not null, which stands for none."""
    return _kind(value) not in {"missing", "null"}


def output_limit(
    max_completion_tokens: msgspec.Raw | None, max_tokens: msgspec.Raw | None
) -> int | None:
    """Return the first of two limits of a body's answer that is a whole number above 0.

    A number too large to be one stands for the largest: it must not pass for no limit at all.

    Args:
        max_completion_tokens: The field of this name; None when the body has none.
        max_tokens: Likewise.
    """
    for value in (_number(max_completion_tokens), _number(max_tokens)):
        if value is None or value <= 0:
            continue
        if value > _MAX_TOKENS:
            return _MAX_TOKENS
        if value == int(value):
            return int(value)
    return None


def _nests_too_deeply(data: bytes) -> bool:
    """Tell whether more than ``MAX_NESTING`` brackets of a line are open at once."""
    pieces = (data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
    if sum(map(_opening_brackets, pieces)) <= MAX_NESTING:
        return False
    return nests_deeper_than(data, MAX_NESTING)


def _opening_brackets(data: bytes) -> int:
    """Count the brackets that open, within texts too: several times as fast as ``bytes.count``."""
    return len(data.translate(None, _ALL_BUT_OPENING))


def _duplicate(number: int, custom_id: str, first_line: int) -> Problem:
    return Problem(
        number,
        custom_id,
        "duplicate_custom_id",
        f"This custom_id was already used on line {first_line}. Give every request a custom_id of "
        f"its own.",
    )


def _json_message(data: bytes, error: str) -> str:
    """Return the sentence for what the JSON parser says, which names no content."""
    if data.startswith(codecs.BOM_UTF8):
        return (
            "The line begins with a byte order mark, as if files had been joined. Remove it: only "
            "the start of the file may have one."
        )
    text = error.removeprefix("JSON is malformed: ")
    place = _PLACE.search(text)
    # The parser tells the byte it stumbled over or the one behind it.
    where = f" near byte {int(place[1]) + 1}" if place else ""
    # At the end of a line the parser looks for the other half, and reports the end of the line.
    is_cut = "truncated" in text
    is_half_pair = "surrogate" in text or (is_cut and _HALF_PAIR_AT_END.search(data) is not None)
    if is_half_pair or "hex escape" in text:
        return (
            f"A backslash-u escape{where} is incomplete or half of a surrogate pair, often half of "
            f"an emoji that was cut. Remove it or write it whole."
        )
    reason = "it ends too early" if is_cut else _PLACE.sub("", text)
    cause = _json_cause(data, int(place[1]) if place else 0)
    return f"The line is not valid JSON: {reason}{where}{cause}"


def _json_cause(data: bytes, place: int) -> str:
    """Return what a parser stumbled over, where it is known what writes that, and what to do.

    Args:
        data: The line.
        place: The byte that the parser names, from 0, or the one behind.
    """
    if data.startswith(_APPLE_DOUBLE_MAGIC):
        return f", in what looks {_APPLE_DOUBLE}"
    if b"\0" in data:
        return (
            f". It has NUL bytes from byte {data.index(0) + 1} on, as a file has that a crash has "
            f"cut off, or text in UTF-16. Write the file again, as UTF-8."
        )
    number = _NO_NUMBER.match(data, max(place - 1, 0)) or _NO_NUMBER.match(data, place)
    if number is not None:
        return f", {number[0].decode()}, for which JSON has no form. Write null or a number."
    return ". Write each request as one JSON object on one line."


def _object_message(value: msgspec.Raw) -> str:
    return (
        f"The line must be a JSON object, but it is {_kind(value)}. Write each request as one "
        f"JSON object on one line."
    )


def _found(value: msgspec.Raw | None) -> str:
    """Say what stands in the place of a text that should be another."""
    kind = _kind(value)
    return "another text" if kind == "a text" else kind


def _kind(value: msgspec.Raw | None) -> str:
    """Say what a value is; its first byte tells."""
    if value is None:
        return "missing"
    kinds = {b'"': "a text", b"{": "an object", b"[": "a list", b"n": "null"}
    first = bytes(memoryview(value)[:1])
    return kinds.get(first, "true or false" if first in b"tf" else "a number")


def _text(value: msgspec.Raw | None) -> str | None:
    """Return a value if it is a text."""
    return _decode_text(value) if value is not None and _kind(value) == "a text" else None


def _number(value: msgspec.Raw | None) -> float | int | None:
    """Return a value if it is a number of usual size."""
    if value is None or _kind(value) != "a number":
        return None
    try:
        number: float | int = _decode_number(value)
    except msgspec.ValidationError:
        return None
    return number
