"""What the template gives the functions, and what the figures say about it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cost import GROQ_BYTES_PER_SECOND, S3_BYTES_PER_SECOND
from local.template_parameters import read_template

TIMEOUT_SECONDS = 840
"""What the template gives every function."""

SLOWER_CORE = 2.0
"""How much slower a core of Lambda is taken to be than the one that was measured on."""

MAX_SHARD_BYTES = 200_000_000
MAX_SHARD_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one invocation of the preparation gets.

    Attributes:
        cpu_bytes_per_second: What one core here checks and cuts, handler and S3 client included.
        bytes_per_second: Assumed speed at AWS.
        bytes: What fits into the time-out.
    """

    cpu_bytes_per_second: float
    bytes_per_second: float
    bytes: float


def reach(input_bytes: float, cpu_seconds: float, *, passes: int) -> Reach:
    """Reckon from a measured preparation.

    At AWS a byte is read from S3, checked by a core that is half as fast, and, unless S3 copies it,
    written to S3; these are added up, though most of it happens at the same time.

    Args:
        input_bytes: What was prepared.
        cpu_seconds: The CPU time that it took here.
        passes: How often a byte passes between the function and S3.
    """
    per_byte = cpu_seconds / input_bytes
    rate = 1 / (per_byte * SLOWER_CORE + passes / S3_BYTES_PER_SECOND)
    return Reach(1 / per_byte, rate, rate * TIMEOUT_SECONDS)


def submit_seconds() -> float:
    """Return how long the largest shard takes to Groq, in seconds."""
    return MAX_SHARD_BYTES / GROQ_BYTES_PER_SECOND


def ids_bytes(lines: int) -> int:
    """Return what the ids of so many lines take in memory while their file is checked, in bytes.

    As ``seen_ids.SeenIds`` holds them: a hash each, and a table of places that grows fourfold
    when 60 % of it is used.
    """
    slots = 1024
    while lines > slots * 3 // 5:
        slots *= 4
    return 8 * lines + 4 * slots


# -- the template ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """What a function gets from the template.

    Attributes:
        memory_mb: Its memory.
        disk_gb: Its ephemeral storage.
    """

    memory_mb: int
    disk_gb: float


def template_sizes() -> dict[str, Size]:
    """Return what the template gives each function, by the name of its folder."""
    template = read_template()
    usual = template["Globals"]["Function"]["MemorySize"]
    sizes = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            disk = properties.get("EphemeralStorage", {}).get("Size", 512)
            sizes[properties["Handler"].split(".")[0]] = Size(
                properties.get("MemorySize", usual), disk / 1024
            )
    return sizes
