"""Client of the control API: the same methods in process and over HTTP."""

from __future__ import annotations

import http.client
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

CONTROL_PREFIX = "/_control/"
CONTROL_TIMEOUT_SECONDS = 630.0


class ControlError(Exception):
    """A control call was wrong: unknown name, malformed rule and the like."""


class ControlOperations(ABC):
    """Configures a simulator and returns what happened; README.md shows the JSON forms."""

    @abstractmethod
    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Runs an operation by name.

        Raises:
            ControlError: The operation or its arguments are wrong.
        """

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Changes settings by name (see `Settings`) and returns all of them."""
        result: dict[str, Any] = self.call("configure", {"settings": settings})
        return result

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """Replaces the accepted API keys, each with its state (`KEY_STATES`)."""
        self.call("set_keys", {"keys": dict(keys)})

    def set_rules(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the rules for outcomes of requests."""
        self.call("set_rules", {"rules": list(rules)})

    def add_rule(
        self,
        outcome: str | Mapping[str, Any],
        *,
        match: Mapping[str, Any] | None = None,
        times: int | None = None,
    ) -> None:
        """Adds a rule after the others."""
        rule = {"match": dict(match or {}), "outcome": outcome, "times": times}
        self.call("add_rule", {"rule": rule})

    def set_fates(self, fates: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the fates of batches created from now on."""
        self.call("set_fates", {"fates": list(fates)})

    def add_fate(
        self, *, match: Mapping[str, Any] | None = None, times: int | None = None, **fate: Any
    ) -> None:
        """Adds a fate, given by its fields, for the batches created from now on that match."""
        rule = {"match": dict(match or {}), "fate": fate, "times": times}
        self.call("add_fate", {"fate": rule})

    def set_refusals(self, refusals: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the refusals of batches from now on."""
        self.call("set_refusals", {"refusals": list(refusals)})

    def add_refusal(self, **refusal: Any) -> None:
        """Adds a refusal of batches, given by its fields, after the others."""
        self.call("add_refusal", {"refusal": refusal})

    def change_batch(self, batch_id: str, **fate: Any) -> None:
        """Gives a running batch another fate."""
        self.call("change_batch", {"batch_id": batch_id, "fate": fate})

    def forget_batch(self, batch_id: str) -> None:
        """Removes a batch, as if the API had lost it."""
        self.call("forget_batch", {"batch_id": batch_id})

    def set_faults(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Replaces all faults."""
        self.call("set_faults", {"faults": list(faults)})

    def add_fault(self, route: str, **fault: Any) -> None:
        """Adds a fault, given by its fields, after the others."""
        self.call("add_fault", {"fault": {"route": route, **fault}})

    def clear_faults(self, route: str | None = None) -> None:
        """Removes the faults of a route, or all."""
        self.call("clear_faults", {"route": route})

    def wait_held(self, name: str, count: int = 1, timeout: float = 60.0) -> bool:
        """Waits until this many calls are held at a gate; returns whether they are."""
        arguments = {"name": name, "count": count, "timeout": timeout}
        return bool(self.call("wait_held", arguments))

    def release(self, name: str, count: int | None = None) -> int:
        """Releases the calls that are held at a gate now (None: all); returns how many."""
        return int(self.call("release", {"name": name, "count": count}))

    def wait_calls(self, route: str, count: int = 1, timeout: float = 60.0) -> bool:
        """Waits until a route has been called this often; returns whether it has."""
        arguments = {"route": route, "count": count, "timeout": timeout}
        return bool(self.call("wait_calls", arguments))

    def add_foreign_batches(
        self,
        count: int,
        metadata: Mapping[str, str] | None = None,
        status: str = "completed",
    ) -> list[str]:
        """Adds batches of another client among the existing ones; returns their ids."""
        given = None if metadata is None else dict(metadata)
        arguments = {"count": count, "metadata": given, "status": status}
        result: list[str] = self.call("add_foreign_batches", arguments)
        return result

    def advance_clock(self, seconds: float) -> None:
        """Moves the simulator's clock forward."""
        self.call("advance_clock", {"seconds": seconds})

    def stats(self) -> dict[str, Any]:
        """Returns all counts."""
        result: dict[str, Any] = self.call("stats", {})
        return result

    def requests(self, job: str | None = None) -> dict[str, dict[str, int]]:
        """Returns `{"sent": n, "succeeded": n}` by `custom_id`, of one job or of all."""
        result: dict[str, dict[str, int]] = self.call("requests", {"job": job})
        return result

    def attempts(self, job: str) -> dict[str, list[str]]:
        """Returns by `custom_id` the attempts of a job in which it was received, run or refused."""
        result: dict[str, list[str]] = self.call("attempts", {"job": job})
        return result

    def batches(self) -> list[dict[str, Any]]:
        """Returns every batch object, oldest first, each with `foreign`."""
        result: list[dict[str, Any]] = self.call("batches", {})
        return result

    def calls(self, route: str | None = None) -> list[dict[str, Any]]:
        """Returns the call log, of one route or of all."""
        result: list[dict[str, Any]] = self.call("calls", {"route": route})
        return result

    def ordinary_calls(self) -> list[dict[str, Any]]:
        """Returns the answered ordinary calls, each with its prompt and its status."""
        result: list[dict[str, Any]] = self.call("ordinary_calls", {})
        return result

    def reset(self) -> None:
        """Deletes everything and restores the initial settings."""
        self.call("reset", {})


class SimulatorControl(ControlOperations):
    """Controls a simulator in another process.

    Args:
        url: Any address of the simulator, with or without `/openai/v1`.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host = address.hostname or "127.0.0.1"
        self._port = address.port

    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Runs an operation by name.

        Raises:
            ControlError: The operation or its arguments are wrong.
            OSError: The simulator cannot be reached.
        """
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=CONTROL_TIMEOUT_SECONDS
        )
        try:
            connection.request("POST", CONTROL_PREFIX + operation, json.dumps(arguments))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ControlError(answer["error"])
        return answer["result"]
