"""What Redis does in one step for a bus: scripts, and the keys they use. Pure.

PREFIX:at:CHANNEL      hash: e, the epoch, and o, the offset of the last message
PREFIX:log:CHANNEL     stream: the last messages; the id of each is its offset
PREFIX:in:CHANNEL      hash: node -> its number of subscribers
PREFIX:who:CHANNEL     hash: user -> number of nodes it is on
PREFIX:NODE:who:CHANNEL   set: users of a node in a channel
PREFIX:NODE:in         set: the channels a node is in
PREFIX:rate:BUCKET     hash: f, the time in s when it is full, and for each node that has taken some
                       ahead how many, and until when
PREFIX:nodes           sorted set: node, by the time in ms when its lease ends
"""

from __future__ import annotations

from wsgate.redis import Script

PUBLISH = Script("""
-- KEYS at, log, in  ARGV data, epoch, topic, most, age in ms, ms that a position is kept
local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
if offset == 1 then
    redis.call('HSETNX', KEYS[1], 'e', ARGV[2])
    redis.call('DEL', KEYS[2])
end
local epoch = redis.call('HGET', KEYS[1], 'e')
if ARGV[4] ~= '0' then
    local now = redis.call('TIME')
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], offset .. '-0',
        't', now[1] * 1000 + math.floor(now[2] / 1000), 'd', ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call('PUBLISH', ARGV[3], epoch .. ':' .. offset .. ' ' .. ARGV[1])
local count = 0
for _, there in ipairs(redis.call('HVALS', KEYS[3])) do
    count = count + there
end
-- As long as somebody is there the place stays.
if count > 0 then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return count
""")

READ = Script("""
-- KEYS at, log  ARGV epoch, offset, most, age in ms, new epoch, ms that a position is kept
local is_new = redis.call('HSETNX', KEYS[1], 'e', ARGV[5]) == 1
if is_new then
    redis.call('HSET', KEYS[1], 'o', 0)
end
if is_new or redis.call('PTTL', KEYS[1]) > 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
local at = redis.call('HMGET', KEYS[1], 'e', 'o')
local entries = {}
if at[2] ~= '0' and ARGV[3] ~= '0' then
    local after = ARGV[1] == at[1] and tonumber(ARGV[2]) or 0
    local now = redis.call('TIME')
    local oldest = now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[4]
    local first = math.max(after + 1, at[2] - ARGV[3] + 1)
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], string.format('%.0f-0', first), '+')) do
        local fields = entry[2]
        if tonumber(fields[2]) >= oldest then
            entries[#entries + 1] = entry[1]
            entries[#entries + 1] = fields[4]
        end
    end
end
return {at[1], at[2], entries}
""")

_ATTENDANCE = """
local function total(key)
    local sum = 0
    for _, there in ipairs(redis.call('HVALS', key)) do
        sum = sum + there
    end
    return sum
end
local function come(who, own, user, joined)
    if redis.call('SADD', own, user) == 1 and redis.call('HINCRBY', who, user, 1) == 1 then
        joined[#joined + 1] = user
    end
end
local function go(who, own, user, left)
    if redis.call('SREM', own, user) == 1 and redis.call('HINCRBY', who, user, -1) <= 0 then
        redis.call('HDEL', who, user)
        left[#left + 1] = user
    end
end
"""

ATTEND = Script(
    _ATTENDANCE
    + """
-- KEYS in, who, the node's who, the node's in, at
-- ARGV node, channel, count, joined, left, anew, topic, ms that a position is kept
local before = total(KEYS[1])
local joined, left = {}, {}
if ARGV[3] == '0' then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('SREM', KEYS[4], ARGV[2])
else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    redis.call('SADD', KEYS[4], ARGV[2])
end
local coming = cjson.decode(ARGV[4])
if ARGV[6] == '1' or ARGV[3] == '0' then
    local stay = {}
    for _, user in ipairs(coming) do stay[user] = true end
    for _, user in ipairs(redis.call('SMEMBERS', KEYS[3])) do
        if not stay[user] then go(KEYS[2], KEYS[3], user, left) end
    end
end
for _, user in ipairs(cjson.decode(ARGV[5])) do go(KEYS[2], KEYS[3], user, left) end
for _, user in ipairs(coming) do come(KEYS[2], KEYS[3], user, joined) end
local after = total(KEYS[1])
local occupied = before == 0 and after > 0
local vacated = before > 0 and after == 0
-- Clients may name many channels. Where nothing was published, nobody comes back to a place.
if after > 0 then
    redis.call('PERSIST', KEYS[5])
elseif redis.call('HGET', KEYS[5], 'o') == '0'
        and redis.call('PUBSUB', 'NUMSUB', ARGV[7])[2] == 0 then
    redis.call('DEL', KEYS[5])
else
    redis.call('PEXPIRE', KEYS[5], ARGV[8])
end
return {occupied and 1 or 0, vacated and 1 or 0, joined, left}
"""
)

PRESENCE = Script(
    _ATTENDANCE
    + """
-- KEYS in, who  ARGV whether users are asked for
return {total(KEYS[1]), ARGV[1] == '1' and redis.call('HKEYS', KEYS[2]) or {}}
"""
)

RENEW = Script(
    _ATTENDANCE
    + """
-- KEYS nodes  ARGV prefix, node, lease in ms, most channels at a time, ms that a position is kept
-- Renews a node's lease, and takes away what nodes without one have left.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local held = redis.call('ZSCORE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
local changes, room = {}, tonumber(ARGV[4])
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now))
for _, node in ipairs(dead) do
    local own = ARGV[1] .. ':' .. node
    local channels = redis.call('SPOP', own .. ':in', room)
    for _, channel in ipairs(channels) do
        local there, who = ARGV[1] .. ':in:' .. channel, ARGV[1] .. ':who:' .. channel
        local left = {}
        for _, user in ipairs(redis.call('SMEMBERS', own .. ':who:' .. channel)) do
            go(who, own .. ':who:' .. channel, user, left)
        end
        redis.call('HDEL', there, node)
        local is_vacated = total(there) == 0
        if is_vacated then
            redis.call('PEXPIRE', ARGV[1] .. ':at:' .. channel, ARGV[5])
        end
        changes[#changes + 1] = {channel, is_vacated and 1 or 0, left}
    end
    room = room - #channels
    if room <= 0 then break end
    redis.call('ZREM', KEYS[1], node)
end
return {held and 1 or 0, changes, room <= 0 and 1 or 0}
"""
)

RESIGN = Script("""
-- KEYS nodes  ARGV node
-- Ends a node's lease at once; another's renewal takes away what it has left.
return redis.call('ZADD', KEYS[1], 'XX', 1, ARGV[1])
""")

TAKE = Script("""
-- KEYS bucket  ARGV node, rate, burst, need, ahead, back, lease in s, tokens that count as rounding
-- What wsgate.bus.buckets says; gives granted, ahead, and ms to wait.
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local node, rate, burst, need = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ahead, back, lease = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local full, out, mine, over = 0, 0, 0, {}
local function spend(count, at)
    if count > 0 then full = math.max(full, at) + count / rate end
end
local raw = redis.call('HGETALL', KEYS[1])
for i = 1, #raw, 2 do
    local name, value = raw[i], raw[i + 1]
    if name == 'f' then
        full = math.min(tonumber(value), now + burst / rate)
    else
        local count, till = string.match(value, '^(%d+) (%S+)$')
        count, till = tonumber(count), tonumber(till)
        if till <= now then
            over[#over + 1] = {till, count}
            redis.call('HDEL', KEYS[1], name)
        elseif name == node then
            mine = count
            redis.call('HDEL', KEYS[1], name)
        else
            out = out + count
            -- The clock was set back.
            if till > now + lease then
                redis.call('HSET', KEYS[1], name, string.format('%d %.17g', count, now + lease))
            end
        end
    end
end
table.sort(over, function(one, other) return one[1] < other[1] end)
for _, ended in ipairs(over) do spend(ended[2], ended[1]) end
spend(mine - math.min(back, mine), now)
local there = burst - math.max(0, full - now) * rate - out + ARGV[8]
local granted = math.min(need, math.max(0, math.floor(there)))
spend(granted, now)
local wait = 0
if granted < need then
    wait, ahead = (1 + ARGV[8] + granted - there) / rate, 0
end
ahead = math.min(ahead, math.max(0, math.floor(there) - granted))
if ahead > 0 then
    redis.call('HSET', KEYS[1], node, string.format('%d %.17g', ahead, now + lease))
end
redis.call('HSET', KEYS[1], 'f', string.format('%.17g', full))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst / rate + lease) * 1000))
return {granted, ahead, math.ceil(wait * 1000)}
""")


class Keys:
    """The keys of one bus; `prefix` tells it from others in the same Redis."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes = f"{prefix}:nodes"
        self._topics = f"{prefix}:"

    def at(self, channel: str) -> str:
        """Where a channel is."""
        return f"{self.prefix}:at:{channel}"

    def log(self, channel: str) -> str:
        """Its last messages."""
        return f"{self.prefix}:log:{channel}"

    def attendance(self, channel: str) -> str:
        """How many subscribers each node has in it."""
        return f"{self.prefix}:in:{channel}"

    def who(self, channel: str) -> str:
        """On how many nodes each of its users is."""
        return f"{self.prefix}:who:{channel}"

    def who_of(self, node: str, channel: str) -> str:
        """Its users on one node."""
        return f"{self.prefix}:{node}:who:{channel}"

    def channels_of(self, node: str) -> str:
        """The channels a node is in."""
        return f"{self.prefix}:{node}:in"

    def bucket(self, key: str) -> str:
        """A bucket of tokens."""
        return f"{self.prefix}:rate:{key}"

    def channel_topic(self, channel: str) -> str:
        """Where it is published: not a key, but what nodes subscribe to in Redis."""
        return f"{self.prefix}:channel:{channel}"

    def topic(self, topic: str) -> str:
        """Where things are sent to a node or a user, `node:NODE` or `user:USER`."""
        return f"{self.prefix}:{topic}"
