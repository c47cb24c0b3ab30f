"""How a job has ended: decided once, whoever comes back to decide it again.

Step Functions may lose sight of an invocation and start it again; both bring the job to its end,
and a newer job may have replaced the final report of the first before the second looks for it. So
the end is written down before the report, and again when the report stands where it belongs. Each
of these writes has the one before as its condition: who comes second takes what stands. Nobody is
told of an end before its report stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a job.

    Attributes:
        report: The final report.
        stands: Whether it has been written where it belongs; from then on no other one is.
        models: What the report's numbers come to for each model, as the usage record has it; None
            in one that an older version has written.
    """

    report: dict[str, Any]
    stands: bool
    models: Sequence[Mapping[str, Any]] | None = None

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> tuple[Self, str] | None:
        """Read a job's end and its ETag, or None while nobody has decided about it."""
        return stored.load(storage, keys.end, cls)

    def write(self, storage: Storage, keys: object_keys.WorkKeys, *, over: str | None) -> str:
        """Write the end down and return its ETag.

        Args:
            storage: The bucket.
            keys: The job's working files.
            over: ETag of the one that it replaces; None when there was none.

        Raises:
            ConflictError: Another invocation was first; what it wrote is to be looked at.
        """
        return stored.put(storage, keys.end, self, over=over)
