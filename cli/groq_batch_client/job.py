"""A job: what it comes to, its rows, and frames of its answers."""

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
    JobError,
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
# Who wants to read it says so; without a handler Python would print it.
_log.addHandler(logging.NullHandler())
_decode = msgspec.json.Decoder().decode


class Job:
    """A job of a bucket; ``GroqBatch.submit`` and ``GroqBatch.job`` return it.

    It keeps nothing of the results: each of its methods reads them anew, row by row.

    Attributes:
        path: What its deliverables mirror, such as ``frames/0123456789abcdef.jsonl``.
        left_out: How many requests without an answer a retry has left out, because they would fail
            again or may have been paid for; 0 for other jobs.

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
        """Describe a job; see ``GroqBatch``, which makes it.

        Args:
            found: What is known of it.
            storage: The bucket.
            stack: The stack; None when only the bucket is known.
            rows: The rows that its requests were made of.
            id: The column with their ids.
            schema: The schema of the answers.
            is_recorded: Whether column and schema are to be looked up in the upload.
            is_retry: Whether frames have the answers of the job that it is a retry of as well.
            left_out: How many requests it has left out as a retry.
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
        """Return the report as it stands now; None before there is one.

        Raises:
            AwsError: AWS cannot be reached, or denies it.

        Examples:
            >>> job.report()["requests"]["succeeded"]
            2
        """
        if not is_final(self._found.report):
            self._take(look(self._storage, self._found))
        return self._found.report

    @property
    def status(self) -> str:
        """How it stands now: ``starting``, then the report's status.

        That is ``running``, and at its end ``succeeded``, ``partial``, ``rejected``, ``failed`` or
        ``cancelled``.

        Examples:
            >>> job.status
            'succeeded'
        """
        report = self.report()
        return str(report["status"]) if report is not None else "starting"

    @explained(ARGUMENTS)
    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> dict[str, Any]:
        """Wait for the end; return the final report, whatever its status.

        The job does not need it: it goes on when the program ends, and ``GroqBatch.job`` finds it.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.
            progress: Whether to show how it gets on; None where somebody sees it, which is in a
                terminal and in a notebook.

        Raises:
            WaitTimeout: The time has passed, and the job still runs.
            AwsError: AWS denies to look. While it cannot be reached the wait goes on.

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
                    f"{self._so_far()}. It goes on; wait for it again.",
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
                f"or a newer run of this path has taken its place. What it delivered are older "
                f"versions of its objects; again=True would pay for it once more."
            )
        self._found = found

    def _so_far(self) -> str:
        return f" ({headline(self._found.report)})" if self._found.report is not None else ""

    def _start_silent(self, one: Followed) -> None:
        """Start an upload by hand whose event has not come, as in the first minutes of a bucket."""
        if self._stack is None or one.job.report is not None:
            return
        try:
            self._stack.look_again()
            if not self._stack.holds_uploads:
                start_by_hand(self._stack, f"input/{one.job.path}")
        except (ClientError, GroqBatchError) as error:
            # The schedule starts what was missed; nobody has to be kept from waiting for it.
            _log.warning("The upload of %s could not be started by hand: %s", self.path, error)

    # -- what it has delivered -------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return the result rows one by one, in the order of the requests.

        There is one for each request, in the form of the Batch API; a request that was never
        answered has ``error`` with ``code`` and ``message``.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            BrokenDownloadError: What arrives are not all of its rows; while they are read.

        Examples:
            >>> [row["response"]["status_code"] for row in job.rows()]
            [200, 200]
        """
        return (_row_of(line) for line in self._results())

    def answers(self) -> Iterator[tuple[str | None, str | None]]:
        """Return pairs of ``custom_id`` and the answer's text, in the order of the requests.

        The text is None for a request without an answer, and for one that is answered by calls of
        tools; ``rows`` and ``to_frame`` say why. The id is None for a line whose id could not be
        read.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            BrokenDownloadError: What arrives are not all of its rows; while they are read.

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
        """Return the rows that were asked for with their answers beside them.

        A frame comes back as one of its own library, its columns as they were. Rows of a file come
        as a frame of Polars, or of pandas if only that is installed. Added are ``answer``,
        ``tool_calls``, ``finish_reason``, ``error_code`` (None if and only if there is an answer
        that fits what was asked) and ``error_message``; with a schema a column ``answer_NAME`` for
        each of its properties, and ``answer`` keeps the texts that do not fit.

        Without rows it is a frame of ``custom_id``, ``answer`` and ``error_code``. The frame of a
        retry has all rows of the job that it is a retry of, with the new answers in their places.

        Args:
            prefix: What the names of the added columns begin with.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            TableError: The rows are not those that were asked for, or have a column of an added
                name; or pyarrow is not installed (``pip install 'groq-batch[frames]'``).

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
        """Return the lines of the results; that there are some is looked at before the first.

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
            # What is read is this version, and none that is written meanwhile.
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
        """Stop the job; what was answered until then is kept and delivered.

        Groq may take ten minutes to end what runs there; ``wait`` returns after that.

        Raises:
            StackNeeded: Only the bucket is known, ``GroqBatch(bucket=…)``.
            JobError: The job has ended, or has not begun.

        Examples:
            >>> job.cancel()
            Traceback (most recent call last):
            groq_batch_client.errors.JobError: team/greetings.jsonl has ended already: succeeded.
        """
        if self._stack is None:
            raise StackNeeded(
                "To cancel a job the stack is needed, which runs it: GroqBatch(stack=…) in place "
                "of GroqBatch(bucket=…)."
            )
        self.report()
        stop_job(self._stack, self._found, cause="Stopped with Job.cancel")

    @explained(ARGUMENTS)
    def retry(
        self,
        *,
        all: bool = False,  # noqa: A002 - as the option of the command line
        again: bool = False,
        **options: Unpack[Options],
    ) -> Job:
        """Run again what has failed; return the job of it.

        Left out are requests whose error is final, and those that may have been paid for though
        nobody knows; ``left_out`` of the job that comes back says how many. A retry that is under
        way, or has answers, is returned as it is.

        Args:
            all: Whether nothing is left out.
            again: Whether to pay for another retry though there is one.
            options: Options of the upload, as for ``GroqBatch.submit``.

        Raises:
            NotEnded: The job has not ended.
            JobRejected: It has ended without rows.
            JobError: Nothing has failed, or nothing of that is worth sending again.
            OptionError: An option cannot be used.

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
            # Bad lines stand among the failed ones, and would reject the rest.
            metadata["on-invalid-line"] = "skip"
        options_in_force(self._stack, metadata)
        retries.failed_key(self._found)
        known, number = retries.existing_retry(self._storage, self._found.path)
        if known is None or again:
            return self._new_retry(number, None, metadata, everything=all)
        if all and known.left_out and is_final(known.job.report):
            return self._new_retry(number, known, metadata, everything=True)
        return self._retry_job(known.job, known.left_out)

    def _new_retry(
        self,
        number: int,
        after: retries.Retry | None,
        metadata: Mapping[str, str],
        *,
        everything: bool,
    ) -> Job:
        upload, found = retries.upload_retry(
            self._storage,
            self._found,
            number,
            after=after,
            everything=everything,
            metadata=metadata,
        )
        if upload is None:
            name = one_line(self.path)
            if not found.left_out:
                raise JobError(f"Nothing of {name} is left: its retries have answered all of it.")
            raise JobError(
                f"Nothing of {name} is worth sending again: {found.left_out_text}. To send it all "
                f"the same: retry(all=True)"
            )
        return self._retry_job(FoundJob(path=upload.path, job_id=upload.job_id), found.left_out)

    def _retry_job(self, found: FoundJob, left_out: int) -> Job:
        return Job(
            found,
            storage=self._storage,
            stack=self._stack,
            rows=self._rows,
            id=self._id,
            schema=self._schema,
            is_recorded=self._is_recorded,
            is_retry=True,
            left_out=left_out,
        )


def _row_of(line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What the API may write and JSON has no form for, such as half of a surrogate pair.
        row = read_row(line)
    return row


def _without_rows(path: str, report: Mapping[str, Any]) -> str:
    """Return the sentence about a job that has ended without rows."""
    name = one_line(path)
    first = next(iter(report["errors"]), None)
    said = f": {one_line(first['message'])}" if first is not None else "."
    if report["status"] != "rejected":
        return f"{name} ended as {report['status']} before any row was written{said}"
    where = ""
    if first is not None and first["line"] is not None:
        where = f", first on line {first['line']:,}"
    problems = counted(report["errors_total"], "problem")
    return f"{name} was rejected, and nothing of it was sent ({problems}{where}){said}"
