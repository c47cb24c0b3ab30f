"""Find the stack that the options of a command select."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from groq_batch.domain.shard import SplitLimits
from groq_batch_cli.limits import split_limits
from groq_batch_cli.stack_version import version_difference
from groq_batch_cli.terminal import Terminal
from groq_batch_client import stack
from groq_batch_client.setting_names import OPTIONS
from groq_batch_client.stack import StackAddress, find_stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(StackAddress):
    """The stack that a command is for.

    Attributes:
        options: The command-line options that select it, to repeat in suggested commands.
    """

    options: tuple[str, ...] = ()

    @property
    def is_emulated(self) -> bool:
        """Whether it is a stack of ``groq-batch local up``."""
        return self.access_key is not None

    def command(self, verb: str, *arguments: str) -> str:
        """Return a shell command for the same stack."""
        return shlex.join(["groq-batch", verb, *arguments, *self.options])


@dataclass(slots=False)
class Stack(stack.Stack):
    """A deployed stack, with the options that selected it."""

    target: Target

    @property
    def limits(self) -> SplitLimits:
        """Its limits for batches."""
        return split_limits(
            int(self.parameters["MaxRequestsPerBatch"]), int(self.parameters["MaxBytesPerBatch"])
        )


def connect(target: Target, *, warns: bool = True) -> Stack:
    """Find a deployed stack; warn if its version differs from that of the command line.

    Args:
        target: The stack.
        warns: Whether to warn.

    Raises:
        GroqBatchError: No stack has this name, it is not a Groq Batch stack, credentials or a
            region are missing, or an option has an invalid region.
    """
    found = find_stack(target, words=OPTIONS)
    difference = version_difference(found.outputs, target.stack_name)
    if difference is not None and warns:
        Terminal.of_process().warn(difference)
    return Stack(
        target=target, outputs=found.outputs, parameters=found.parameters, session=found.session
    )
