"""One channel: who is subscribed, and how many of each user. Pure."""

from __future__ import annotations

from wsgate.channels.member import Member


class Channel:
    """The subscribers of one channel, in the order in which they came."""

    __slots__ = ("_receivers", "name", "subscribers", "users")

    def __init__(self, name: str) -> None:
        self.name = name
        self.subscribers: dict[Member, None] = {}
        self.users: dict[str, int] = {}
        """Users that are here, each with the number of its connections."""
        self._receivers: tuple[Member, ...] | None = ()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is subscribed."""
        return not self.subscribers

    def receivers(self) -> tuple[Member, ...]:
        """Those subscribed now. Made once for all messages until somebody comes or goes."""
        if self._receivers is None:
            self._receivers = tuple(self.subscribers)
        return self._receivers

    def add(self, member: Member) -> bool:
        """Subscribe `member`; whether its user has not been here before."""
        self.subscribers[member] = None
        self._receivers = None
        return member.user is not None and self.user_came(member.user)

    def remove(self, member: Member) -> bool:
        """Unsubscribe `member`; whether its user is here no more."""
        del self.subscribers[member]
        self._receivers = None
        return member.user is not None and self.user_went(member.user)

    def user_came(self, user: str) -> bool:
        """One more connection of `user`; whether it is the first."""
        self.users[user] = count = self.users.get(user, 0) + 1
        return count == 1

    def user_went(self, user: str) -> bool:
        """One connection less of `user`; whether it was the last."""
        self.users[user] -= 1
        if self.users[user]:
            return False
        del self.users[user]
        return True
