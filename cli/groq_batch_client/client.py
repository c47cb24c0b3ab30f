"""Submit requests and rows to the bucket of a stack, and find their jobs again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Unpack

from groq_batch.bucket.storage import Storage
from groq_batch.domain.job_id import job_id_of_execution
from groq_batch.domain.object_keys import is_job_id
from groq_batch_client.answer_frames import check_frame
from groq_batch_client.aws_errors import explained
from groq_batch_client.errors import JobConflict, JobNotFound, WrongArgumentError
from groq_batch_client.found_jobs import FoundJob, job_by_id, job_of_path, path_of
from groq_batch_client.frames import FrameTable, is_frame
from groq_batch_client.job import Job
from groq_batch_client.job_view import is_final
from groq_batch_client.options import Options, options_as_metadata, options_in_force
from groq_batch_client.setting_names import ARGUMENTS
from groq_batch_client.stack import (
    DEFAULT_STACK_NAME,
    STACK_VARIABLE,
    Stack,
    StackAddress,
    aws_client,
    find_stack,
)
from groq_batch_client.submissions import Making, Submission, prepared, schema_of, table_of
from groq_batch_client.text import one_line
from groq_batch_client.upload_record import id_metadata
from groq_batch_client.uploads import StandingUpload, standing_upload, upload


class GroqBatch:
    """A deployed stack, or its bucket, that runs your requests.

    The client calls AWS only when it has to. Several threads may share one object.

    Args:
        stack: Name of the CloudFormation stack. The default is the environment variable
            ``GROQ_BATCH_STACK``, or ``groq-batch``.
        bucket: Name of the stack's bucket, for users who have access to the bucket only. They
            cannot cancel jobs.
        region: AWS region. The default comes from the AWS settings.
        profile: AWS profile. The default comes from the AWS settings.

    Raises:
        WrongArgumentError: Both a stack and a bucket are given.

    Examples:
        >>> import pandas
        >>> from groq_batch_client import GroqBatch
        >>> batch = GroqBatch()
        >>> frame = pandas.DataFrame({"text": ["Great!", "Broken."]})
        >>> answered = batch.run(
        ...     frame,
        ...     prompt="Is this review positive? {text}",
        ...     model="openai/gpt-oss-20b",
        ... )
        >>> list(answered["answer"])
        ['Answer to Is this review positive? Great!', 'Answer to Is this review positive? Broken.']
    """

    def __init__(
        self,
        stack: str | None = None,
        *,
        bucket: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> None:
        if stack is not None and bucket is not None:
            raise WrongArgumentError("Give stack= or bucket=, not both: a stack has its bucket.")
        self._bucket = bucket
        self._address = StackAddress(
            stack_name=stack or os.environ.get(STACK_VARIABLE) or DEFAULT_STACK_NAME,
            # As in the AWS CLI; boto3 itself reads AWS_DEFAULT_REGION only.
            region=region or os.environ.get("AWS_REGION") or None,
            profile=profile,
        )

    def __repr__(self) -> str:
        if self._bucket is not None:
            return f"GroqBatch(bucket={self._bucket!r})"
        return f"GroqBatch(stack={self._address.stack_name!r})"

    @property
    @explained(ARGUMENTS)
    def bucket(self) -> str:
        """Name of the bucket.

        Raises:
            StackError: There is no such stack.
            AwsError: AWS is unreachable or denies access.

        Examples:
            >>> GroqBatch(bucket="my-bucket").bucket
            'my-bucket'
        """
        return self._storage.bucket

    @cached_property
    def _stack(self) -> Stack | None:
        if self._bucket is not None:
            return None
        return find_stack(self._address, words=ARGUMENTS)

    @cached_property
    def _storage(self) -> Storage:
        if self._stack is not None:
            return self._stack.storage
        client = aws_client(self._address.session(), self._address, "s3")
        return Storage(s3=client, bucket=self._bucket or "")

    @explained(ARGUMENTS)
    def submit(
        self,
        source: str | os.PathLike[str] | Iterable[Mapping[str, Any]] | Any,
        *,
        to: str | None = None,
        prompt: str | None = None,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 - other tools use the same name for this column
        system: str | None = None,
        schema: Any = None,
        params: Mapping[str, Any] | None = None,
        same_prompt: bool = False,
        again: bool = False,
        **options: Unpack[Options],
    ) -> Job:
        """Upload requests, which starts a job, and return the job without waiting for it.

        Submitting the same requests twice does not upload or pay twice: for the same bytes at the
        same path, ``submit`` returns the job that is running or has ended with any answer. So you
        can simply rerun an interrupted program from the start.

        Args:
            source: A request file (``.jsonl``, ``.jsonl.gz``); an iterable of requests as dicts;
                or rows, with ``prompt`` and ``model``: a pandas, Polars or Arrow data frame, or a
                file (CSV, TSV, JSONL, Parquet).
            to: The path below ``input/`` (``team/reviews.jsonl``), or a folder there (``team/``).
                The default is the name of the file, and for requests and rows
                ``frames/<hash of the requests>.jsonl``.
            prompt: User message for each row; ``{column}`` inserts a value.
            model: Model for the requests.
            id: Column with the ids of the requests; None means row numbers.
            system: System message; ``{column}`` works here too.
            schema: JSON schema of the answers: a dict, a file or a pydantic model.
            params: Extra fields of each request, such as ``{"max_completion_tokens": 200}``.
            same_prompt: Allow a prompt without columns, which is the same for all rows.
            again: Upload again, and pay again.
            options: Options of the upload; the stack has the defaults: ``completion_window``,
                ``on_invalid_line``, ``max_attempts``, ``max_job_cost_usd``, ``check_models``,
                ``canary_requests``, ``canary_max_failed_percent``, ``batch_deadline``,
                ``deadline_max_usd``, ``retry_invalid_output``.

        Raises:
            OptionError: There is no such option, or the stack would reject its value.
            WrongArgumentError: Another argument is invalid.
            RequestsError: The requests cannot be read, or there are none.
            TableError: The rows cannot be read, or a row cannot become a request.
            JobConflict: The same requests are running with other options.
            AwsError: AWS is unreachable or denies access.

        Examples:
            >>> job = batch.submit("requests.jsonl", to="team/", completion_window="48h")
            >>> job.path
            'team/requests.jsonl'
            >>> batch.submit("requests.jsonl", to="team/", completion_window="48h").wait()["status"]
            'succeeded'
            >>> batch.submit("requests.jsonl", max_attempts=11)
            Traceback (most recent call last):
            groq_batch_client.errors.OptionError: max_attempts is '11'; allowed is ...
            >>> batch.submit(frame, prompt="Translate: {text}", model="openai/gpt-oss-20b").path
            'frames/65cd92abd9f218d2.jsonl'
        """
        metadata = options_as_metadata(options)
        options_in_force(self._stack, metadata)
        making = Making(
            prompt=prompt,
            model=model,
            id=id,
            system=system,
            schema=schema,
            params=params,
            same_prompt=same_prompt,
        )
        with prepared(source, to=to, making=making) as found:
            standing = standing_upload(self._storage, found.key)
            is_same = standing is not None and standing.digest == found.digest
            if standing is not None and is_same and standing.is_worth_keeping and not again:
                self._check_options(standing, metadata)
                job = standing.job
                if job.job_id is None:
                    # A later upload of this path is another job.
                    job = replace(job, job_id=standing.job_id)
                return self._job(job, found)
            uploaded = upload(
                self._storage,
                found.file,
                found.key,
                metadata={**metadata, **id_metadata(found.id)},
                digest=found.digest,
                progress=lambda _: None,
            )
        return self._job(FoundJob(path=uploaded.path, job_id=uploaded.job_id), found)

    def _check_options(self, standing: StandingUpload, metadata: Mapping[str, str]) -> None:
        """Check that a running job has the requested options.

        Ended jobs pass: other options are no reason to pay for their answers again.
        """
        if is_final(standing.job.report):
            return
        if options_in_force(self._stack, standing.metadata) != options_in_force(
            self._stack, metadata
        ):
            raise JobConflict(
                f"{one_line(standing.job.path)} is running with other options. Wait for it, cancel "
                f"it, or give its options; again=True uploads, and pays, again."
            )

    def _job(self, job: FoundJob, found: Submission) -> Job:
        return Job(
            job,
            storage=self._storage,
            stack=self._stack,
            rows=found.rows,
            id=found.id,
            schema=found.schema,
        )

    @explained(ARGUMENTS)
    def job(
        self,
        path: str,
        source: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - as in submit
        schema: Any = None,
    ) -> Job:
        """Find a job again, for example after a restart.

        Args:
            path: Its path, the key or S3 URI of one of its files, or its name (``job_id``).
            source: The rows that its requests were built from, as for ``submit``. Without rows,
                frames have the ids of the requests.
            id: The column with the ids; None means the one given to ``submit``.
            schema: The schema of the answers; None means that of the requests.

        Raises:
            JobNotFound: There is no job for this path.
            GroqBatchError: The rows cannot be read, or AWS denies access.

        Examples:
            >>> batch.job("team/requests.jsonl").status
            'succeeded'
            >>> batch.job("team/other.jsonl")
            Traceback (most recent call last):
            groq_batch_client.errors.JobNotFound: There is no job of team/other.jsonl in ...
        """
        name = job_id_of_execution(path)
        found = job_by_id(self._storage, name) if is_job_id(name) else None
        found = found or job_of_path(self._storage, path_of(path, self._storage.bucket))
        if found is None:
            raise JobNotFound(
                f"There is no job of {one_line(path)} in s3://{self._storage.bucket}. "
                f"GroqBatch.submit starts one."
            )
        rows = table_of(source) if source is not None else None
        if source is not None and rows is None:
            raise WrongArgumentError(
                f"{type(source).__name__} has no rows. Give the data frame or the file that the "
                f"requests were built from."
            )
        return Job(
            found,
            storage=self._storage,
            stack=self._stack,
            rows=rows,
            id=id,
            schema=schema_of(schema),
            is_recorded=True,
            is_retry=True,
        )

    def run(
        self,
        source: Any,
        *,
        timeout: float | None = None,
        progress: bool | None = None,
        prefix: str = "",
        **how: Any,
    ) -> Any:
        """Submit, wait for the end, and return the rows with the answers in new columns.

        If the call is interrupted, the job continues. The same call picks it up again and does not
        pay twice.

        Args:
            source: As for ``submit``.
            timeout: As for ``Job.wait``.
            progress: As for ``Job.wait``.
            prefix: As for ``Job.to_frame``.
            how: All other arguments of ``submit``.

        Raises:
            GroqBatchError: As for ``submit``, ``Job.wait`` and ``Job.to_frame``.

        Examples:
            >>> import pyarrow
            >>> table = pyarrow.table({"text": ["eins", "zwei"]})
            >>> batch.run(table, prompt="Translate: {text}", model="openai/gpt-oss-20b").select(
            ...     ["text", "answer"]
            ... ).to_pylist()[1]
            {'text': 'zwei', 'answer': 'Answer to Translate: zwei'}
        """
        rows = table_of(source) if is_frame(source) or how.get("prompt") is not None else None
        check_frame(rows, schema=schema_of(how.get("schema")), prefix=prefix)
        # A source that can be read only once has been read now.
        job = self.submit(rows.frame if isinstance(rows, FrameTable) else source, **how)
        job.wait(timeout, progress=progress)
        return job.to_frame(prefix=prefix)
