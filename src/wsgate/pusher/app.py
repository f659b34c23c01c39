"""One application: its keys, and what its clients may do."""

from __future__ import annotations

from dataclasses import dataclass, field

WEBHOOKS = {
    "channels": ("channel_occupied", "channel_vacated"),
    "members": ("member_added", "member_removed"),
    "client_events": ("client_event",),
    "cache_misses": ("cache_miss",),
}
"""Names of the events that a script can be told of, by the word of the settings for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the settings of a route say about its application.

    `key` is public, `secret` is shared with the application alone and never shown. `prefix` stands
    before `/app/` and `/apps/` in URLs, empty for nothing. Sizes are in bytes, times in seconds.
    """

    id: str
    key: str
    secret: bytes = field(repr=False)
    prefix: str = ""
    client_events: bool = False
    subscription_counts: bool = False
    activity_timeout: float = 30.0
    max_presence_members: int = 100
    max_presence_member_size: int = 10 * 1024
    max_event_size: int = 100 * 1024
    client_events_per_second: int = 10
    webhooks: frozenset[str] = frozenset()
    webhook_uri: str = ""

    @property
    def path(self) -> str:
        """Where its clients connect."""
        return f"{self.prefix}/app/{self.key}"
