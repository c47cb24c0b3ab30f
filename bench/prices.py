"""AWS list prices, in USD, with where and when they were read.

Region us-east-1, arm64, without the free tier. Read in June 2026; check them before quoting.
"""

from __future__ import annotations

READ_AT = "June 2026"
REGION = "us-east-1"

TRANSITION_USD = 0.025 / 1000
"""A state entered by a standard workflow, children of Maps included.
https://aws.amazon.com/step-functions/pricing/"""

LAMBDA_GB_SECOND_USD = 0.0000133334
"""arm64. https://aws.amazon.com/lambda/pricing/"""

LAMBDA_REQUEST_USD = 0.20 / 1_000_000
"""https://aws.amazon.com/lambda/pricing/"""

S3_WRITE_USD = 0.005 / 1000
"""PUT, COPY, POST, LIST: each part, each copied part, each begin and end of an upload.
https://aws.amazon.com/s3/pricing/"""

S3_READ_USD = 0.0004 / 1000
"""GET, HEAD and all others but DELETE, which is free. https://aws.amazon.com/s3/pricing/"""

S3_GB_MONTH_USD = 0.023
"""Standard storage. https://aws.amazon.com/s3/pricing/"""

EVENT_USD = 1.00 / 1_000_000
"""A custom event of up to 64 KB. Events of S3 are counted as such, to be safe: AWS's own events are
free but for those that one has to switch on. https://aws.amazon.com/eventbridge/pricing/"""

TRACE_USD = 5.00 / 1_000_000
"""A trace that is recorded. https://aws.amazon.com/xray/pricing/"""

SECRET_CALL_USD = 0.05 / 10_000
"""https://aws.amazon.com/secrets-manager/pricing/"""

LOG_GB_USD = 0.50
"""Ingestion of logs. https://aws.amazon.com/cloudwatch/pricing/"""

EGRESS_GB_USD = 0.09
"""Data out to the internet. https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer"""
