"""What clients may use up, as frozen typed values: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsgate.config.about import about
from wsgate.config.kinds import Count, Flag, Size, Time
from wsgate.config.units import GIB, KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, or all of them together, may use up."""

    max_message_size: int = field(
        default=MIB,
        metadata=about(
            Size(1, GIB),
            "longest message from a client",
            limit="longer: close 1009",
            why="the whole message is in memory before PHP gets it; PHP's post_max_size is 8M",
        ),
    )
    max_frame_size: int = field(
        default=MIB,
        metadata=about(
            Size(1, GIB),
            "longest single frame from a client",
            limit="longer: close 1009",
            why="browsers send a message in one frame, so it follows max_message_size",
            follows="max_message_size",
        ),
    )
    max_fragments: int = field(
        default=1024,
        metadata=about(
            Count(1, 2**20),
            "frames of one message, empty ones too",
            limit="more: close 1008",
            why="browsers send one; each costs work, however little it holds",
        ),
    )
    fragment_size: int = field(
        default=64 * KIB,
        metadata=about(
            Size(125, 16 * MIB),
            "longest frame sent to a client",
            limit="longer answers travel in several frames",
            why="small enough for every client, and other frames get through in between",
        ),
    )
    max_answer_size: int = field(
        default=16 * MIB,
        metadata=about(
            Size(1, GIB),
            "longest answer of PHP",
            limit="longer: the client gets error 502",
            why="the whole answer is in memory before the client gets any of it",
        ),
    )
    stream_timeout: float = field(
        default=300.0,
        metadata=about(
            Time(0.1, 86400),
            "a streamed answer may last",
            limit="longer: it ends with error 504; PHP is stopped at its next output",
            why="it keeps a PHP worker all that time; its parts come within response_timeout "
            "of each other",
        ),
    )
    stream_messages: int = field(
        default=10_000,
        metadata=about(
            Count(1, 10**9),
            "messages of one streamed answer",
            limit="more: it ends with error 502",
            why="a script in a loop is stopped; a model's longest answer has fewer tokens",
        ),
    )
    stream_bytes: int = field(
        default=64 * MIB,
        metadata=about(
            Size(1, 1024 * GIB),
            "bytes of one streamed answer; one message has at most max_answer_size",
            limit="more: it ends with error 502",
            why="a script in a loop is stopped; none of it is kept in memory",
        ),
    )
    max_header_bytes: int = field(
        default=16 * KIB,
        metadata=about(
            Size(KIB, 60 * KIB),
            "request line and headers of a handshake",
            limit="more: 431",
            why="room for large cookies; a header must fit one FastCGI record of 64 KiB",
        ),
    )
    max_header_lines: int = field(
        default=64,
        metadata=about(
            Count(8, 1000),
            "header lines of a handshake",
            limit="more: 431",
            why="browsers send about 15, proxies add a few",
        ),
    )
    max_connections: int = field(
        default=10000,
        metadata=about(
            Count(1, 10**6),
            "clients connected at a time, those in their handshake included",
            limit="more: 503; over TLS the connection is closed before the handshake",
            why="each needs a file descriptor and some 20 KiB; raise `ulimit -n` with it",
        ),
    )
    max_connections_per_address: int = field(
        default=200,
        metadata=about(
            Count(1, 10**6, zero=True),
            "clients connected at a time from one address (IPv6: one /64)",
            limit="more: 503; over TLS the connection is closed before the handshake",
            why="one machine cannot take every place; use 0 behind a proxy that hides addresses",
        ),
    )
    new_connections_per_address: int = field(
        default=20,
        metadata=about(
            Count(1, 10**4, zero=True),
            "new connections a second from one address (IPv6: one /64), twice as many at once",
            limit="more: 503; over TLS the connection is closed before the handshake",
            why="a TLS handshake costs a millisecond; an office behind one address comes back "
            "within seconds; use 0 behind a proxy that hides addresses",
        ),
    )
    max_handshakes: int = field(
        default=1024,
        metadata=about(
            Count(1, 10**6, zero=True),
            "handshakes under way at a time",
            limit="more wait to be accepted; some that have taken over 3 s are dropped for them",
            why="slow clients, on purpose or not, keep no others out; each needs up to 60 KiB",
        ),
    )
    messages_per_second: int = field(
        default=0,
        metadata=about(
            Count(1, 10**4, zero=True),
            "messages a second from one client, twice as many at once",
            limit="more: nothing is read from this client until it is within the rate again",
            why="off: a client has one request with PHP at a time, so it cannot take a second "
            "worker, and a rate that is right for a chat (50) would slow a game down",
        ),
    )
    pusher_messages_per_second: int = field(
        default=50,
        metadata=about(
            Count(1, 10**4, zero=True),
            "messages a second from one client of a route of the dialect Pusher, twice as many at "
            "once, where messages_per_second does not say less",
            limit="more: nothing is read from this client until it is within the rate again",
            why="room for 10 client events a second and for a page that subscribes to all its "
            "channels at once; no PHP that has to keep up slows these clients down",
        ),
    )
    control_frames_per_second: int = field(
        default=20,
        metadata=about(
            Count(1, 10**4, zero=True),
            "pings, and pongs that nobody asked for, a second from one client, twice as many "
            "at once",
            limit="more: close 1008",
            why="a client needs one in ten seconds; each costs an answer, and never asks PHP",
        ),
    )
    queue_per_connection: int = field(
        default=16,
        metadata=about(
            Count(1, 10**5),
            "messages of one client that wait for PHP",
            limit="more: nothing is read from this client until one is answered",
            why="enough for a burst; one client cannot fill the memory",
        ),
    )
    queue_bytes_per_connection: int = field(
        default=MIB,
        metadata=about(
            Size(1, GIB),
            "bytes of one client that wait for PHP",
            limit="more: nothing is read from this client until one is answered",
            why="a single message may exceed it, so it never blocks for ever",
        ),
    )
    handshake_timeout: float = field(
        default=10.0,
        metadata=about(
            Time(0.1, 600),
            "from TCP connection to WebSocket, TLS included",
            limit="later: the connection is closed",
            why="slow mobile networks manage; idle attackers do not",
        ),
    )
    ping_interval: float = field(
        default=25.0,
        metadata=about(
            Time(0.1, 86400, zero=True),
            "between pings to a client",
            why="proxies cut connections that are silent for 30 to 60 seconds",
        ),
    )
    pong_timeout: float = field(
        default=20.0,
        metadata=about(
            Time(0.1, 3600),
            "for a client to answer a ping",
            limit="later: the connection is dropped",
            why="a client that vanished gives its place back within a minute",
        ),
    )
    close_timeout: float = field(
        default=5.0,
        metadata=about(
            Time(0.1, 600),
            "for a client to answer a close",
            limit="later: the connection is dropped",
            why="most answer in one round trip",
        ),
    )
    send_high_water: int = field(
        default=256 * KIB,
        metadata=about(
            Size(KIB, GIB),
            "bytes a client has yet to take",
            limit="more: PHP is not called for this client until it has taken them",
            why="a slow reader cannot fill the memory with answers",
        ),
    )
    send_timeout: float = field(
        default=30.0,
        metadata=about(
            Time(0.1, 3600),
            "without a client taking anything that was sent",
            limit="longer: the connection is dropped",
            why="half of nginx's send_timeout; mobile networks stall for seconds",
        ),
    )
    push_buffer: int = field(
        default=MIB,
        metadata=about(
            Size(KIB, GIB),
            "pushed messages that wait for one client",
            limit="more: close 1013, too slow",
            why="nobody waits for a slow client; a single message may exceed it",
        ),
    )
    channels_per_connection: int = field(
        default=32,
        metadata=about(
            Count(1, 10**4),
            "channels that one client is subscribed to",
            limit="more: the subscription is not made, and the log says so",
            why="a chat needs a few; each takes some 200 bytes",
        ),
    )
    max_channels: int = field(
        default=100_000,
        metadata=about(
            Count(1, 10**7),
            "channels there are at a time",
            limit="more: the subscription is not made, and the log says so",
            why="names may come from clients by way of PHP; each takes about a KiB",
        ),
    )
    channel_history: int = field(
        default=0,
        metadata=about(
            Count(1, 1000, zero=True),
            "messages kept of one channel, for clients that come back",
            limit="older ones are forgotten: what began before them cannot be recovered",
            why="off: it costs memory, and is of use to clients only that keep their place",
        ),
    )
    channel_history_age: float = field(
        default=300.0,
        metadata=about(
            Time(1, 86400),
            "that a message is kept, and a channel after its last subscriber",
            limit="older ones are forgotten",
            why="a train through a tunnel, a restart of a browser",
        ),
    )
    channel_history_bytes: int = field(
        default=64 * MIB,
        metadata=about(
            Size(KIB, 64 * GIB),
            "memory for the messages kept of all channels; each takes four times its size, and 400 "
            "bytes",
            limit="more: the oldest are forgotten",
            why="however many channels there are, they do not fill the memory",
        ),
    )
    variables_per_connection: int = field(
        default=32,
        metadata=about(
            Count(1, 1000),
            "variables kept on one connection (Wsgate-Set)",
            limit="more: the variable is not kept, and the log says so",
            why="for a name, a room, a role; what is more belongs into the session",
        ),
    )
    variable_bytes_per_connection: int = field(
        default=4 * KIB,
        metadata=about(
            Size(1, 32 * KIB),
            "names and values of all variables of one connection",
            limit="more: the variable is not kept, and the log says so",
            why="each message carries them to PHP",
        ),
    )
    publish_backlog: int = field(
        default=64 * MIB,
        metadata=about(
            Size(KIB, GIB),
            "published messages that have not been given to all their receivers",
            limit="more: the publish fails, and the log says so",
            why="a loop that publishes faster than receivers can be served ends, not the memory",
        ),
    )
    bus_buffer: int = field(
        default=16 * MIB,
        metadata=about(
            Size(KIB, GIB),
            "published messages that wait for the bus, or for its word that it has them",
            limit="more, or for more than 3 seconds: the publish fails, and the log says so",
            why="a Redis that is started anew is back within seconds",
        ),
    )
    hook_timeout: float = field(
        default=2.0,
        metadata=about(
            Time(0.01, 3600),
            "a hook of a route says what it thinks of a client or a message",
            limit="longer: it has failed, and on_hook_failure of the route holds",
            why="clients wait for it; one that asks PHP itself gets the pool's times on top",
        ),
    )
    hook_param_bytes: int = field(
        default=8 * KIB,
        metadata=about(
            Size(1, 48 * KIB),
            "the params that hooks let PHP see of one connection, names and values",
            limit="more: the hook gets an exception",
            why="PHP gets them with each message, and each connection keeps them",
        ),
    )
    idle_timeout: float = field(
        default=0.0,
        metadata=about(
            Time(1, 30 * 86400, zero=True),
            "without a message either way",
            limit="longer, by up to a quarter: close 1000",
            why="none: many clients only wait, and pings find those that are gone",
        ),
    )
    max_connection_age: float = field(
        default=0.0,
        metadata=about(
            Time(1, 365 * 86400, zero=True),
            "that a connection lasts",
            limit="after 90 to 100 % of it, by chance: close 1012, behind the answers that are due",
            why="none; set it where cookies must be looked at again, or load balanced anew",
        ),
    )
    compression: bool = field(
        default=False,
        metadata=about(
            Flag(),
            "permessage-deflate (RFC 7692) for clients that offer it",
            why="costs 50 KiB and CPU per client, and can betray secrets by their length",
        ),
    )
