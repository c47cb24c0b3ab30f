"""What messages call the settings that name a stack: arguments of Python, or options of a shell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """The names of the settings, as those write them who read the messages.

    Attributes:
        stack: The stack.
        region: Its region.
        profile: The profile of the AWS settings.
        local: The sentence about the emulated stack of this machine.
    """

    stack: str
    region: str
    profile: str
    local: str

    @property
    def sign_in(self) -> str:
        """What to do about credentials that are not accepted."""
        return (
            f"Sign in again (aws sso login, aws configure), or name another profile with "
            f"{self.profile}."
        )

    @property
    def no_credentials(self) -> str:
        """The sentence for missing credentials."""
        return (
            f"There are no AWS credentials. Sign in (aws sso login, aws configure), or name a "
            f"profile with {self.profile}. {self.local}"
        )

    @property
    def no_credentials_no_region(self) -> str:
        """The sentence for missing credentials and a missing region."""
        return (
            f"There are no AWS credentials, and no AWS region is set. Sign in (aws sso login, aws "
            f"configure), or name a profile with {self.profile}; name the region with "
            f"{self.region} or AWS_REGION. {self.local}"
        )


ARGUMENTS = Words(
    stack="stack=",
    region="region=",
    profile="profile=",
    local='For the emulated stack of this machine: eval "$(groq-batch local env)".',
)
OPTIONS = Words(
    stack="--stack-name",
    region="--region",
    profile="--profile",
    local="For the emulated stack of this machine add --local.",
)
