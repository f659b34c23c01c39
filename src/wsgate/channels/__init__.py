"""Who listens to what: open connections, the channels they are subscribed to, their users.

A connection is a `Member` here. `Channels` has them all, and gives a `Message` to many at once, in
slices, so that nobody else waits. No transport, no Autobahn, no PHP.
"""

from wsgate.channels.channels import Channels
from wsgate.channels.errors import BusAway, BusError, BusUnanswered, ChannelError
from wsgate.channels.limits import WAITING_OVERHEAD, ChannelLimits
from wsgate.channels.member import NO_CHANNELS, ChannelSet, Member
from wsgate.channels.message import Message
from wsgate.channels.names import OF_DIALECT, check_channel, check_user, is_plain_channel
from wsgate.channels.notices import LONGEST_NOTICE, check_notice

__all__ = [
    "LONGEST_NOTICE",
    "NO_CHANNELS",
    "OF_DIALECT",
    "WAITING_OVERHEAD",
    "BusAway",
    "BusError",
    "BusUnanswered",
    "ChannelError",
    "ChannelLimits",
    "ChannelSet",
    "Channels",
    "Member",
    "Message",
    "check_channel",
    "check_notice",
    "check_user",
    "is_plain_channel",
]
