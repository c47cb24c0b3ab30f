"""What the model takes for granted about AWS and Groq, each with where it comes from.

Numbers that are not published are marked as estimates; they are chosen so that a bill is rather too
high, and a job rather too slow. Prices are in ``bench/prices.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.cost import GROQ_BYTES_PER_SECOND, S3_BYTES_PER_SECOND
from bench.sizes import SLOWER_CORE

CALL_SECONDS = 0.025
"""A call of S3, Secrets Manager or Step Functions and its answer, for a small object. An estimate:
AWS speaks of 100 to 200 ms for small objects, functions in the bucket's region see 10 to 40 ms.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""

GROQ_CALL_SECONDS = 0.4
"""A call of Groq's API and its answer, with the connection that is open already. An estimate."""

COLD_CONNECT_SECONDS = 0.2
"""What the first calls of a new environment take longer: names are looked up, connections made. An
estimate."""

CALL_CPU_SECONDS = 0.0015 * SLOWER_CORE
"""What a call takes of a core: measured here for ``check_status`` (0.22 s for 159 calls), on a core
of Lambda taken to be slower."""

INVOCATION_CPU_SECONDS = 0.01 * SLOWER_CORE
"""Additional CPU seconds of an invocation, measured the same way: ``start_job``, 0.018 s with 4
calls."""

INIT_CPU_SECONDS = {
    "start_job": 0.22,
    "prepare_input": 0.37,
    "submit_batch": 0.27,
    "check_status": 0.31,
    "download_results": 0.29,
    "finish_job": 0.42,
    "cancel_job": 0.45,
}
"""What Python and the imports of a function take of a core when an environment is made: measured
here, the least of six, with the packages of the functions alone. Billed at the share of a core that
the memory brings; but the start has a whole core, whatever the memory, as measured by others:
https://hichaelmart.medium.com/shave-99-93-off-your-lambda-bill-with-this-one-weird-trick-33c0acebb2ea"""

CLIENT_CPU_SECONDS = 0.1
"""CPU seconds to create the AWS clients, measured the same way; once for each environment."""

ENVIRONMENT_SECONDS = 0.25
"""What it takes until a new environment begins with the function's own code: not billed; estimated.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""

KEPT_WARM_SECONDS = 300.0
"""How long an idle environment is kept. AWS says nothing; measurements find 5 minutes and more.
https://mikhail.io/serverless/coldstarts/aws/intervals/"""

COLD_SHARE = 0.01
"""Share of a busy stack's invocations that find no environment.
https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/"""

STATE_SECONDS = 0.05
"""From the end of a state to the beginning of the next one's work. An estimate."""

MAP_START_SECONDS = 1.5
MAP_END_SECONDS = 3.0
"""From the state of a Distributed Map to the first line of its children, and from their end to the
next state: 1 and 6 s in the one public measurement, of 100 children that do nothing.
https://repost.aws/questions/QUn5oKgcnjRTemt39V9hdtyw"""

EVENT_SECONDS = 0.7
"""From an upload to the start of its function: S3, EventBridge and Lambda's queue. AWS promises
no time for it; an estimate. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-bus.html"""

TRACES_OF_A_JOB = 2
"""Traces of X-Ray: of the start function, and of the execution with the functions that it calls;
each child of a Map adds one. The default rule takes one a second and a twentieth of the rest; here
all are counted. https://aws.amazon.com/xray/pricing/"""

LOG_BYTES_OF_AN_INVOCATION = 1_800
"""What a function writes for an invocation: measured here, 0.33 MB for 188. The platform's own
lines are off below the level WARN."""

SECRET_SECONDS = 300.0
"""How long an environment keeps the key (``MAX_AGE_SECONDS`` of ``api_key.py``)."""

KEY_READERS = frozenset({"check_status", "submit_batch", "download_results", "finish_job"})
"""Functions of a job that call Groq."""

INDEX_USD_OF_A_JOB = 0.0000024
"""What a job's line of the index of all jobs costs where 10,000 end a day: its share of the lists,
its usage record read once, and the function's time (``upkeep.py``)."""

ANSWER_SHARE = 0.7
"""Bytes of answers for each byte of requests, as in the job of 183 MB that is measured."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What bytes of a job take in a function.

    Attributes:
        s3: How often each passes between the function and S3.
        groq: How often each passes between the function and Groq.
        cpu_seconds_per_mb: What they take of a core.
    """

    s3: float = 0.0
    groq: float = 0.0
    cpu_seconds_per_mb: float = 0.0

    def seconds(self, size_bytes: float, share: float) -> float:
        """Return what bytes take, one thing after the other, at a share of a core."""
        return (
            size_bytes * self.s3 / S3_BYTES_PER_SECOND
            + size_bytes * self.groq / GROQ_BYTES_PER_SECOND
            + size_bytes / 1e6 * self.cpu_seconds_per_mb / share
        )


RATES: dict[str, Rate] = {
    "prepare_input": Rate(s3=0.4, cpu_seconds_per_mb=0.0013 * SLOWER_CORE),
    "submit_batch": Rate(s3=1, groq=1, cpu_seconds_per_mb=0.0007 * SLOWER_CORE),
    "download_results": Rate(s3=1, groq=1, cpu_seconds_per_mb=0.0062 * SLOWER_CORE),
}
"""By function; CPU as measured for the 183 MB job. Of ``download_results`` the bytes are those of
answers, of the others those of requests; a file that is prepared in ranges passes twice. It is read
over four connections, 2.5 times as fast as over one that has the speed of S3 (``prefetch.py``)."""
