"""A simulated bucket with any number of uploads that have run, for code that lists them.

It replaces the network below a real boto3 client: botocore signs the requests and
parses the answers, which are the XML that S3 sends. Nothing is kept for an upload, so a million of
them take no memory.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from local.environment import REGION, ROOT_ACCESS_KEY, ROOT_SECRET_KEY

BUCKET = "bucket"
PAGE = 1000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_ADDRESS = "https://bucket.s3.amazonaws.com/"
_OWNER = "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"


class ListedBucket:
    """Uploads below ``input/``, all of which have their record below ``jobs/``.

    Args:
        uploads: How many there are.
        modified_at: The date of each, in seconds since 1970.

    Attributes:
        calls: Calls by operation.
        objects: Small objects that were written, by key.
    """

    def __init__(self, uploads: int, modified_at: float) -> None:
        self.uploads = uploads
        self.calls: Counter[str] = Counter()
        self.objects: dict[str, bytes] = {}
        self._date = datetime.fromtimestamp(modified_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def client(self) -> Any:
        """Return a client of S3 that speaks to this bucket."""
        session = boto3.session.Session(
            aws_access_key_id=ROOT_ACCESS_KEY,
            aws_secret_access_key=ROOT_SECRET_KEY,
            region_name=REGION,
        )
        # Without its own checksums, botocore sends a body unchanged, not in chunks.
        config = Config(request_checksum_calculation="when_required", retries={"max_attempts": 0})
        client = session.client("s3", config=config)
        # botocore uses the handler's return value as the response; the stubs do not say so.
        client.meta.events.register("before-send.s3", self._answer)  # type: ignore[arg-type]
        return client

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        address = urlsplit(str(request.url))
        query = parse_qs(address.query, keep_blank_values=True)
        key = unquote(address.path).lstrip("/").removeprefix(f"{BUCKET}/")
        if "versions" in query:
            self.calls["ListObjectVersions"] += 1
            return _response(200, self._page(query))
        if "list-type" in query:
            self.calls["ListObjectsV2"] += 1
            return _response(200, _listing("ListBucketResult", is_truncated=False, rows=""))
        if request.method == "PUT":
            self.calls["PutObject"] += 1
            self.objects[key] = _content(request.body)
            return _response(200, b"", ETag=_etag(self.objects[key]))
        data = b"{}" if key.startswith("jobs/") else self.objects.get(key)
        status, fields = 404, {}
        if data is not None:
            status, fields = 200, {"ETag": _etag(data), "Last-Modified": self._date}
        if request.method == "HEAD":
            self.calls["HeadObject"] += 1
            return _response(status, b"", **fields)
        self.calls["GetObject"] += 1
        return _response(status, data or b"<Error><Code>NoSuchKey</Code></Error>", **fields)

    def _page(self, query: dict[str, list[str]]) -> bytes:
        if not query["prefix"][0].startswith("input/"):
            return _listing("ListVersionsResult", is_truncated=False, rows="")
        marker = query.get("key-marker", [""])[0]
        first = int(marker.rsplit("-", 1)[-1].split(".")[0]) + 1 if marker else 0
        last = min(first + PAGE, self.uploads)
        rows = "".join(map(self._row, range(first, last)))
        following = (
            f"<NextKeyMarker>{quote(_key(last - 1))}</NextKeyMarker>"
            f"<NextVersionIdMarker>{last - 1:032x}</NextVersionIdMarker>"
        )
        is_truncated = last < self.uploads
        return _listing(
            "ListVersionsResult",
            is_truncated=is_truncated,
            rows=(following if is_truncated else "") + rows,
        )

    def _row(self, number: int) -> str:
        return (
            f"<Version><Key>{quote(_key(number))}</Key><VersionId>{number:032x}</VersionId>"
            f"<IsLatest>true</IsLatest><LastModified>{self._date}</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME"
            f"</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>123456</Size>"
            f"<Owner><ID>{_OWNER}</ID></Owner><StorageClass>STANDARD</StorageClass></Version>"
        )


def _key(number: int) -> str:
    return f"input/team + ü/2026-03-01/requests-{number:07d}.jsonl"


def _listing(root: str, *, is_truncated: bool, rows: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_NAMESPACE}">'
        f"<Name>{BUCKET}</Name><EncodingType>url</EncodingType><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{rows}</{root}>"
    ).encode()


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _content(body: Any) -> bytes:
    return bytes(body.read() if hasattr(body, "read") else body or b"")


class _Stream(io.BytesIO):
    """A response body with urllib3's interface."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


def _response(status: int, body: bytes, **headers: str) -> AWSResponse:
    fields = {"Content-Length": str(len(body)), "Content-Type": "application/xml", **headers}
    return AWSResponse(_ADDRESS, status, HTTPHeaders.from_dict(fields), _Stream(body))
