"""Follow a job, and read its rows and answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

import msgspec
from botocore.exceptions import ClientError

from groq_batch.bucket.storage import Storage
from groq_batch.domain.result_row import read_row
from groq_batch_client import retries
from groq_batch_client.answer_frames import answers_of, frame_of_answers, frame_with_answers
from groq_batch_client.aws_errors import explained
from groq_batch_client.cancel import stop_job
from groq_batch_client.downloads import all_rows
from groq_batch_client.errors import (
    GroqBatchError,
    JobNotFound,
    JobRejected,
    NotEnded,
    StackNeeded,
    WaitTimeout,
)
from groq_batch_client.follow import SILENCE_SECONDS, Followed, follow, look
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import deliverable, key_of
from groq_batch_client.job_view import headline, is_final
from groq_batch_client.line_io import stored_lines
from groq_batch_client.options import Options, options_as_metadata, options_in_force
from groq_batch_client.progress import progress_line
from groq_batch_client.schemas import AnswerSchema
from groq_batch_client.setting_names import ARGUMENTS
from groq_batch_client.stack import Stack
from groq_batch_client.submissions import Rows, row_ids
from groq_batch_client.text import counted, duration, one_line
from groq_batch_client.upload_record import recorded_id, recorded_schema
from groq_batch_client.uploads import start_by_hand

_log = logging.getLogger(__name__)
# Without a handler Python would print warnings; applications opt in to logging.
_log.addHandler(logging.NullHandler())
_decode = msgspec.json.Decoder().decode


class Job:
    """A job; ``GroqBatch.submit`` and ``GroqBatch.job`` return it.

    A job keeps no results in memory: each method reads them again, row by row.

    Attributes:
        path: The path of its files below each folder of the bucket, such as
            ``frames/0123456789abcdef.jsonl``.
        left_out: For a retry, the number of unanswered requests that it skips because they would
            fail again or may have been paid for; 0 for other jobs.

    Examples:
        >>> job = batch.submit(requests, to="team/greetings.jsonl")
        >>> job
        Job('team/greetings.jsonl')
        >>> job.wait()["status"]
        'succeeded'
        >>> dict(job.answers())
        {'a': 'Answer to Hello', 'b': 'Answer to Bye'}
    """

    def __init__(
        self,
        found: FoundJob,
        *,
        storage: Storage,
        stack: Stack | None,
        rows: Rows | None = None,
        id: str | None = None,  # noqa: A002 - as in submit
        schema: AnswerSchema | None = None,
        is_recorded: bool = False,
        is_retry: bool = False,
        left_out: int = 0,
    ) -> None:
        """Create a job; only ``GroqBatch`` does this.

        Args:
            found: The job as found in the bucket.
            storage: The bucket.
            stack: The stack; None if only the bucket is known.
            rows: The rows that its requests were built from.
            id: The column with their ids.
            schema: The schema of the answers.
            is_recorded: Whether to read column and schema from the upload.
            is_retry: Whether frames include the answers of the job that this one retries.
            left_out: Number of requests that it skips as a retry.
        """
        self.path = found.path
        self.left_out = left_out
        self._found = found
        self._storage = storage
        self._stack = stack
        self._rows = rows
        self._id = id
        self._schema = schema
        self._is_recorded = is_recorded
        self._is_retry = is_retry

    def __repr__(self) -> str:
        return f"Job({self.path!r})"

    # -- how it is -------------------------------------------------------------------------------

    @explained(ARGUMENTS)
    def report(self) -> dict[str, Any] | None:
        """Return the current report; None if there is none yet.

        Raises:
            AwsError: AWS is unreachable or denies access.

        Examples:
            >>> job.report()["requests"]["succeeded"]
            2
        """
        if not is_final(self._found.report):
            self._take(look(self._storage, self._found))
        return self._found.report

    @property
    def status(self) -> str:
        """Current status: ``starting``, then the status of the report.

        The report says ``running``, and at the end ``succeeded``, ``partial``, ``rejected``,
        ``failed`` or ``cancelled``.

        Examples:
            >>> job.status
            'succeeded'
        """
        report = self.report()
        return str(report["status"]) if report is not None else "starting"

    @explained(ARGUMENTS)
    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> dict[str, Any]:
        """Wait for the end; return the final report, whatever its status.

        The job does not depend on this call: it continues when the program ends, and
        ``GroqBatch.job`` finds it again.

        Args:
            timeout: Maximum seconds to wait; None means no limit.
            progress: Whether to show the progress; None means only in a terminal or notebook.

        Raises:
            WaitTimeout: The time has passed, and the job is still running.
            AwsError: AWS denies access. If AWS is unreachable, the wait continues.

        Examples:
            >>> job.wait(timeout=60, progress=False)["status"]
            'succeeded'
        """
        self._take(self._found)
        if not is_final(self._found.report):
            followed = Followed(self.path, self._found)
            line = progress_line(progress)
            try:
                has_ended = follow(
                    self._storage,
                    [followed],
                    line,
                    on_silence=self._start_silent,
                    silence_seconds=SILENCE_SECONDS,
                    timeout=timeout,
                )
            finally:
                line.close()
                self._take(followed.job)
            if not has_ended:
                raise WaitTimeout(
                    f"{one_line(self.path)} has not ended within {duration(timeout or 0)}"
                    f"{self._so_far()}. It continues; wait for it again.",
                    self._found.report,
                )
        report = self._found.report
        if report is None:
            raise JobNotFound(f"{one_line(self.path)} has no report any more.")
        return report

    def _take(self, found: FoundJob) -> None:
        if found.is_replaced and found.report is None:
            raise JobNotFound(
                f"{one_line(self.path)} has no report of {found.job_id} any more: it was removed, "
                f"or a newer run of this path has replaced it. Its results are older versions "
                f"of its objects; again=True would pay for it again."
            )
        self._found = found

    def _so_far(self) -> str:
        return f" ({headline(self._found.report)})" if self._found.report is not None else ""

    def _start_silent(self, one: Followed) -> None:
        """Start an upload whose event is missing, as happens in the first minutes of a bucket."""
        if self._stack is None or one.job.report is not None:
            return
        try:
            self._stack.look_again()
            if not self._stack.holds_uploads:
                start_by_hand(self._stack, f"input/{one.job.path}")
        except (ClientError, GroqBatchError) as error:
            # The schedule will start the missed upload, so the wait can continue.
            _log.warning(
                "The job for the upload %s could not be started directly: %s", self.path, error
            )

    # -- results ---------------------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """Iterate over the result rows, in the order of the requests.

        There is one row for each request, in the format of the Batch API. A row without an answer
        has ``error`` with ``code`` and ``message``.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            BrokenDownloadError: Rows are missing; raised while you iterate.

        Examples:
            >>> [row["response"]["status_code"] for row in job.rows()]
            [200, 200]
        """
        return (_row_of(line) for line in self._results())

    def answers(self) -> Iterator[tuple[str | None, str | None]]:
        """Iterate over pairs of ``custom_id`` and answer text, in the order of the requests.

        The text is None if a request has no answer, or if the answer is tool calls; ``rows`` and
        ``to_frame`` say why. The id is None if the id of a line could not be read.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            BrokenDownloadError: Rows are missing; raised while you iterate.

        Examples:
            >>> for custom_id, text in job.answers():
            ...     print(custom_id, text)
            a Answer to Hello
            b Answer to Bye
        """
        return (
            (custom_id, None if code is not None else value)
            for answers in answers_of(self._results())
            for custom_id, value, code in zip(
                answers.custom_ids, answers.values, answers.error_codes, strict=True
            )
        )

    @explained(ARGUMENTS)
    def to_frame(self, *, prefix: str = "") -> Any:
        """Return the rows with the answers in new columns.

        If you submitted a frame, you get a frame of the same library, with its columns unchanged.
        Rows from a file come back as a Polars frame, or as a pandas frame if only pandas is
        installed. The new columns are ``answer``, ``tool_calls``, ``finish_reason``, ``error_code``
        (None if and only if there is a valid answer) and ``error_message``. With a schema, each of
        its properties gets a column ``answer_NAME``, and ``answer`` holds the texts that do not
        match the schema, or that have other properties besides.

        Without rows, the frame has ``custom_id``, ``answer`` and ``error_code``. The frame of a
        retry has all rows of the original job, with the new answers in place.

        Args:
            prefix: Prefix for the names of the new columns.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            TableError: The rows do not belong to the requests, or have a column with a new name;
                or pyarrow is not installed (``pip install pyarrow``).

        Examples:
            >>> job.to_frame().columns
            ['custom_id', 'answer', 'error_code']
        """
        results, first = self._results(), self._found
        if self._is_retry:
            jobs = retries.lineage(self._storage, self._found)
            if len(jobs) > 1:
                results, first = iter(retries.merged_rows(self._storage, jobs)[0]), jobs[0]
        if self._rows is None:
            return frame_of_answers(results)
        column, schema = self._id, self._schema
        if self._is_recorded:
            column = column if column is not None else recorded_id(self._storage, first)
            schema = schema if schema is not None else recorded_schema(self._storage, first)
        return frame_with_answers(
            self._rows,
            results,
            ids=row_ids(column),
            schema=schema,
            prefix=prefix,
            name=f"output/{first.path}",
        )

    def _results(self) -> Iterator[bytes]:
        """Return the lines of the results, after checking that there are any.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
        """
        report = self._ended()
        url = report["outputs"]["results"]
        if url is None:
            raise JobRejected(_without_rows(self.path, report), report)
        return self._lines(key_of(url), int(report["requests"]["total"]))

    def _lines(self, key: str, number: int) -> Iterator[bytes]:
        with explained(ARGUMENTS):
            # Read this version, even if a newer one is written in the meantime.
            one = deliverable(self._storage, self._found, key, Path(key))
            lines = stored_lines(self._storage, key, version_id=one.head.version_id)
            yield from all_rows(lines, number, self._storage.url(key))

    def _ended(self) -> dict[str, Any]:
        report = self.report()
        if report is None or not is_final(report):
            raise NotEnded(
                f"{one_line(self.path)} has not ended yet{self._so_far()}. Wait for it: job.wait()"
            )
        return report

    # -- what can be done ------------------------------------------------------------------------

    @explained(ARGUMENTS)
    def cancel(self) -> None:
        """Cancel the job; answers received so far are kept and delivered.

        Groq can take ten minutes to cancel a batch; ``wait`` returns after that.

        Raises:
            StackNeeded: Only the bucket is known, ``GroqBatch(bucket=…)``.
            JobError: The job has ended, or has not started.

        Examples:
            >>> job.cancel()
            Traceback (most recent call last):
            groq_batch_client.errors.JobError: team/greetings.jsonl has ended already: succeeded.
        """
        if self._stack is None:
            raise StackNeeded(
                "Cancelling a job requires the stack that runs it: use GroqBatch(stack=…) instead "
                "of GroqBatch(bucket=…)."
            )
        self.report()
        stop_job(self._stack, self._found, cause="Stopped with Job.cancel")

    @explained(ARGUMENTS)
    def retry(
        self,
        *,
        all: bool = False,  # noqa: A002 - same name as the command-line option
        again: bool = False,
        **options: Unpack[Options],
    ) -> Job:
        """Rerun the failed requests; return the job that runs them.

        Skips requests whose error is final, and requests that may have been answered and paid for;
        ``left_out`` of the returned job is their number. If a retry is running or has answers,
        returns that retry.

        Args:
            all: Whether to send the skipped requests too.
            again: Whether to pay for another retry if there is one.
            options: Options of the upload, as for ``GroqBatch.submit``.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            JobError: No request has failed, or no failed request is worth sending again.
            OptionError: An option is invalid.

        Examples:
            >>> job.retry()
            Traceback (most recent call last):
            groq_batch_client.errors.JobError: Nothing of team/greetings.jsonl has failed; ...
        """
        metadata = options_as_metadata(options)
        report = self._ended()
        if report["outputs"]["results"] is None:
            raise JobRejected(_without_rows(self.path, report), report)
        if report["requests"]["invalid"] and "on-invalid-line" not in metadata:
            # failed/ also holds invalid lines, which would reject the rest.
            metadata["on-invalid-line"] = "skip"
        options_in_force(self._stack, metadata)
        retry, _ = retries.begin_retry(
            self._storage,
            self._found,
            everything=all,
            again=again,
            metadata=metadata,
            send_anyway="retry(all=True)",
        )
        return Job(
            retry.job,
            storage=self._storage,
            stack=self._stack,
            rows=self._rows,
            id=self._id,
            schema=self._schema,
            is_recorded=self._is_recorded,
            is_retry=True,
            left_out=retry.left_out,
        )


def _row_of(line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The API may write text that JSON cannot represent, such as half of a surrogate pair.
        row = read_row(line)
    return row


def _without_rows(path: str, report: Mapping[str, Any]) -> str:
    """Return the message for a job that has ended without rows."""
    name = one_line(path)
    first = next(iter(report["errors"]), None)
    said = f": {one_line(first['message'])}" if first is not None else "."
    if report["status"] != "rejected":
        return f"{name} ended as {report['status']} before it had any rows{said}"
    where = ""
    if first is not None and first["line"] is not None:
        where = f", first on line {first['line']:,}"
    problems = counted(report["errors_total"], "problem")
    return f"{name} was rejected, and nothing of it was sent ({problems}{where}){said}"
