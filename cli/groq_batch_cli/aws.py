"""How a command reaches AWS: the stack that its options name."""

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
    """Which stack a command is for.

    Attributes:
        options: The options of the command line that say so, for commands to come.
    """

    options: tuple[str, ...] = ()

    @property
    def is_emulated(self) -> bool:
        """Whether it is a stack of ``groq-batch local up``."""
        return self.access_key is not None

    def command(self, verb: str, *arguments: str) -> str:
        """Return a command for the same stack, as a shell takes it."""
        return shlex.join(["groq-batch", verb, *arguments, *self.options])


@dataclass(slots=False)
class Stack(stack.Stack):
    """A deployed stack, and how the command line has named it."""

    target: Target

    @property
    def limits(self) -> SplitLimits:
        """The limits of its batches."""
        return split_limits(
            int(self.parameters["MaxRequestsPerBatch"]), int(self.parameters["MaxBytesPerBatch"])
        )


def connect(target: Target, *, warns: bool = True) -> Stack:
    """Find a deployed stack; warns when it is of another version than the command line.

    Args:
        target: The stack.
        warns: Whether to warn.

    Raises:
        GroqBatchError: There is none of this name, it is a stack of something else, neither
            credentials nor a region are set, or an option names a region that there cannot be.
    """
    found = find_stack(target, words=OPTIONS)
    difference = version_difference(found.outputs, target.stack_name)
    if difference is not None and warns:
        Terminal.of_process().warn(difference)
    return Stack(
        target=target, outputs=found.outputs, parameters=found.parameters, session=found.session
    )
