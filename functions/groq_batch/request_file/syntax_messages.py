"""Messages for lines that cannot be read as a JSON object.

Where the first bytes or the error show what wrote the file, the message says so.
"""

from __future__ import annotations

import codecs
import re

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FORMATS = (
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd. Decompress it, or compress it with gzip."),
    (b"BZh91AY&SY", "a file compressed with bzip2. Decompress it, or compress it with gzip."),
    (b"\xfd7zXZ\0", "a file compressed with xz. Decompress it, or compress it with gzip."),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook. Write its content as JSON lines."),
    (b"PAR1", "a Parquet file. Turn its rows into requests with groq-batch make."),
)
"""First bytes of other formats, with what to do."""
_APPLE_DOUBLE_MAGIC = b"\x00\x05\x16\x07"
_APPLE_DOUBLE = (
    "like a metadata file of macOS, whose name begins with ._ and then another file's name. Leave "
    "it out."
)
_PLACE = re.compile(r" \(byte (\d+)\)$")
_NOT_A_NUMBER = re.compile(rb"-?Infinity|NaN")
_OPENING = re.compile(rb"\s*[\[{][\s\[{]*\Z")
_WRITE_ON_LINES = "Write one JSON object on each line."
_CAUSES = (
    (
        re.compile(rb"'"),
        (
            "It has single quotes, as Python prints objects. Write it with json.dumps, or put "
            "names and texts in double quotes."
        ),
    ),
    (
        re.compile(rb"\xe2\x80[\x98-\x9f]"),
        (
            "It has curly quotes, as word processors write them. Put names and texts in straight "
            'double quotes (").'
        ),
    ),
    (
        re.compile(rb"(None|True|False)\b"),
        "It has a word of Python. Write it with json.dumps, or write null, true or false.",
    ),
    (re.compile(rb"//|/\*|#"), "It has a comment, which JSON does not allow. Remove it."),
    (
        re.compile(rb"<(!doctype|html|\?xml)\b", re.IGNORECASE),
        (
            "It is a web page or XML, such as an error page saved in place of the file. Download "
            "the file again."
        ),
    ),
)
"""What may stand where the parser fails, with its cause and what to do."""
_CONTROL = re.compile(rb"[\x01-\x1f]")
_HALF_PAIR_AT_END = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}.{0,5}\Z")


def encoding_message(position: int, beginning: bytes) -> str:
    """Return the message for a line that is not UTF-8.

    Args:
        position: Position of the first byte that is not UTF-8, from 1.
        beginning: The line's first bytes, which can show that the file has another format.
    """
    if beginning.startswith(_GZIP_MAGIC):
        return (
            "The line begins like a gzip file: the file is compressed but its name does not say "
            "so, or it is compressed twice. Upload it compressed once, under a name that ends in "
            ".jsonl.gz, or decompress it."
        )
    if beginning.startswith(_APPLE_DOUBLE_MAGIC):
        return f"The line begins {_APPLE_DOUBLE}"
    if beginning.startswith(_UTF_16_BOMS):
        return "The line begins like UTF-16 text. Save the file as UTF-8."
    for magic, said in _FORMATS:
        if beginning.startswith(magic):
            return f"The line begins like {said}"
    return f"Byte {position} of the line is not UTF-8. Save the file as UTF-8."


def too_long_message(size: int, limit: int) -> str:
    """Return the message for a line of ``size`` bytes where ``limit`` bytes are allowed."""
    return (
        f"The line has {size} bytes, but at most {limit} bytes fit into a batch. Shorten the "
        f"request."
    )


def json_message(data: bytes, error: str) -> str:
    """Return the message for a line that is not JSON.

    Args:
        data: The line.
        error: The message of msgspec, which never has content of the line.
    """
    if data.startswith(codecs.BOM_UTF8):
        return (
            "The line begins with a byte order mark, as if files had been joined. Remove it: only "
            "the start of the file may have one."
        )
    text = error.removeprefix("JSON is malformed: ")
    place = _PLACE.search(text)
    # msgspec names the byte at which it failed or the one after it.
    where = f" near byte {int(place[1]) + 1}" if place else ""
    # At the end of a line msgspec looks for the other half, and reports that the line is truncated.
    is_cut = "truncated" in text
    is_half_pair = "surrogate" in text or (is_cut and _HALF_PAIR_AT_END.search(data) is not None)
    if is_half_pair or "hex escape" in text:
        return (
            f"A backslash-u escape{where} is incomplete or half of a surrogate pair, often half of "
            f"an emoji that was cut off. Remove it or write it completely."
        )
    reason = "it ends too early" if is_cut else _PLACE.sub("", text)
    cause = _json_cause(data, text, int(place[1]) if place else 0)
    return f"The line is not valid JSON: {reason}{where}{cause}"


def syntax_cause(data: bytes, error: str) -> str | None:
    """Return why a line is not JSON, and what to do; None if nothing shows it.

    Args:
        data: The line.
        error: The message of msgspec.
    """
    if "truncated" in error:
        return (
            "It begins JSON that spans several lines. jq -c . FILE writes each object on one line; "
            "for a list of objects it is jq -c '.[]' FILE."
            if _OPENING.match(data)
            else None
        )
    found = _PLACE.search(error)
    place = int(found[1]) if found else 0
    if "trailing characters" in error and (cause := _trailing_cause(data, place)):
        return cause
    if "invalid escape" in error:
        return (
            "A text has a backslash that begins no escape of JSON. Write a backslash as \\\\, and "
            "single quotes without one."
        )
    # msgspec names the byte at which it failed or the one after it.
    places = (place, max(place - 1, 0))
    for pattern, cause in _CAUSES:
        if any(pattern.match(data, one) for one in places):
            return cause
    if "invalid character" in error and _CONTROL.match(data, place) is not None:
        return "A text has a control character, such as a tab. Write it as an escape, such as \\t."
    return None


def _trailing_cause(data: bytes, place: int) -> str | None:
    """Return why a line goes on after an object; None if nothing shows it.

    Args:
        data: The line.
        place: Number of bytes up to and including the first one too many.
    """
    before, rest = data[: place - 1].rstrip(), data[place - 1 :].strip()
    if not before.endswith(b"}"):
        return None
    if rest == b",":
        return f"A comma follows the object. Remove it. {_WRITE_ON_LINES}"
    if not rest.lstrip(b", \t\r").startswith(b"{"):
        return None
    if b"\r" in data[len(before) : place]:
        return (
            "It has several objects with a carriage return (CR) between them. End lines with a "
            "line feed (LF or CRLF)."
        )
    return f"It has several objects. {_WRITE_ON_LINES}"


def _json_cause(data: bytes, error: str, place: int) -> str:
    """Return what is known of the cause, and what to do.

    Args:
        data: The line.
        error: The message of msgspec.
        place: Index, from 0, of the byte at which the parser failed, or of the one after it.
    """
    if data.startswith(_APPLE_DOUBLE_MAGIC):
        return f", in what looks {_APPLE_DOUBLE}"
    for magic, said in _FORMATS:
        if data.startswith(magic):
            return f", in what looks like {said}"
    if b"\0" in data:
        return (
            f". It has NUL bytes from byte {data.index(0) + 1} on, like a file that was truncated "
            f"by a crash, or UTF-16 text. Write the file again, as UTF-8."
        )
    number = _NOT_A_NUMBER.match(data, max(place - 1, 0)) or _NOT_A_NUMBER.match(data, place)
    if number is not None:
        return f", {number[0].decode()}, which JSON does not allow. Write null or a number."
    cause = syntax_cause(data, error)
    return f". {cause or 'Write each request as one JSON object on one line.'}"
