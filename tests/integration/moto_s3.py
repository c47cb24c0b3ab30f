"""A bucket in moto, for tests of what the code and the fake make of S3."""

from __future__ import annotations

from typing import Any

from tests.integration.aws_session import shared_session


def versioned_bucket(name: str) -> Any:
    """Create a bucket that keeps versions, within ``mock_aws``; returns the client."""
    s3 = shared_session().client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return s3
