"""The benchmark's worker counts what the clients of the functions send."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

from bench.worker import _Counts
from groq_batch import bootstrap


def test_counts_watch_counts_calls_and_bytes_of_the_functions_clients() -> None:
    session = bootstrap._session()
    counts = _Counts()
    counts.watch(session)
    s3 = session.create_client("s3", endpoint_url="http://127.0.0.1:9")

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, {}, HTTPResponse(BytesIO(), preload_content=False))

    s3.meta.events.register_last("before-send", answer)
    s3.put_object(Bucket="bucket", Key="key", Body=b"123")
    assert counts.take() == {"calls": {"s3.PutObject": 1}, "bytes": {"written": 3}}
    assert counts.take() == {"calls": {}, "bytes": {}}
