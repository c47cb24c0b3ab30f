"""Corrects the emulator (MiniStack) where it answers differently from AWS, or harms its machine.

Each ``_correct_...`` function replaces one piece of MiniStack in memory. Its docstring says what
AWS does, with the source, and what MiniStack does instead. They reach into MiniStack's private
parts, so they hold for one version only; with any other the emulator does not start.
"""

from __future__ import annotations

import contextvars
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

WRITTEN_FOR = "1.5.33"
"""The version of MiniStack that was corrected, as pinned in requirements-dev.in."""

MOST_PROCESSES_VARIABLE = "GROQ_BATCH_EMULATOR_PROCESSES"
"""How many processes of functions may live at once, those that wait for work among them."""

THROTTLED_TASK = "Lambda.TooManyRequestsException"
THROTTLED_TASK_SCALE = 0.25
"""Least factor of the waits of a throttled task. Other waits may be scaled further: a throttled
task waits for the end of other functions, and these do not run faster than they do."""

_FIRST_THROTTLE_SECONDS = 1.0
_LONGEST_THROTTLE_SECONDS = 300.0
_EVENT_AGE_SECONDS = 21_600
_FUNCTION_RETRIES = 2
_FUNCTION_RETRY_SECONDS = 60.0

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
    """Correct the MiniStack of this process; to be called before it serves.

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


def _correct_asynchronous_invocations() -> None:
    """Keep an asynchronous event until its function has had a chance to run.

    Lambda puts an event that is throttled back into its queue and tries again for up to six hours,
    after one second first, then after longer and longer waits, five minutes at most; a function
    that fails is run twice more, after one minute and two
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html). EventBridge
    and its scheduler invoke functions that way. MiniStack counts a throttle as a failure of the
    function, and drops an event of EventBridge at its first failure.
    """
    from ministack.services import eventbridge, lambda_svc, stepfunctions  # noqa: PLC0415

    scale = float(stepfunctions._SFN_WAIT_SCALE)

    def invoke(function: Mapping[str, Any], event: Any) -> None:
        def run() -> None:
            settings = asynchronous_settings(function)
            queue = EventQueue(
                retries=settings.get("MaximumRetryAttempts"),
                event_age_seconds=settings.get("MaximumEventAgeInSeconds"),
                wait_scale=scale,
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

        # The thread goes on in the caller's account and region.
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
    """Return how a function wants its events to be treated (its EventInvokeConfig)."""
    found: Mapping[str, Any] = (
        function.get("event_invoke_config")
        or (function.get("event_invoke_configs") or {}).get("$LATEST")
        or {}
    )
    return found


def on_failure(function: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the ARN to which an event goes that could not be delivered; empty when there is none.

    Args:
        function: MiniStack's record of the function.
        settings: Its EventInvokeConfig.
    """
    destination = (settings.get("DestinationConfig") or {}).get("OnFailure") or {}
    letters = function["config"].get("DeadLetterConfig") or {}
    return str(destination.get("Destination") or letters.get("TargetArn") or "")


class EventQueue:
    """Delivers an event to a function as Lambda's queue of asynchronous events does."""

    def __init__(
        self,
        *,
        retries: int | None,
        event_age_seconds: int | None,
        wait_scale: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the function's settings; None stands for Lambda's own.

        Args:
            retries: How often a function that fails is run again.
            event_age_seconds: How long an event is kept.
            wait_scale: Factor for the waits; the first after a throttle is never shortened.
            clock: Seconds since some moment.
            sleep: Waits some seconds.
        """
        self._retries = _FUNCTION_RETRIES if retries is None else int(retries)
        self._event_age_seconds = (
            _EVENT_AGE_SECONDS if event_age_seconds is None else int(event_age_seconds)
        )
        self._wait_scale = wait_scale
        self._clock = clock
        self._sleep = sleep

    def deliver(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run the function until it succeeds or the event is given up; returns the last result."""
        begun = self._clock()
        failures = throttles = 0
        while True:
            result = run()
            if not result.get("error"):
                return result
            if result.get("throttle"):
                wait = self._after_throttle(throttles)
                throttles += 1
            else:
                failures += 1
                wait = failures * _FUNCTION_RETRY_SECONDS * self._wait_scale
            is_late = self._clock() - begun + wait > self._event_age_seconds
            if failures > self._retries or is_late:
                return result
            self._sleep(wait)

    def _after_throttle(self, throttles: int) -> float:
        longest = max(_LONGEST_THROTTLE_SECONDS * self._wait_scale, _FIRST_THROTTLE_SECONDS)
        wait: float = min(_FIRST_THROTTLE_SECONDS * 2.0**throttles, longest)
        # Events that came together do not come back together.
        return wait * random.uniform(0.5, 1)  # noqa: S311 - nothing secret


def _correct_throttled_tasks() -> None:
    """Report a throttled task, and repeat it, as Step Functions does.

    The error is ``Lambda.TooManyRequestsException``
    (https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html), MiniStack says
    ``Lambda.Unknown``. The waits before the repetitions follow ``MaxDelaySeconds`` and
    ``JitterStrategy`` (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html),
    which MiniStack does not read: it waits 60 seconds at most, scaled, and so gives up a task after
    a minute while the functions before it are still running.
    """
    from ministack.services import stepfunctions  # noqa: PLC0415

    call_function = stepfunctions._call_lambda
    find_retrier = stepfunctions._find_matching_retrier
    scale = max(float(stepfunctions._SFN_WAIT_SCALE), THROTTLED_TASK_SCALE)

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
        time.sleep(retry_seconds(retrier, counts.get(place, 0)) * scale)
        # What MiniStack still has to wait.
        return {**retrier, "IntervalSeconds": 0}, place

    stepfunctions._call_lambda = call
    stepfunctions._find_matching_retrier = find


def is_throttle(error: str, cause: str) -> bool:
    """Tell whether MiniStack means a throttle by a task's error."""
    if error != "Lambda.Unknown":
        return False
    try:
        said = json.loads(cause)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("__type") == "TooManyRequestsException"


def retry_seconds(retrier: Mapping[str, Any], count: int) -> float:
    """Return how long Step Functions waits before a repetition.

    Args:
        retrier: An entry of a state's ``Retry``.
        count: How many repetitions by this entry there have been.
    """
    interval = float(retrier.get("IntervalSeconds", 1))
    wait: float = interval * float(retrier.get("BackoffRate", 2)) ** count
    if "MaxDelaySeconds" in retrier:
        wait = min(wait, float(retrier["MaxDelaySeconds"]))
    if retrier.get("JitterStrategy") == "FULL":
        return random.uniform(0, wait)  # noqa: S311 - nothing secret
    return wait


def _limit_processes() -> None:
    """End idle processes of functions when there are more than the machine is to hold.

    On AWS an idle environment costs its user nothing. MiniStack keeps, for five minutes, as many
    processes of each function as have ever run at once, of 60 MB and more.
    """
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc  # noqa: PLC0415

    most = int(os.environ.get(MOST_PROCESSES_VARIABLE, "0"))
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
    """Take the processes out of MiniStack's pools that have been idle longest; returns them.

    Args:
        runtime: Its module with the pools.
        most: How many may stay; those that work stay in any case.
    """
    with runtime._lock:
        workers = [worker for pool in runtime._workers.values() for worker in pool]
        idle = sorted(
            (worker for worker in workers if not worker.in_use),
            key=lambda worker: float(worker.last_used),
        )
        surplus = idle[: max(len(workers) - most, 0)]
        for pool in runtime._workers.values():
            pool[:] = [worker for worker in pool if worker not in surplus]
    return surplus


_CORRECTIONS: tuple[Callable[[], None], ...] = (
    _correct_ranges_of_versions,
    _correct_asynchronous_invocations,
    _correct_throttled_tasks,
    _limit_processes,
)
