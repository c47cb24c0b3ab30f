"""Provide the logger of the layers below ``steps``, which the command line uses without Powertools.

It is the logger that ``telemetry.log`` configures in the functions, so its lines have the same form
and the same subject there. Fields of a line are passed as ``extra``.
"""

from __future__ import annotations

import logging

SERVICE = "groq-batch"
"""Name of the logger, and of the service in each line."""
logger = logging.getLogger(SERVICE)
