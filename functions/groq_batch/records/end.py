"""Record how a job ended. It is decided once, even if several invocations try.

Step Functions may lose an invocation and start another. Both then finish the job, and a newer job
may have replaced the final report of the first before the second reads it. So the end is recorded
before the report is written, and again after it. Each of these writes is conditional on the
previous one: an invocation that comes second uses the stored end. No end is published before its
report is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec

from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.usage import UsageOfModel


class End(msgspec.Struct, frozen=True, kw_only=True, rename={"is_report_written": "stands"}):
    """The end of a job.

    Attributes:
        report: The final report.
        is_report_written: Whether the report has been written to its path; from then on no other
            one is.
        models: The report's numbers by model, as in the usage record; None if an older version
            wrote the end.
    """

    report: dict[str, Any]
    is_report_written: bool
    models: Sequence[UsageOfModel] | None = None

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Stored[Self] | None:
        """Read a job's end with its ETag, or None if it has not been decided yet."""
        return stored.load_with_etag(storage, keys.end, cls)

    @classmethod
    def is_reported(cls, storage: Storage, keys: object_keys.WorkKeys) -> bool:
        """Tell whether the final report was written to its path, even if replaced since then."""
        found = cls.load(storage, keys)
        return found is not None and found.value.is_report_written

    def write(self, storage: Storage, keys: object_keys.WorkKeys, *, over: str | None) -> str:
        """Write the end and return its ETag.

        Args:
            storage: The bucket.
            keys: Keys of the job's working files.
            over: ETag of the end that it replaces; None if there is none.

        Raises:
            ConflictError: Another invocation was first; read its end.
        """
        return stored.put(storage, keys.end, self, over=over)
