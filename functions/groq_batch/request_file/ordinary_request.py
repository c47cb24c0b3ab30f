"""Read a request line for an ordinary call: its path, its body and its size."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.on_demand import Size
from groq_batch.request_file.body_sizes import estimated_bytes
from groq_batch.request_file.request_rules import output_limit

_API_VERSION = "/v1"
_TEXT_FORMATS = frozenset({b'"text"', b'"srt"', b'"vtt"'})
"""Values of ``response_format`` whose answers are texts; others are answered with JSON. See
https://platform.openai.com/docs/api-reference/audio/createTranscription."""


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    url: str
    body: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdinaryRequest:
    """A request of the input, for an ordinary call.

    Attributes:
        custom_id: Its id.
        path: Path of the call, relative to the API's base address.
        body: The exact bytes of its ``body``.
        size: Its size for the cost estimate.
    """

    custom_id: str
    path: str
    body: bytes
    size: Size

    @property
    def is_chat(self) -> bool:
        """Whether it is a chat request, whose body is sent unchanged."""
        return self.path == CHAT_URL.removeprefix(_API_VERSION)

    @property
    def asks_for_text(self) -> bool:
        """Whether it asks for audio as plain text or subtitles, which are no JSON."""
        wanted = _decode_fields(self.body).get("response_format")
        return not self.is_chat and wanted is not None and bytes(wanted) in _TEXT_FORMATS

    def form_fields(self) -> list[tuple[str, str]]:
        """Return the body as form fields, as audio endpoints expect; a list as ``name[]``."""
        fields: list[tuple[str, str]] = []
        for name, value in _decode_fields(self.body).items():
            written = bytes(value)
            if written.startswith(b"["):
                fields += [(f"{name}[]", _text(bytes(one))) for one in _decode_list(written)]
            elif written != b"null":
                fields.append((name, _text(written)))
        return fields


def read_request(line: bytes) -> OrdinaryRequest:
    """Read a request line that has passed the checks.

    Raises:
        msgspec.MsgspecError: It is not a request line.
    """
    request = _decode_line(line)
    body = bytes(request.body)
    fields = _decode_fields(body)
    return OrdinaryRequest(
        custom_id=request.custom_id,
        path=request.url.removeprefix(_API_VERSION),
        body=body,
        size=Size(
            model=_decode_text(fields["model"]),
            body_bytes=estimated_bytes(body),
            output_tokens=output_limit(
                fields.get("max_completion_tokens"), fields.get("max_tokens")
            ),
        ),
    )


def _text(written: bytes) -> str:
    """Return a JSON value as a form has it: a text by its characters, all else as written.

    What is no text is not read. Python would write a number another way, and refuses one of
    thousands of digits, which is for the API to refuse.
    """
    return _decode_text(written) if written.startswith(b'"') else written.decode()
