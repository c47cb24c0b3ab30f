"""Store the plan of a job: the result of its preparation, and the uploads to complete.

Several invocations may prepare the same job, at the same time or one after the other, also with
other settings or other code after a deployment. Each makes its own plan. The first plan that is
stored is binding: any invocation may complete its uploads, and those of other plans are aborted.
The bucket therefore has all shards of one plan and none of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.records import stored
from groq_batch.records.job import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The result of a preparation.

    Attributes:
        record: The job's record, which is stored after the uploads are completed.
        uploads: The pending uploads of the objects that the job needs.
    """

    record: JobRecord
    uploads: tuple[PendingUpload, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "schema_version": stored.SCHEMA_VERSION,
            "record": self.record.to_json(),
            "uploads": to_json_data(self.uploads),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data.

        Raises:
            NewerRecordError: A later version of the stack has written them in another form.
        """
        stored.check_version(data)
        return cls(
            record=JobRecord.from_json(data["record"]),
            uploads=from_json_data(data["uploads"], tuple[PendingUpload, ...]),
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the stored plan, or None if there is none."""
        found = storage.get_json(keys.plan)
        return cls.from_json(found.value) if found else None

    def propose(self, storage: Storage, keys: object_keys.WorkKeys) -> Plan:
        """Store the plan unless there is one; return the stored plan."""
        data = self.to_json()
        found = stored.put_json_once(storage, keys.plan, data)
        return self if found is data else Plan.from_json(found)
