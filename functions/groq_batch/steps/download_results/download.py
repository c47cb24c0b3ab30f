"""Collect one shard attempt: fetch the batch's files and determine each request's row.

Shards that are parts of the same origin shard are collected together, by the invocation for the
first of them, because they share one set of rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.parallel import in_parallel
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    UnknownOutcomeError,
    log_fields,
)
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.on_demand import OnDemandProgress, load_calls
from groq_batch.records.stored import MissingRecordError
from groq_batch.steps.download_results.divide import divide_shard
from groq_batch.steps.download_results.merge import ShardMerger
from groq_batch.steps.download_results.merge_rules import MergeRules
from groq_batch.steps.download_results.result_index import ResultIndex
from groq_batch.steps.download_results.sent_shards import SentShard
from groq_batch.steps.download_results.work_folder import work_folder
from groq_batch.steps.outcomes import (
    DEFERRED,
    SETTLED,
    StepOutcome,
    account_hold,
    pause_seconds,
)
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_MISSING_FILE_TRIES = 5
_READ_AT_ONCE = 64
_FILE_BUFFER_BYTES = 256 * 1024
_ROUNDS_WITH_RESULTS = 3
"""How often a shard's results are fetched after the job has stopped waiting. If the function
crashes each time, for example out of memory, the rows are then stored without the results."""


class DiskFullError(Exception):
    """The result files do not fit into the function's temporary storage."""


def download_shard(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    shard_key: str,
    tries: int,
    folder: Path | None = None,
) -> StepOutcome:
    """Collect a shard attempt: store results, failed lines and the lines for the next attempt.

    Afterwards the shard is divided if the plan of the next attempt requires it.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: Key of the shard attempt's request lines.
        tries: How often this shard attempt has been tried in this round.
        folder: Where the result files are kept while they are read; None means the temporary
            folder.

    Raises:
        ValueError: ``shard_key`` is not the key of a shard, or the job has no record.
        DiskFullError: The result files do not fit on the disk.
    """
    attempt, number = object_keys.shard_of_key(shard_key)
    keys = object_keys.WorkKeys(job_id)
    if is_closed(storage, keys):
        return SETTLED
    collection = _Collection.of(storage, keys, attempt, number)
    if not collection.job.has_begun(collection.origin, attempt):
        return SETTLED
    if storage.exists(keys.summary(attempt, collection.origin)):
        unless_closed(
            storage, keys, lambda: divide_shard(storage, keys, attempt, number), lambda: None
        )
        return SETTLED
    if not collection.is_first(number):
        return SETTLED
    with work_folder(folder) as work, contextlib.closing(collection):
        for shard in collection.shards:
            outcome = unless_closed(
                storage,
                keys,
                partial(collection.fetch, client, shard, work / str(shard.number), tries),
                lambda: SETTLED,
            )
            if outcome is not None:
                return outcome
        unless_closed(
            storage,
            keys,
            # If the stored ids caused earlier failures, the request lines provide the same ids.
            lambda: collection.settle(uses_kept_ids=not collection.state.gave_up),
            lambda: None,
        )
    return SETTLED


def store_shard_without_waiting(
    *, storage: Storage, client: GroqClient, job_id: str, shard_key: str
) -> None:
    """Store a shard's rows with the results that Groq has now. This is a job's last resort.

    A shard that is already collected is left unchanged. The attempt's state says that the job no
    longer waits for its batches.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: The key of the shard attempt's request lines.
    """
    try:
        download_shard(
            storage=storage,
            client=client,
            job_id=job_id,
            shard_key=shard_key,
            tries=_MISSING_FILE_TRIES,
        )
    except Exception:  # noqa: BLE001
        # A shard that cannot be read must not prevent the job from finishing.
        logger.exception("A shard could not be collected; its requests get rows that say so")
        _settle_without_results(storage, job_id, shard_key)


def _settle_without_results(storage: Storage, job_id: str, shard_key: str) -> None:
    """Store a shard's rows without the results that Groq has for them."""
    attempt, number = object_keys.shard_of_key(shard_key)
    keys = object_keys.WorkKeys(job_id)
    if JobRecord.load(storage, keys) is None or AttemptState.load(storage, keys, attempt) is None:
        return
    collection = _Collection.of(storage, keys, attempt, number)
    for shard in collection.shards:
        shard.index.is_lost = True
    collection.settle(uses_kept_ids=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    """The shards of an attempt with the same origin shard; they are collected together."""

    storage: Storage
    keys: object_keys.WorkKeys
    job: JobRecord
    state: AttemptState
    origin: int
    shards: Sequence[SentShard]
    calls: OnDemandProgress | None = None

    @classmethod
    def of(cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int, number: int) -> Self:
        """Load a shard and those that are collected with it.

        Raises:
            ValueError: The job has no record, or the attempt none.
        """
        job = JobRecord.required(storage, keys)
        state = AttemptState.load(storage, keys, attempt)
        if state is None:
            raise MissingRecordError(f"The job {keys.job} has no record of attempt {attempt}")
        origin = state.origin_of(number)
        numbers = state.shards_of(origin) or [number]
        shards = [
            SentShard(number=one, entry=state.entries.get(one, ShardState()), index=ResultIndex())
            for one in numbers
        ]
        return cls(
            storage=storage,
            keys=keys,
            job=job,
            state=state,
            origin=origin,
            shards=shards,
            calls=load_calls(storage, keys, job, attempt),
        )

    def is_first(self, number: int) -> bool:
        """Tell whether a shard is the one whose invocation collects all of them."""
        return number == self.shards[0].number

    def close(self) -> None:
        """Close the result files of all shards."""
        for shard in self.shards:
            shard.index.close()

    def fetch(
        self, client: GroqClient, shard: SentShard, folder: Path, tries: int
    ) -> StepOutcome | None:
        """Fetch the rows of a shard's batch; return what to do if that is not possible now."""
        state, entry, index = self.state, shard.entry, shard.index
        if self.calls is not None:
            folder.mkdir()
            self._fetch_called(shard, folder)
            return None
        if state.gave_up and state.download_rounds > _ROUNDS_WITH_RESULTS:
            index.is_lost = True
            return None
        if entry.batch is None:
            return None if self._may_lack_a_batch(entry) else DEFERRED
        try:
            entry.batch = _up_to_date(client, entry.batch, tries)
            if not entry.batch.is_terminal and not state.gave_up:
                return DEFERRED
            folder.mkdir()
            _fetch(client, entry.batch, index, folder, tries, sent=entry.requests or 0)
        except GroqApiError as error:
            logger.warning("Results could not be fetched", **log_fields(error))
            metrics.groq_failed(error.category)
            if self._is_early:
                # The job tries again once the other batches have ended; until then it is to look.
                return DEFERRED
            if not (state.gave_up or _is_gone(error, entry, tries)):
                return _after_error(self.storage, self.keys, error, tries)
            index.is_lost = True
        return None

    def _may_lack_a_batch(self, entry: ShardState) -> bool:
        """Tell whether a shard without a batch will not get one.

        Otherwise this invocation comes too early: if it stored rows now, those of the batch would
        never be fetched.
        """
        if entry.is_settled or self.state.gave_up or self.state.past_deadline:
            return True
        return self.storage.exists(self.keys.stopped)

    @property
    def _is_early(self) -> bool:
        """Whether batches of other shards still run, so that nothing waits for this download."""
        return bool(self.state.pending) and not self.state.gave_up

    def _fetch_called(self, shard: SentShard, folder: Path) -> None:
        """Read the rows of the shard's ordinary calls."""
        prefix = self.keys.on_demand_rows(self.state.attempt, shard.number)
        keys = [found.key for found in self.storage.objects(prefix)]

        def read(key: str) -> bytes:
            return b"".join(self.storage.chunks(key))

        target = shard.index.keep((folder / "calls").open("w+b"))
        for begin in range(0, len(keys), _READ_AT_ONCE):
            for rows in in_parallel(read, keys[begin : begin + _READ_AT_ONCE]):
                target.write(rows)
        target.flush()
        shard.index.add(target)

    def settle(self, *, uses_kept_ids: bool) -> None:
        """Write rows, failed lines and lines to retry, and last the summary that marks the end."""
        attempt = self.state.attempt
        summary = ShardMerger(
            storage=self.storage,
            keys=self.keys,
            rules=MergeRules(
                job=self.job,
                stop=Stop.load(self.storage, self.keys),
                attempt=attempt,
                origin=self.origin,
                past_deadline=self.state.past_deadline,
                calls=self.calls,
            ),
            shards=self.shards,
            uses_kept_ids=uses_kept_ids,
        ).run()
        summary.write(self.storage, self.keys)
        logger.info(
            "Collected a shard",
            succeeded=summary.succeeded,
            failed=summary.failed,
            to_retry=summary.to_retry,
            anomalies=summary.anomalies,
        )


def _up_to_date(client: GroqClient, batch: Batch, tries: int) -> Batch:
    """Return the current batch, from Groq if the attempt's copy may be out of date.

    That is a batch that was last seen running, or one that does not name the file of its answers:
    files may appear after the end of the batch.

    Raises:
        GroqApiError: The batch cannot be read now.
    """
    names_a_file = batch.output_file_id is not None or batch.error_file_id is not None
    is_known = names_a_file or batch.status == "failed"
    if batch.is_terminal and is_known and not _awaits_a_file(batch):
        return batch
    batch = client.retrieve_batch(batch.id)
    if batch.is_terminal and _awaits_a_file(batch) and tries < _MISSING_FILE_TRIES:
        raise NotFoundError(f"Batch {batch.id} has ended but names no file yet.")
    return batch


def _awaits_a_file(batch: Batch) -> bool:
    """Tell whether a batch that has ended may name another file in a moment.

    The answers in a file that is not fetched would be paid for once more. Counts may be missing or
    wrong, so a completed batch without any file is not believed at once, either.
    """
    if batch.output_file_id is not None or batch.status == "failed":
        return False
    if batch.error_file_id is not None:
        return batch.counts.completed > 0
    return batch.status == "completed" or batch.counts.completed + batch.counts.failed > 0


def _is_gone(error: GroqApiError, entry: ShardState, tries: int) -> bool:
    """Tell whether Groq no longer knows a batch that has ended or was given up."""
    has_ended = entry.batch is not None and entry.batch.is_terminal
    return has_ended and isinstance(error, NotFoundError) and tries >= _MISSING_FILE_TRIES


def _after_error(
    storage: Storage, keys: object_keys.WorkKeys, error: GroqApiError, tries: int
) -> StepOutcome:
    """Wait if the API is unreachable; record an account error for the job to report."""
    if isinstance(error, AccountError):
        account_hold(error).record(storage, keys)
        return DEFERRED
    return StepOutcome.wait(pause_seconds(error, tries))


def _fetch(
    client: GroqClient, batch: Batch, index: ResultIndex, work: Path, tries: int, *, sent: int
) -> None:
    """Download and index the files of a batch that has ended.

    Args:
        client: The Groq API.
        batch: The batch.
        index: Where its rows are added.
        work: Where its files are kept.
        tries: How often this has been tried before.
        sent: Number of its requests; 0 if unknown.

    Raises:
        GroqApiError: Groq cannot be read now. A file that is missing or incomplete counts as lost
            after several tries.
    """
    sizes: dict[str, int] = {}
    for name, file_id in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
        if file_id is None:
            continue
        target = index.keep((work / name).open("w+b", buffering=_FILE_BUFFER_BYTES))
        try:
            sizes[file_id] = client.download_file(file_id, target)
        except NotFoundError:
            if tries < _MISSING_FILE_TRIES:
                raise
            index.is_lost = True
            logger.warning("A result file no longer exists", file_id=file_id)
            continue
        except OSError as error:
            raise DiskFullError(
                f"The results of batch {batch.id} do not fit into the temporary storage of the "
                f"function; give DownloadResultsFunction more EphemeralStorage ({error.strerror})"
            ) from error
        index.add(target)
    # Counts may be missing, and a completed batch has a row for each request.
    least = sent if batch.status == "completed" else 0
    if max(batch.counts.completed + batch.counts.failed, least) > index.rows:
        _check_complete(client, sizes, index, tries)


def _check_complete(
    client: GroqClient, sizes: Mapping[str, int], index: ResultIndex, tries: int
) -> None:
    """Check that files with fewer rows than the batch should have are complete.

    A proxy may have truncated a file and adjusted its length. The requests of the missing rows
    would seem unanswered, and would be sent, and paid for, again.

    Args:
        client: The Groq API.
        sizes: Bytes received per file.
        index: The rows read from them.
        tries: How often they have been fetched before.

    Raises:
        UnknownOutcomeError: A file is longer at Groq.
    """
    for file_id, size in sizes.items():
        expected = client.file_size(file_id)
        if expected is None or expected <= size:
            continue
        if tries < _MISSING_FILE_TRIES:
            raise UnknownOutcomeError(f"The content has {size} of {expected} bytes.")
        index.is_lost = True
        logger.warning("A result file cannot be downloaded completely", file_id=file_id)
