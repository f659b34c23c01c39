"""One channel: who is subscribed, how many of each user, and its last messages. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from wsgate.channels.member import Member
from wsgate.channels.message import Message
from wsgate.channels.published import Published, read_place

# Most channels keep nothing; an empty deque takes 600 bytes.
_NOTHING: deque[Published] = deque(maxlen=0)


class Channel:
    """The subscribers of one channel, in the order in which they came, and its place in time."""

    __slots__ = (
        "_enveloped",
        "_receivers",
        "epoch",
        "kept",
        "name",
        "offset",
        "subscribers",
        "users",
    )

    def __init__(self, name: str, epoch: str) -> None:
        self.name = name
        self.epoch = epoch
        """Another one whenever the count of messages begins anew."""
        self.offset = 0
        """Of the last message published."""
        self.kept = _NOTHING
        """The last ones, without a gap."""
        self.subscribers: dict[Member, int] = {}
        """Each with the offset after which it gets what is published."""
        self._enveloped: set[Member] | None = None
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
        self.subscribers[member] = self.offset
        self._receivers = None
        return member.user is not None and self.user_came(member.user)

    def remove(self, member: Member) -> bool:
        """Unsubscribe `member`; whether its user is here no more."""
        del self.subscribers[member]
        if self._enveloped is not None:
            self._enveloped.discard(member)
        self._receivers = None
        return member.user is not None and self.user_went(member.user)

    def envelop(self, member: Member) -> None:
        """Give `member` envelopes, once it is subscribed."""
        if self._enveloped is None:
            self._enveloped = set()
        self._enveloped.add(member)

    def gets_envelopes(self, member: Member) -> bool:
        """Whether `member` does."""
        return self._enveloped is not None and member in self._enveloped

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

    # -- messages

    def move_to(self, epoch: str, offset: int) -> None:
        """Let others say where it is: the next message has the place after this."""
        if epoch != self.epoch:
            # The places of before mean nothing any more.
            self.subscribers = dict.fromkeys(self.subscribers, offset)
        self.epoch, self.offset = epoch, offset

    def advance(self, message: Message, time: float) -> Published:
        """Give a message the next place."""
        self.offset += 1
        return Published(self.name, self.epoch, self.offset, message, time)

    def keep(self, published: Published) -> None:
        """Keep the message that was given the last place."""
        if self.kept is _NOTHING:
            self.kept = deque()
        self.kept.append(published)

    def forget_oldest(self) -> None:
        """Keep one message less."""
        self.kept.popleft()
        if not self.kept:
            self.kept = _NOTHING

    def missed_since(self, places: Sequence[str]) -> list[Published] | None:
        """What was published after that of `places` which is of this channel.

        None: no place is, or what came after it is not kept any more.
        """
        for epoch, offset in filter(None, map(read_place, places)):
            if epoch != self.epoch or offset > self.offset:
                continue
            first = self.kept[0].offset if self.kept else self.offset + 1
            if offset + 1 >= first:
                return [published for published in self.kept if published.offset > offset]
        return None
