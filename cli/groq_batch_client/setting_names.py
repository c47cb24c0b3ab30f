"""Names of the stack settings in messages: Python arguments or command-line options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """Names of the settings, as the reader of a message writes them.

    Attributes:
        stack: The stack.
        region: Its region.
        profile: The AWS profile.
        local: The sentence about the emulated stack of this machine.
    """

    stack: str
    region: str
    profile: str
    local: str

    @property
    def sign_in(self) -> str:
        """Advice for rejected credentials."""
        return (
            f"Sign in again (aws sso login, aws configure), or name another profile with "
            f"{self.profile}."
        )

    @property
    def no_credentials(self) -> str:
        """The message for missing credentials."""
        return (
            f"There are no AWS credentials. Sign in (aws sso login, aws configure), or name a "
            f"profile with {self.profile}. {self.local}"
        )

    @property
    def no_credentials_no_region(self) -> str:
        """The message for missing credentials and a missing region."""
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
