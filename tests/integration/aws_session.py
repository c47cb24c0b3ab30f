"""One session of boto3 for all tests, whose clients are made once.

To read the models of a service and to make a client takes longer than most tests; what a client
talks to is another account each time.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import boto3

REGION = "us-east-1"


class _SharedSession(boto3.session.Session):
    """Gives clients that are asked for in the same way out again."""

    def __init__(self) -> None:
        super().__init__(region_name=REGION)
        self._clients: dict[str, Any] = {}

    def client(self, service_name: str, **options: Any) -> Any:
        config = options.get("config")
        told = {**options, "config": config and config._user_provided_options}
        environment = sorted(one for one in os.environ.items() if one[0].startswith("AWS_"))
        key = repr((service_name, sorted(told.items()), environment))
        if key not in self._clients:
            self._clients[key] = super().client(service_name, **options)
        return self._clients[key]


@cache
def shared_session() -> Any:
    """Return the session."""
    return _SharedSession()
