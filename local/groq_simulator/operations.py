"""Operations of the control API in the simulator; arguments and results are plain JSON."""

# ruff: noqa: PLW0108 (a lambda names the arguments as callers do, and finds what reset has made)

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.batches import TERMINAL, view
from local.groq_simulator.fates import Fate
from local.groq_simulator.parsing import build
from local.groq_simulator.settings import check_keys
from local.groq_simulator.state import State

WAIT_STEP_SECONDS = 0.005


class Operations:
    """The control operations by name."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._operations: dict[str, Callable[..., Any]] = {
            "configure": self._configure,
            "set_keys": self._set_keys,
            "set_rules": lambda rules: state.rules.replace(rules),
            "add_rule": lambda rule: state.rules.add(rule),
            "set_fates": lambda fates: state.fates.replace(fates),
            "add_fate": lambda fate: state.fates.add(fate),
            "set_refusals": lambda refusals: state.refusals.replace(refusals),
            "add_refusal": lambda refusal: state.refusals.add(refusal),
            "change_batch": self._change_batch,
            "forget_batch": self._forget_batch,
            "set_faults": lambda faults: state.faults.replace(faults),
            "add_fault": lambda fault: state.faults.add(fault),
            "clear_faults": lambda route=None: state.faults.clear(route),
            "wait_held": self._wait_held,
            "release": lambda name, count=None: state.gates.release(name, count),
            "wait_calls": self._wait_calls,
            "add_foreign_batches": self._add_foreign_batches,
            "advance_clock": self._advance_clock,
            "stats": self._stats,
            "requests": lambda job=None: self._read(lambda counts: counts.requests(job)),
            "attempts": lambda job: self._read(lambda counts: counts.attempts(job)),
            "batches": self._batches,
            "calls": self._calls,
            "ordinary_calls": self._ordinary_calls,
            "reset": state.reset,
        }

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Runs an operation.

        Raises:
            ValueError: There is no such operation, or its arguments are wrong.
        """
        operation = self._operations.get(name)
        if operation is None:
            raise ValueError(f"no operation {name!r}; known: {', '.join(self._operations)}")
        _check_arguments(name, operation, arguments)
        try:
            return operation(**arguments)
        except (TypeError, LookupError) as error:
            raise ValueError(f"{name}: {error}") from error

    def _configure(self, settings: dict[str, Any]) -> dict[str, Any]:
        with self._state.lock:
            self._state.settings.update(settings)
            return {
                name: getattr(self._state.settings, name)
                for name in self._state.settings.__dataclass_fields__
                if name != "keys"
            }

    def _set_keys(self, keys: dict[str, str]) -> None:
        check_keys(keys)
        with self._state.lock:
            self._state.settings.keys = dict(keys)

    def _change_batch(self, batch_id: str, fate: dict[str, Any]) -> None:
        with self._state.lock:
            batch = self._batch(batch_id)
            self._state.engine.advance(batch, self._state.now())
            batch.fate = build(Fate, fate)

    def _forget_batch(self, batch_id: str) -> None:
        with self._state.lock:
            self._state.batches.remove(self._batch(batch_id))

    def _batch(self, batch_id: str) -> Any:
        for batch in self._state.batches.all():
            if batch.id == batch_id:
                return batch
        raise ValueError(f"no batch {batch_id!r}")

    def _wait_held(self, name: str, count: int = 1, timeout: float = 10.0) -> bool:
        return self._state.gates.wait_held(name, count, timeout)

    def _wait_calls(self, route: str, count: int = 1, timeout: float = 10.0) -> bool:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self._state.accounting.calls_by_route().get(route, 0) >= count:
                return True
            time.sleep(WAIT_STEP_SECONDS)
        return False

    def _add_foreign_batches(
        self, count: int, metadata: dict[str, str] | None = None, status: str = "completed"
    ) -> list[str]:
        with self._state.lock:
            added = self._state.batches.add_foreign(count, metadata, status, self._state.now())
        return [batch.id for batch in added]

    def _advance_clock(self, seconds: float) -> None:
        with self._state.lock:
            self._state.clock_offset += seconds

    def _advance(self) -> None:
        for batch in self._state.batches.all():
            self._state.engine.advance(batch, self._state.now())

    def _read(self, read: Callable[[Accounting], Any]) -> Any:
        """Advance all batches to the current time, then read the counters."""
        with self._state.lock:
            self._advance()
            return read(self._state.accounting)

    def _batches(self) -> list[dict[str, Any]]:
        with self._state.lock:
            self._advance()
            now, settings = self._state.now(), self._state.settings
            return [
                view(batch, settings, now) | {"foreign": batch.foreign}
                for batch in self._state.batches.all()
            ]

    def _stats(self) -> dict[str, Any]:
        with self._state.lock:
            self._advance()
            accounting = self._state.accounting
            own = [batch for batch in self._state.batches.all() if not batch.foreign]
            shards: dict[str, list[str]] = {}
            for batch in own:
                shards.setdefault(_shard_key(batch.metadata), []).append(batch.id)
            sendings = accounting.requests().values()
            return {
                "calls": accounting.calls_by_route(),
                "creates": len(own),
                "shards": shards,
                "batches_by_status": dict(Counter(batch.status for batch in own)),
                "running": sum(batch.status not in TERMINAL for batch in own),
                "requests_sent": sum(entry["sent"] for entry in sendings),
                "requests_succeeded": sum(entry["succeeded"] for entry in sendings),
                "ordinary_calls": len(accounting.ordinary),
                "ordinary_answers": sum(call.billed for call in accounting.ordinary),
                "most_open_calls": self._state.open_calls.most,
                "paid_twice": accounting.paid_twice(),
                "files": [stored.view() for stored in self._state.files.all()],
                "bytes_received": accounting.bytes_received,
                "bytes_sent": accounting.bytes_sent,
            }

    def _calls(self, route: str | None = None) -> list[dict[str, Any]]:
        calls = list(self._state.accounting.calls)
        return [asdict(call) for call in calls if route is None or call.route == route]

    def _ordinary_calls(self) -> list[dict[str, Any]]:
        with self._state.lock:
            return [call.view() for call in self._state.accounting.ordinary]


def _check_arguments(
    name: str, operation: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    """Check the names of an operation's arguments.

    Raises:
        ValueError: One is unknown or missing; the message names all that there are.
    """
    known = inspect.signature(operation).parameters
    unknown = [one for one in arguments if one not in known]
    missing = [
        one for one, kind in known.items() if kind.default is kind.empty and one not in arguments
    ]
    if not unknown and not missing:
        return
    faults = [f"has no argument {', '.join(unknown)}"] if unknown else []
    faults += [f"needs the argument {', '.join(missing)}"] if missing else []
    raise ValueError(f"{name} {' and '.join(faults)}; known: {', '.join(known) or 'none'}")


def _shard_key(metadata: Mapping[str, str] | None) -> str:
    given = metadata or {}
    return "/".join(given.get(name, "") for name in ("job", "shard", "attempt"))
