"""A bucket in moto, for tests of what the code and the fake make of S3."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3


@cache
def client() -> Any:
    """Return the client of all tests: to make one takes longer than most of them."""
    return boto3.client("s3")


def versioned_bucket(name: str) -> Any:
    """Create a bucket that keeps versions, within ``mock_aws``; returns the client."""
    s3 = client()
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return s3
