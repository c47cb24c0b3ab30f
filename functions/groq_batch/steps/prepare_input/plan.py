"""The plan of a job: what its preparation decided, and the uploads that carry it out.

Invocations of the preparation may run at the same time or one after the other, with other settings
or other code after a deployment in between. Each comes to a plan of its own; the first one that is
written down stands, and only its uploads are ever completed, by whoever comes by. So the shards in
the bucket are those of one plan, complete, and nothing is left of any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.job import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a preparation decided.

    Attributes:
        record: The job's record, which is written when the uploads are completed.
        uploads: The objects that the job goes on with.
    """

    record: JobRecord
    uploads: tuple[PendingUpload, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "schema_version": 1,
            "record": self.record.to_json(),
            "uploads": [upload.to_json() for upload in self.uploads],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            record=JobRecord.from_json(data["record"]),
            uploads=tuple(PendingUpload.from_json(item) for item in data["uploads"]),
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the plan that stands, or None when there is none yet."""
        found = storage.get_json(_key(keys))
        return cls.from_json(found[0]) if found else None

    def propose(self, storage: Storage, keys: object_keys.WorkKeys) -> Plan:
        """Write the plan down unless one stands; returns the one that stands."""
        try:
            storage.put_json(_key(keys), self.to_json(), if_none_match=True)
        except ConflictError:
            # Perhaps this very plan, when the answer to the first of two tries was lost.
            standing = Plan.load(storage, keys)
            if standing is None:
                raise
            return standing
        return self


def _key(keys: object_keys.WorkKeys) -> str:
    return f"{keys.prefix}plan.json"
