"""Remove everything of a job from Groq: running batches and unneeded files."""

from __future__ import annotations

from msgspec.structs import replace

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.times import seconds_of
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import AccountError, GroqApiError, NotFoundError, log_fields
from groq_batch.records.all_attempts import load_attempts
from groq_batch.records.attempt import AttemptState
from groq_batch.records.job import JobRequest
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.submission import CLOCK_MARGIN_SECONDS
from groq_batch.settings import Settings
from groq_batch.steps.outcomes import FinishOutcome, backoff_seconds, pause_seconds
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_MAX_CLEANING_TRIES = 20
_DELETERS = 8


def clean_up_groq(
    storage: Storage,
    client: GroqClient,
    settings: Settings,
    keys: object_keys.WorkKeys,
    tries: int,
    *,
    is_lost: bool,
) -> FinishOutcome:
    """Cancel the job's running batches and delete its unneeded files at Groq.

    If the job's working files were removed, its batches are searched for at Groq and cancelled, but
    no file is deleted: the files have the only copy of the answers.

    If the account refuses the calls, and Groq has refused all that the job sent, nothing of it can
    be at Groq, and the cleanup is done: a job that met a wrong key or plan ends at once, and not
    after the hour and a half in which a cleanup is tried again.

    Args:
        storage: The bucket.
        client: The Groq API.
        settings: The stack's settings.
        keys: Keys of the job's working files.
        tries: How often the cleanup has been tried.
        is_lost: Whether the job has sent batches, but its record was removed.
    """
    done = FinishOutcome(outcome="done", tries=tries)
    states, summaries = load_attempts(storage, keys)
    was_sent = any(entry.stage for state in states for entry in state.entries.values())
    if not (was_sent or is_lost):
        return done
    try:
        with_unrecorded = (
            is_lost
            or any(state.may_have_orphans for state in states)
            or storage.exists(keys.stopped)
        )
        batches = _batches_at_groq(client, storage, keys, states, with_unrecorded=with_unrecorded)
        batches = [batch if batch.is_terminal else _cancelled(client, batch) for batch in batches]
        running = any(not batch.is_terminal for batch in batches)
        if settings.delete_groq_files and not is_lost:
            files = _files_at_groq(
                client, states, summaries, batches, keys.job, with_unrecorded=with_unrecorded
            )
            in_parallel(client.delete_file, files, workers=_DELETERS)
    except GroqApiError as error:
        if isinstance(error, AccountError) and not (is_lost or _may_be_at_groq(states)):
            return done
        pause = pause_seconds(error, tries)
        logger.warning("The cleanup at Groq failed", **log_fields(error))
        metrics.groq_failed(error.category)
    else:
        if not running:
            return done
        pause = backoff_seconds(tries)
    if tries >= _MAX_CLEANING_TRIES:
        logger.warning("The cleanup at Groq is incomplete; Groq deletes files after 30 days")
        return done
    return FinishOutcome(outcome="wait", wait_seconds=max(1, int(pause)), tries=tries + 1)


def _may_be_at_groq(states: list[AttemptState]) -> bool:
    """Tell whether Groq may have a batch or a file of the job, by what its records say."""
    return any(
        entry.batch is not None
        or entry.file_id is not None
        or entry.may_have_orphans
        or entry.is_under_way
        for state in states
        for entry in state.entries.values()
    )


def _batches_at_groq(
    client: GroqClient,
    storage: Storage,
    keys: object_keys.WorkKeys,
    states: list[AttemptState],
    *,
    with_unrecorded: bool,
) -> list[Batch]:
    """Return the job's batches as last seen, including any without a record.

    Args:
        client: The Groq API.
        storage: The bucket.
        keys: Keys of the job's working files.
        states: The states of its attempts.
        with_unrecorded: Whether batches without a record may exist, because an outcome was
            unknown, or the job was stopped or has lost its record; only then Groq is asked for the
            batches since the job's start.
    """
    batches = {
        entry.batch.id: entry.batch
        for state in states
        for entry in state.entries.values()
        if entry.batch is not None
    }
    if with_unrecorded:
        request = JobRequest.load(storage, keys.job)
        since = None
        if request is not None:
            since = seconds_of(request.started_at) - CLOCK_MARGIN_SECONDS
        for batch in client.batches_since(since):
            if (batch.metadata or {}).get("job") == keys.job:
                batches[batch.id] = batch
    return list(batches.values())


def _cancelled(client: GroqClient, batch: Batch) -> Batch:
    """Cancel a batch that is not needed any more; return its new state."""
    try:
        return client.cancel_batch(batch.id)
    except NotFoundError:
        return replace(batch, status="cancelled")


def _files_at_groq(
    client: GroqClient,
    states: list[AttemptState],
    summaries: list[ShardResult],
    batches: list[Batch],
    job_id: str,
    *,
    with_unrecorded: bool,
) -> list[str]:
    """Return the ids of the job's files: recorded ones, and unrecorded ones with its name.

    Unrecorded files may exist only if ``with_unrecorded`` is true; only then all files of the
    account are listed.
    """
    recorded = [
        *(entry.file_id for state in states for entry in state.entries.values()),
        *(file_id for summary in summaries for file_id in summary.file_ids),
        *(batch.output_file_id for batch in batches),
        *(batch.error_file_id for batch in batches),
    ]
    prefix = object_keys.groq_file_prefix(job_id)
    listed = client.list_files() if with_unrecorded else []
    named = [file.id for file in listed if (file.filename or "").startswith(prefix)]
    return sorted({file_id for file_id in (*recorded, *named) if file_id is not None})
