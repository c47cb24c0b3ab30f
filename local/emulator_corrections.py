"""Corrects the emulator (MiniStack) where it answers differently from AWS, or harms its machine.

Each ``_correct_...`` function replaces one piece of MiniStack in memory. Its docstring says what
AWS does, with the source, and what MiniStack does instead. They reach into MiniStack's private
parts, so they hold for one version only; with any other the emulator does not start.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local.function_queue import EventQueue, WaitingLine, retry_seconds

WRITTEN_FOR = "1.5.33"
"""The version of MiniStack that the corrections are for, as pinned in requirements-dev.in."""

MAX_PROCESSES_VARIABLE = "GROQ_BATCH_EMULATOR_PROCESSES"
"""How many processes of functions may live at once, those that wait for work among them."""

THROTTLED_TASK = "Lambda.TooManyRequestsException"

Answer = tuple[int, dict[str, str], bytes]


class UnknownVersionError(Exception):
    """The installed MiniStack is not the one that the corrections were written for."""


def check_version(installed: str) -> None:
    """Check that the corrections are for the installed MiniStack.

    Raises:
        UnknownVersionError: They are for another version.
    """
    if installed != WRITTEN_FOR:
        raise UnknownVersionError(
            f"MiniStack {installed} is installed, but local/emulator_corrections.py was written "
            f"for {WRITTEN_FOR}. Install what is pinned (make setup), or go through the "
            f"corrections, drop those that are not needed any more, and set WRITTEN_FOR."
        )


def apply_corrections() -> None:
    """Correct the MiniStack of this process. Call this before it serves.

    Raises:
        UnknownVersionError: Another version of it is installed.
    """
    check_version(version("ministack"))
    for correct in _CORRECTIONS:
        correct()


def _correct_ranges_of_versions() -> None:
    """Answer a GET of a range of one version of an object with that range.

    S3 takes ``Range`` and ``versionId`` together
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html). MiniStack answers 200 with
    the whole object; a client that fetches in parts then writes the whole object for each part.
    """
    from ministack.services import s3  # noqa: PLC0415 - only the emulator's process needs it

    get_object = s3._get_object

    def corrected(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Answer:
        status, answered, body = get_object(bucket, key, headers, query)
        wanted = headers.get("range")
        if status != 200 or not wanted:  # noqa: PLR2004
            return status, answered, body
        bounds = s3._parse_range(wanted, len(body))
        if bounds is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, refused, s3._xml_body(s3._range_error_xml(bucket, key))
        first, last = bounds
        # The checksum is of the whole object.
        partial = {
            name: value
            for name, value in answered.items()
            if not name.lower().startswith("x-amz-checksum-")
        }
        partial["Content-Length"] = str(last - first + 1)
        partial["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return 206, partial, body[first : last + 1]

    s3._get_object = corrected


def _correct_throttles() -> None:
    """Retry throttled calls like AWS, for events as well as for tasks of executions.

    Lambda puts an event that is throttled back into its queue and tries again for up to six hours,
    after one second first, then after longer and longer waits, five minutes at most; a function
    that fails is run twice more, after one minute and two
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html). EventBridge
    and its scheduler invoke functions that way. MiniStack counts a throttle as a failure of the
    function, and drops an event of EventBridge at its first failure.

    A task that is throttled fails with ``Lambda.TooManyRequestsException``
    (https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html), and the waits
    before its repetitions follow ``MaxDelaySeconds`` and ``JitterStrategy``
    (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html). MiniStack
    says ``Lambda.Unknown``, and its scaled waits of 60 seconds at most give a task up after a
    minute, while the functions before it are still running.
    """
    from ministack.services import lambda_svc, stepfunctions  # noqa: PLC0415

    scale = float(stepfunctions._SFN_WAIT_SCALE)
    most = int(lambda_svc._ACCOUNT_CONCURRENCY_CAP)
    line = WaitingLine(lambda: not most or lambda_svc._inflight_total < most, wait_scale=scale)
    release = lambda_svc._release_execution_slot

    def release_slot(key: str) -> None:
        release(key)
        line.call_next()

    lambda_svc._release_execution_slot = release_slot
    _correct_events(line, scale)
    _correct_tasks(line)


def _correct_events(line: WaitingLine, scale: float) -> None:
    from ministack.services import eventbridge, lambda_svc  # noqa: PLC0415

    def invoke(function: Mapping[str, Any], event: Any) -> None:
        def run() -> None:
            settings = asynchronous_settings(function)
            queue = EventQueue(
                retries=settings.get("MaximumRetryAttempts"),
                event_age_seconds=settings.get("MaximumEventAgeInSeconds"),
                wait_after_failure=lambda seconds: time.sleep(seconds * scale),
                wait_after_throttle=lambda seconds: line.wait(seconds, is_task=False),
            )
            result = queue.deliver(
                lambda: lambda_svc._execute_function_with_config_scope(function, event)
            )
            target = on_failure(function, settings)
            if result.get("error") and target:
                name = function["config"]["FunctionName"]
                lambda_svc._run_with_function_config_scope(
                    function, lambda_svc._route_async_failure, target, name, event, result
                )

        # The thread continues in the caller's account and region.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(run,), daemon=True).start()

    def dispatch(arn: str, payload: str) -> None:
        function, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not config:
            eventbridge.logger.warning("EventBridge: function %s not found", name)
            return
        lambda_svc.invoke_async_with_retry(
            lambda_svc._execution_record_for_config(function, config), json.loads(payload)
        )

    lambda_svc.invoke_async_with_retry = invoke
    eventbridge._dispatch_to_lambda = dispatch


def asynchronous_settings(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a function's EventInvokeConfig, which says how its events are retried."""
    found: Mapping[str, Any] = (
        function.get("event_invoke_config")
        or (function.get("event_invoke_configs") or {}).get("$LATEST")
        or {}
    )
    return found


def on_failure(function: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the ARN of the destination for undelivered events; empty if there is none.

    Args:
        function: MiniStack's record of the function.
        settings: Its EventInvokeConfig.
    """
    destination = (settings.get("DestinationConfig") or {}).get("OnFailure") or {}
    letters = function["config"].get("DeadLetterConfig") or {}
    return str(destination.get("Destination") or letters.get("TargetArn") or "")


def _correct_tasks(line: WaitingLine) -> None:
    from ministack.services import stepfunctions  # noqa: PLC0415

    call_function = stepfunctions._call_lambda
    find_retrier = stepfunctions._find_matching_retrier

    def call(function: Any, event: Any) -> Any:
        try:
            return call_function(function, event)
        except stepfunctions._ExecutionError as error:
            if not is_throttle(error.error, error.cause):
                raise
            raise stepfunctions._ExecutionError(THROTTLED_TASK, error.cause) from None

    def find(retriers: Any, error: str, counts: dict[int, int]) -> tuple[Any, int]:
        retrier, place = find_retrier(retriers, error, counts)
        if error != THROTTLED_TASK or retrier is None:
            return retrier, place
        line.wait(retry_seconds(retrier, counts.get(place, 0)), is_task=True)
        # The rest of MiniStack's wait.
        return {**retrier, "IntervalSeconds": 0}, place

    stepfunctions._call_lambda = call
    stepfunctions._find_matching_retrier = find


def is_throttle(error: str, cause: str) -> bool:
    """Tell whether a task's error in MiniStack is a throttle."""
    if error != "Lambda.Unknown":
        return False
    try:
        said = json.loads(cause)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("__type") == "TooManyRequestsException"


def _correct_listings_of_maps() -> None:
    """List a Distributed Map's objects while other objects are written.

    S3 answers a listing during any other activity in the bucket. MiniStack iterates over a table
    that every write changes, and fails the execution with an error of its own.
    """
    from ministack.services import stepfunctions  # noqa: PLC0415

    read_items = stepfunctions._read_map_items

    def corrected(*arguments: Any) -> Any:
        return undisturbed(lambda: read_items(*arguments))

    stepfunctions._read_map_items = corrected


def undisturbed(look: Callable[[], Any]) -> Any:
    """Return the result of reading a table; read again if the table changed during the read."""
    while True:
        try:
            return look()
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise


def _limit_processes() -> None:
    """End idle processes of functions if there are more than the machine should hold.

    On AWS an idle environment costs its user nothing. MiniStack keeps, for five minutes, as many
    processes of each function as have ever run at once, of 60 MB and more.
    """
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc  # noqa: PLC0415

    most = int(os.environ.get(MAX_PROCESSES_VARIABLE, "0"))
    if not most:
        return
    acquire = lambda_runtime.acquire_worker

    def acquire_worker(*arguments: Any, **named: Any) -> tuple[Any, str]:
        leased: tuple[Any, str] = acquire(*arguments, **named)
        if leased[1] == "spawn":
            lambda_runtime.kill_workers(take_idle(lambda_runtime, most))
        return leased

    lambda_svc.acquire_worker = acquire_worker


def take_idle(runtime: Any, most: int) -> list[Any]:
    """Remove idle processes from MiniStack's pools until at most ``most`` are left; return them.

    They are taken from the function with the most idle ones, those first that have been idle
    longest. By age alone a row of functions that take turns would always lose the next one's.

    Args:
        runtime: Its module with the pools.
        most: How many may stay; those that work stay in any case.
    """
    taken: list[Any] = []
    with runtime._lock:
        pools = runtime._workers.values()
        idle = [
            sorted((one for one in pool if not one.in_use), key=lambda one: float(one.last_used))
            for pool in pools
        ]
        surplus = sum(map(len, pools)) - most
        while len(taken) < surplus and any(idle):
            taken.append(max(idle, key=len).pop(0))
        for pool in pools:
            pool[:] = [one for one in pool if one not in taken]
    return taken


def _share_unpacked_code() -> None:
    """Unpack a function's code once for all of its processes.

    MiniStack unpacks the archive for each process, and Python compiles it again: two thirds of
    a cold start. On AWS functions may write to ``/tmp`` only
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html), so that
    processes may share their code.
    """
    from ministack.core import lambda_runtime  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="ministack-code-"))
    lock = threading.Lock()

    class SharedArchive(zipfile.ZipFile):
        """An archive that is unpacked once; later requests get a link."""

        def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
            if path is None or Path(path).name != "code":
                super().extractall(path, members, pwd)
                return
            digest = hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
            unpacked = folder / digest
            with lock:
                if not unpacked.exists():
                    draft = folder / f"{digest}.part"
                    super().extractall(draft, members, pwd)
                    draft.rename(unpacked)
            Path(path).rmdir()
            Path(path).symlink_to(unpacked, target_is_directory=True)

    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": SharedArchive})


def _reuse_digests_of_parts() -> None:
    """Complete a multipart upload with the existing digests of its parts.

    S3 makes an object's ETag of those of its parts
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html). MiniStack reads all parts
    once more for it, and answers nothing else meanwhile: a quarter of a second for 100 MB.
    """
    from ministack.services import s3  # noqa: PLC0415

    complete = s3._complete_multipart_upload
    known: contextvars.ContextVar[Mapping[int, bytes]] = contextvars.ContextVar("known")

    def corrected(bucket: str, key: str, body: bytes, query: Any, headers: Any = None) -> Any:
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
        parts = list(upload["parts"].values()) if upload else []
        standing = known.set(
            {id(part["body"]): bytes.fromhex(part["etag"].strip('"')) for part in parts}
        )
        try:
            return complete(bucket, key, body, query, headers)
        finally:
            known.reset(standing)

    def md5(data: bytes = b"", **_: Any) -> Any:
        digest = known.get({}).get(id(data))
        if digest is None:
            return hashlib.md5(data, usedforsecurity=False)  # S3's ETags are MD5.
        return SimpleNamespace(digest=lambda: digest)

    s3._complete_multipart_upload = corrected
    s3.hashlib = SimpleNamespace(**{**vars(hashlib), "md5": md5})


_CORRECTIONS: tuple[Callable[[], None], ...] = (
    _correct_ranges_of_versions,
    _reuse_digests_of_parts,
    _correct_throttles,
    _correct_listings_of_maps,
    _limit_processes,
    _share_unpacked_code,
)
