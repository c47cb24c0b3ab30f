"""An S3 bucket in memory, behind the operations of the boto3 client that ``storage.py`` uses.

It does what AWS does, also where emulators are lenient: the least size of a part, conditions of
writes on keys that were touched meanwhile, delete markers, the order of keys by their bytes, the
codes of errors. ``tests/integration/test_s3_fake.py`` holds it against moto. Anything that the code
does not use is missing on purpose: an unknown operation or argument fails the test that makes it.
"""

# ruff: noqa: N803 (arguments are spelled as those of boto3)

from __future__ import annotations

import base64
import hashlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from botocore.exceptions import ClientError, ParamValidationError
from botocore.response import StreamingBody

from groq_batch.bucket.storage import Storage
from tests.fakes.calls import Call, Wire, instead, plain_wire

MIB = 1024 * 1024
SMALLEST_PART_BYTES = 5 * MIB
MAX_PARTS = 10_000
MAX_KEY_BYTES = 1024
MAX_METADATA_BYTES = 2048
MAX_DELETED_AT_ONCE = 1000
PAGE_SIZE = 1000
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What XML 1.0 may not hold, be it escaped or not."""


@dataclass(slots=True)
class _Version:
    """One version of a key; without ``data`` it is a delete marker."""

    version_id: str
    modified: float
    data: bytes | None = None
    etag: str = ""
    content_type: str = "binary/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    data: bytes
    etag: str


@dataclass(slots=True)
class _Upload:
    """A multipart upload; ``touched`` says that its key was written or removed since it began."""

    upload_id: str
    key: str
    content_type: str
    metadata: dict[str, str]
    begun: float
    parts: dict[int, _Part] = field(default_factory=dict)
    touched: bool = False


@dataclass(frozen=True, slots=True)
class _Completed:
    """What a completion answered; it is answered again when the same is asked once more."""

    asked: tuple[tuple[int, str], ...]
    answer: dict[str, Any]


class FakeS3:
    """One bucket, as the service keeps it.

    Args:
        bucket: The bucket's name.
        versioned: Whether versioning is enabled.
        clock: Seconds since 1970.
        page_size: Entries of a page of a listing.
        smallest_part_bytes: Least size of a part that is not the last; ranges can be copied from
            what is larger. Smaller than AWS's for tests that would take too much memory otherwise.

    Attributes:
        deletion_errors: Codes with which DeleteObjects fails for its next keys, in an answer that
            is a success.
    """

    def __init__(
        self,
        bucket: str = "bucket",
        *,
        versioned: bool = True,
        clock: Callable[[], float] = time.time,
        page_size: int = PAGE_SIZE,
        smallest_part_bytes: int = SMALLEST_PART_BYTES,
    ) -> None:
        self.bucket = bucket
        self.smallest_part_bytes = smallest_part_bytes
        self.page_size = page_size
        self.deletion_errors: list[str] = []
        self._versioned = versioned
        self._clock = clock
        self._lock = threading.RLock()
        self._keys: dict[str, list[_Version]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._completed: dict[str, _Completed] = {}
        self._counter = 0

    def client(self, wire: Wire = plain_wire) -> FakeS3Client:
        """Return a client whose calls go through ``wire``."""
        return FakeS3Client(self, wire)

    def storage(self, wire: Wire = plain_wire) -> Storage:
        """Return the bucket as the code uses it; its calls go through ``wire``."""
        return Storage(s3=self.client(wire), bucket=self.bucket)

    def copy(self) -> FakeS3:
        """Return another bucket that holds the same, open uploads included."""
        other = FakeS3(
            self.bucket,
            versioned=self._versioned,
            clock=self._clock,
            page_size=self.page_size,
            smallest_part_bytes=self.smallest_part_bytes,
        )
        with self._lock:
            # A version that is kept does not change any more.
            other._keys = {key: list(versions) for key, versions in self._keys.items()}
            other._uploads = {
                name: replace(upload, parts=dict(upload.parts))
                for name, upload in self._uploads.items()
            }
            other._completed = dict(self._completed)
            other._counter = self._counter
        return other

    # -- looking in, for tests -------------------------------------------------------------------

    def read(self, key: str) -> bytes | None:
        """Return a key's current bytes, or None when it has none."""
        with self._lock:
            version = self._current(key)
            return version.data if version else None

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys below a prefix that have a current object, in S3's order."""
        with self._lock:
            found = [key for key in self._keys if key.startswith(prefix) and self._current(key)]
        return sorted(found, key=str.encode)

    def history(self, key: str) -> list[bytes | None]:
        """Return all versions of a key, oldest first; None stands for a removal."""
        with self._lock:
            return [version.data for version in self._keys.get(key, [])]

    def remove_version(self, key: str, version_id: str) -> None:
        """Remove a version for good, as ``DeleteObjectVersion`` does."""
        with self._lock:
            kept = [one for one in self._keys[key] if one.version_id != version_id]
            assert len(kept) < len(self._keys[key]), f"{key} has no version {version_id}"
            self._keys[key] = kept

    @property
    def open_uploads(self) -> list[str]:
        """The keys of multipart uploads that were neither completed nor aborted."""
        with self._lock:
            return sorted(upload.key for upload in self._uploads.values())

    # -- keeping ---------------------------------------------------------------------------------

    def _current(self, key: str) -> _Version | None:
        versions = self._keys.get(key)
        return versions[-1] if versions and versions[-1].data is not None else None

    def _next(self, kind: str) -> str:
        self._counter += 1
        return f"{kind}{self._counter:08d}"

    def _keep(self, key: str, version: _Version) -> None:
        for upload in self._uploads.values():
            if upload.key == key:
                upload.touched = True
        if self._versioned:
            self._keys.setdefault(key, []).append(version)
        elif version.data is None:
            self._keys.pop(key, None)
        else:
            version.version_id = "null"
            self._keys[key] = [version]

    def _version(self, key: str, version_id: str | None) -> _Version | None:
        """Return a version, a delete marker among them; without an id the newest."""
        versions = self._keys.get(key, [])
        if version_id is None:
            return versions[-1] if versions else None
        return next((one for one in versions if one.version_id == version_id), None)

    # -- objects ---------------------------------------------------------------------------------

    def put_object(
        self,
        *,
        Key: str,
        Body: bytes,
        ContentType: str = "binary/octet-stream",
        Metadata: Mapping[str, str] | None = None,
        IfNoneMatch: str | None = None,
        IfMatch: str | None = None,
    ) -> dict[str, Any]:
        operation = "PutObject"
        if not isinstance(Body, bytes | bytearray):
            raise ParamValidationError(report=f"Invalid type for parameter Body: {type(Body)}")
        metadata = _checked_metadata(operation, Metadata)
        _check_key(operation, Key)
        self._check_conditions(operation, Key, IfNoneMatch, IfMatch)
        data = bytes(Body)
        version = _Version(
            version_id=self._next("v"),
            modified=self._clock(),
            data=data,
            etag=_md5(data),
            content_type=ContentType,
            metadata=metadata,
        )
        self._keep(Key, version)
        return self._written(version)

    def _written(self, version: _Version) -> dict[str, Any]:
        answer: dict[str, Any] = {"ETag": version.etag}
        if self._versioned:
            answer["VersionId"] = version.version_id
        return _answer(answer)

    def _check_conditions(
        self, operation: str, key: str, if_none_match: str | None, if_match: str | None
    ) -> None:
        current = self._current(key)
        if if_none_match is not None:
            if if_none_match != "*":
                _fail(operation, 501, "NotImplemented", "A header you provided implies…")
            if current is not None:
                _precondition_failed(operation, "If-None-Match")
        if if_match is not None:
            if current is None:
                _fail(operation, 404, "NoSuchKey", "The specified key does not exist.")
            if current.etag.strip('"') != if_match.strip('"'):
                _precondition_failed(operation, "If-Match")

    def get_object(
        self,
        *,
        Key: str,
        VersionId: str | None = None,
        Range: str | None = None,
        IfMatch: str | None = None,
    ) -> dict[str, Any]:
        operation = "GetObject"
        version = self._version(Key, VersionId)
        if version is None:
            if VersionId is not None:
                _fail(operation, 404, "NoSuchVersion", "The specified version does not exist.")
            _fail(operation, 404, "NoSuchKey", "The specified key does not exist.")
        if version.data is None:
            if VersionId is not None:
                _fail(operation, 405, "MethodNotAllowed", "The specified method is not allowed.")
            _fail(operation, 404, "NoSuchKey", "The specified key does not exist.")
        if IfMatch is not None and IfMatch.strip('"') != version.etag.strip('"'):
            _precondition_failed(operation, "If-Match")
        data = version.data
        answer = self._described(version)
        if Range is not None:
            first, last = _range(operation, Range, len(data))
            data = data[first : last + 1]
            answer["ContentRange"] = f"bytes {first}-{last}/{len(version.data)}"
            answer["ContentLength"] = len(data)
        answer["Body"] = StreamingBody(io.BytesIO(data), len(data))
        return answer

    def head_object(self, *, Key: str, VersionId: str | None = None) -> dict[str, Any]:
        operation = "HeadObject"
        # The answer to a HEAD has no body, so that boto3 knows the status alone.
        version = self._version(Key, VersionId)
        if version is None or (version.data is None and VersionId is None):
            _fail(operation, 404, "404", "Not Found")
        if version.data is None:
            _fail(operation, 405, "405", "Method Not Allowed")
        return self._described(version)

    def _described(self, version: _Version) -> dict[str, Any]:
        answer = {
            "ContentLength": len(version.data or b""),
            "ContentType": version.content_type,
            "ETag": version.etag,
            "LastModified": _moment(version.modified),
            "Metadata": dict(version.metadata),
        }
        if self._versioned:
            answer["VersionId"] = version.version_id
        return _answer(answer)

    def delete_object(self, *, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        self._check_conditions("DeleteObject", Key, None, IfMatch)
        return _answer(self._remove(Key))

    def delete_objects(self, *, Delete: Mapping[str, Any]) -> dict[str, Any]:
        operation = "DeleteObjects"
        _only(operation, Delete, {"Objects", "Quiet"})
        objects = Delete["Objects"]
        is_xml = not any(_NO_XML.search(one["Key"]) for one in objects)
        if not (is_xml and 1 <= len(objects) <= MAX_DELETED_AT_ONCE):
            _fail(operation, 400, "MalformedXML", "The XML you provided was not well-formed.")
        deleted, errors = [], []
        for one in objects:
            _only(operation, one, {"Key"})
            entry: dict[str, Any] = {"Key": one["Key"]}
            if self.deletion_errors:
                problem = self.deletion_errors.pop(0)
                errors.append(entry | {"Code": problem, "Message": "It was not removed."})
                continue
            removed = self._remove(one["Key"])
            if removed:
                entry |= {"DeleteMarker": True, "DeleteMarkerVersionId": removed["VersionId"]}
            deleted.append(entry)
        answer: dict[str, Any] = {} if Delete.get("Quiet") else {"Deleted": deleted}
        return _answer(answer | ({"Errors": errors} if errors else {}))

    def _remove(self, key: str) -> dict[str, Any]:
        marker = _Version(version_id=self._next("v"), modified=self._clock())
        self._keep(key, marker)
        if not self._versioned:
            return {}
        return {"DeleteMarker": True, "VersionId": marker.version_id}

    # -- listings --------------------------------------------------------------------------------

    def list_objects_v2(
        self,
        *,
        Prefix: str = "",
        Delimiter: str | None = None,
        ContinuationToken: str | None = None,
    ) -> dict[str, Any]:
        after = _token_text(ContinuationToken)
        entries: list[tuple[str, str, _Version | None]] = []
        for key in self.keys(Prefix):
            folder = _folder(key, Prefix, Delimiter)
            name = folder or key
            if after and name.encode() <= after.encode():
                continue
            if folder is None:
                entries.append((key, "object", self._current(key)))
            elif not entries or entries[-1][:2] != (folder, "folder"):
                entries.append((folder, "folder", None))
        page, rest = entries[: self.page_size], entries[self.page_size :]
        answer: dict[str, Any] = {
            "Name": self.bucket,
            "Prefix": Prefix,
            "MaxKeys": self.page_size,
            "KeyCount": len(page),
            "IsTruncated": bool(rest),
        }
        contents = [
            {
                "Key": key,
                "Size": len(version.data or b""),
                "ETag": version.etag,
                "LastModified": _moment(version.modified),
                "StorageClass": "STANDARD",
            }
            for key, _, version in page
            if version is not None
        ]
        folders = [{"Prefix": name} for name, kind, _ in page if kind == "folder"]
        if contents:
            answer["Contents"] = contents
        if folders:
            answer["CommonPrefixes"] = folders
        if rest:
            answer["NextContinuationToken"] = _token(page[-1][0])
        return _answer(answer)

    def list_object_versions(
        self,
        *,
        Prefix: str = "",
        KeyMarker: str | None = None,
        VersionIdMarker: str | None = None,
    ) -> dict[str, Any]:
        entries = [
            (key, version, number == 0)
            for key in sorted(self._keys, key=str.encode)
            if key.startswith(Prefix)
            for number, version in enumerate(reversed(self._keys[key]))
        ]
        start = 0
        if KeyMarker is not None:
            start = self._place_after("ListObjectVersions", entries, KeyMarker, VersionIdMarker)
        page, rest = entries[start : start + self.page_size], entries[start + self.page_size :]
        answer: dict[str, Any] = {
            "Name": self.bucket,
            "Prefix": Prefix,
            "MaxKeys": self.page_size,
            "IsTruncated": bool(rest),
        }
        versions = [
            _listed_version(key, version, is_latest) | {"ETag": version.etag, "Size": len(data)}
            for key, version, is_latest in page
            if (data := version.data) is not None
        ]
        markers = [
            _listed_version(key, version, is_latest)
            for key, version, is_latest in page
            if version.data is None
        ]
        if versions:
            answer["Versions"] = versions
        if markers:
            answer["DeleteMarkers"] = markers
        if rest:
            answer["NextKeyMarker"] = page[-1][0]
            answer["NextVersionIdMarker"] = page[-1][1].version_id
        return _answer(answer)

    @staticmethod
    def _place_after(
        operation: str,
        entries: Sequence[tuple[str, _Version, bool]],
        key: str,
        version_id: str | None,
    ) -> int:
        """Return where a listing goes on: behind a version, or behind all versions of a key."""
        if version_id is None:
            return sum(one.encode() <= key.encode() for one, _, _ in entries)
        places = [(one, version.version_id) for one, version, _ in entries]
        if (key, version_id) not in places:
            # What S3 does with a version that is gone is not documented; this is the worst.
            _fail(operation, 400, "InvalidArgument", "Invalid version id specified")
        return places.index((key, version_id)) + 1

    # -- multipart uploads -----------------------------------------------------------------------

    def create_multipart_upload(
        self,
        *,
        Key: str,
        ContentType: str = "binary/octet-stream",
        Metadata: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        operation = "CreateMultipartUpload"
        _check_key(operation, Key)
        upload = _Upload(
            upload_id=self._next("u"),
            key=Key,
            content_type=ContentType,
            metadata=_checked_metadata(operation, Metadata),
            begun=self._clock(),
        )
        self._uploads[upload.upload_id] = upload
        return _answer({"Bucket": self.bucket, "Key": Key, "UploadId": upload.upload_id})

    def upload_part(
        self, *, Key: str, UploadId: str, PartNumber: int, Body: bytes
    ) -> dict[str, Any]:
        if not isinstance(Body, bytes | bytearray):
            raise ParamValidationError(report=f"Invalid type for parameter Body: {type(Body)}")
        upload = self._upload("UploadPart", Key, UploadId)
        _check_part_number("UploadPart", PartNumber)
        part = _Part(bytes(Body), _md5(bytes(Body)))
        upload.parts[PartNumber] = part
        return _answer({"ETag": part.etag})

    def upload_part_copy(
        self,
        *,
        Key: str,
        UploadId: str,
        PartNumber: int,
        CopySource: Mapping[str, str],
        CopySourceRange: str,
    ) -> dict[str, Any]:
        operation = "UploadPartCopy"
        _only(operation, CopySource, {"Bucket", "Key", "VersionId"})
        if CopySource["Bucket"] != self.bucket:
            _fail(operation, 404, "NoSuchBucket", "The specified bucket does not exist")
        upload = self._upload(operation, Key, UploadId)
        _check_part_number(operation, PartNumber)
        version_id = CopySource.get("VersionId")
        source = self._version(CopySource["Key"], version_id)
        if source is None and version_id is not None:
            _fail(operation, 404, "NoSuchVersion", "The specified version does not exist.")
        if source is None or (source.data is None and version_id is None):
            _fail(operation, 404, "NoSuchKey", "The specified key does not exist.")
        if source.data is None:
            message = "The source of a copy request may not specifically refer to a delete marker"
            _fail(operation, 400, "InvalidRequest", message)
        match = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", CopySourceRange)
        if match is None:
            _fail(operation, 400, "InvalidArgument", "The x-amz-copy-source-range is malformed")
        first, last = int(match[1]), int(match[2])
        if not first <= last < len(source.data):
            _fail(
                operation,
                400,
                "InvalidArgument",
                f"Range specified is not valid for source object of size: {len(source.data)}",
            )
        # AWS: a range can be copied only if the source is greater than 5 MB.
        if len(source.data) <= self.smallest_part_bytes:
            _fail(
                operation,
                400,
                "InvalidRequest",
                "The specified copy source is not supported as a byte-range copy source",
            )
        data = source.data[first : last + 1]
        part = _Part(data, _md5(data))
        upload.parts[PartNumber] = part
        result = {"ETag": part.etag, "LastModified": _moment(self._clock())}
        return _answer({"CopyPartResult": result})

    def complete_multipart_upload(
        self,
        *,
        Key: str,
        UploadId: str,
        MultipartUpload: Mapping[str, Any],
        IfNoneMatch: str | None = None,
    ) -> dict[str, Any]:
        operation = "CompleteMultipartUpload"
        _only(operation, MultipartUpload, {"Parts"})
        asked = MultipartUpload["Parts"]
        for one in asked:
            _only(operation, one, {"PartNumber", "ETag"})
        named = tuple((int(one["PartNumber"]), str(one["ETag"]).strip('"')) for one in asked)
        done = self._completed.get(UploadId)
        if done is not None and done.asked == named and IfNoneMatch is None:
            return done.answer
        upload = self._upload(operation, Key, UploadId)
        parts = _chosen_parts(operation, upload, named, self.smallest_part_bytes)
        self._check_conditions(operation, Key, IfNoneMatch, None)
        if IfNoneMatch is not None and upload.touched:
            _fail(
                operation,
                409,
                "ConditionalRequestConflict",
                "The conditional request cannot succeed due to a conflicting operation.",
            )
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        version = _Version(
            version_id=self._next("v"),
            modified=upload.begun,
            data=b"".join(part.data for part in parts),
            etag=f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"',
            content_type=upload.content_type,
            metadata=upload.metadata,
        )
        del self._uploads[UploadId]
        self._keep(Key, version)
        answer = self._written(version) | {"Bucket": self.bucket, "Key": Key}
        self._completed[UploadId] = _Completed(named, answer)
        return answer

    def abort_multipart_upload(self, *, Key: str, UploadId: str) -> dict[str, Any]:
        self._upload("AbortMultipartUpload", Key, UploadId)
        del self._uploads[UploadId]
        return _answer({})

    def _upload(self, operation: str, key: str, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            _fail(
                operation,
                404,
                "NoSuchUpload",
                "The specified upload does not exist. The upload ID may be invalid, or the upload "
                "may have been aborted or completed.",
            )
        return upload

    def call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an operation as one step that nobody else sees half done."""
        if arguments.pop("Bucket") != self.bucket:
            _fail(operation, 404, "NoSuchBucket", "The specified bucket does not exist")
        with self._lock:
            answer: dict[str, Any] = getattr(self, operation)(**arguments)
        return answer


OPERATIONS = (
    "put_object",
    "get_object",
    "head_object",
    "delete_object",
    "delete_objects",
    "create_multipart_upload",
    "upload_part",
    "upload_part_copy",
    "complete_multipart_upload",
    "abort_multipart_upload",
)
LISTINGS: Mapping[str, Mapping[str, str]] = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_object_versions": {
        "KeyMarker": "NextKeyMarker",
        "VersionIdMarker": "NextVersionIdMarker",
    },
}
"""The operations with pages: which argument takes on which field of the page before."""


class FakeS3Client:
    """The boto3 client, as far as the code uses it."""

    def __init__(self, server: FakeS3, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        if name not in OPERATIONS:
            raise AttributeError(f"The S3 double has no {name}; add it there if the code needs it")

        def operation(**arguments: Any) -> dict[str, Any]:
            return self.request(name, arguments)

        return operation

    def request(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make a call through the wire."""
        call = Call("s3", operation, _target(arguments), arguments)
        answer: dict[str, Any] = self._wire(
            call, lambda: self._server.call(operation, dict(arguments))
        )
        return answer

    def get_paginator(self, name: str) -> FakePaginator:
        """Return what lists all pages of an operation."""
        return FakePaginator(self, name, LISTINGS[name])


class FakePaginator:
    """Lists page by page, each with a call of its own."""

    def __init__(self, client: FakeS3Client, operation: str, tokens: Mapping[str, str]) -> None:
        self._client = client
        self._operation = operation
        self._tokens = tokens

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages."""
        while True:
            page = self._client.request(self._operation, arguments)
            yield page
            if not page["IsTruncated"]:
                return
            arguments = arguments | {name: page[source] for name, source in self._tokens.items()}


# -- what AWS checks ---------------------------------------------------------------------------


def client_error(operation: str, status: int, code: str, message: str) -> ClientError:
    """Return an error as boto3 raises it."""
    name = "".join(word.capitalize() for word in operation.split("_"))
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0},
    }
    return ClientError(answer, name if "_" in operation else operation)


def refusing(operation: str, status: int, code: str, target: str = "") -> Wire:
    """Return a wire on which calls of an operation fail, or those for keys that begin so."""

    def refuse(_: Callable[[], Any]) -> Any:
        raise client_error(operation, status, code, "no")

    return instead(refuse, operation, target)


def _fail(operation: str, status: int, code: str, message: str) -> NoReturn:
    raise client_error(operation, status, code, message)


def _precondition_failed(operation: str, condition: str) -> NoReturn:
    error = client_error(
        operation,
        412,
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
    )
    error.response["Error"]["Condition"] = condition  # type: ignore[typeddict-unknown-key]
    raise error


def _answer(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}


def _only(operation: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(given) - known
    if unknown:
        raise TypeError(f"The S3 double does not know {sorted(unknown)} of {operation}")


def _check_key(operation: str, key: str) -> None:
    if not key:
        raise ParamValidationError(report="Invalid length for parameter Key, value: 0")
    if len(key.encode()) > MAX_KEY_BYTES:
        _fail(operation, 400, "KeyTooLongError", "Your key is too long")


def _check_part_number(operation: str, number: int) -> None:
    if not 1 <= number <= MAX_PARTS:
        message = f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive"
        _fail(operation, 400, "InvalidArgument", message)


def _checked_metadata(operation: str, given: Mapping[str, str] | None) -> dict[str, str]:
    metadata = dict(given or {})
    for name, value in metadata.items():
        if not (name.isascii() and value.isascii()):
            raise ParamValidationError(report="Non ascii characters found in S3 metadata")
    if sum(len(name) + len(value) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        _fail(operation, 400, "MetadataTooLarge", message)
    return {name.lower(): value.strip() for name, value in metadata.items()}


def _chosen_parts(
    operation: str, upload: _Upload, named: Sequence[tuple[int, str]], smallest: int
) -> list[_Part]:
    if not named:
        _fail(operation, 400, "MalformedXML", "The XML you provided was not well-formed.")
    numbers = [number for number, _ in named]
    if numbers != sorted(set(numbers)):
        message = "The list of parts was not in ascending order."
        _fail(operation, 400, "InvalidPartOrder", message)
    parts = []
    for number, etag in named:
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag:
            message = "One or more of the specified parts could not be found."
            _fail(operation, 400, "InvalidPart", message)
        parts.append(part)
    if any(len(part.data) < smallest for part in parts[:-1]):
        message = "Your proposed upload is smaller than the minimum allowed size"
        _fail(operation, 400, "EntityTooSmall", message)
    return parts


def _range(operation: str, text: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", text)
    if match is None:
        raise ValueError(f"The S3 double does not know the range {text!r}")
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if first >= size or last < first:
        _fail(operation, 416, "InvalidRange", "The requested range is not satisfiable")
    return first, last


def _listed_version(key: str, version: _Version, is_latest: bool) -> dict[str, Any]:
    return {
        "Key": key,
        "VersionId": version.version_id,
        "IsLatest": is_latest,
        "LastModified": _moment(version.modified),
    }


def _folder(key: str, prefix: str, delimiter: str | None) -> str | None:
    if not delimiter or delimiter not in key[len(prefix) :]:
        return None
    return key[: key.index(delimiter, len(prefix)) + len(delimiter)]


def _target(arguments: Mapping[str, Any]) -> str:
    if "Delete" in arguments:
        return ",".join(one["Key"] for one in arguments["Delete"]["Objects"])
    return str(arguments.get("Key", arguments.get("Prefix", "")))


def _md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _moment(seconds: float) -> datetime:
    # S3 tells times to the second.
    return datetime.fromtimestamp(int(seconds), UTC)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _token_text(token: str | None) -> str:
    return base64.urlsafe_b64decode(token.encode()).decode() if token else ""
