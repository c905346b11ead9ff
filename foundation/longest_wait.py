"""The longest wait that a setting may ask for: one limit for clients, servers and steps."""

from foundation.errors import ConfigError

LONGEST_SECONDS = 1_000_000.0
"""11 days; beyond 24 days the timers of operating systems overflow."""


def require_short_enough(name: str, seconds: float) -> None:
    """Refuses a wait that no timer can be set to.

    Args:
        name: The setting's name, for the message.
        seconds: The setting's value.

    Raises:
        ConfigError: If it is longer than `LONGEST_SECONDS`.
    """
    if seconds > LONGEST_SECONDS:
        raise ConfigError(
            f"{name} must be at most {LONGEST_SECONDS:g}", received=f"{seconds:g}", remedy="give fewer seconds"
        )
