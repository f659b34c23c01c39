"""A conversation whose clients hooks may let in or refuse, and are told of when they leave."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.channels import Channels
from wsgate.fastcgi import encode_params
from wsgate.gateway.admission import Accepted, RefusedByBackend
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.chain import Chain, Link, Wait
from wsgate.gateway.connecting import ClientGone
from wsgate.gateway.eventful import EventfulConversation
from wsgate.gateway.guest import Guest
from wsgate.gateway.kept import NOTHING_KEPT
from wsgate.gateway.register import Register
from wsgate.gateway.route import Route
from wsgate.gateway.words import refusal_at_the_door
from wsgate.hooks import HookFailed, NoWord, Refuse
from wsgate.hooks.params import size_of

_NO_PARAMS: dict[str, str] = {}


class GuestConversation(EventfulConversation):
    """The part of a conversation with hooks that is about the client: who comes, and who leaves.

    Args:
        chain: the hooks; those of the time when the connection came are its own until its end.
    """

    __slots__ = (
        "_chain",
        "_goodbyes",
        "_guest",
        "_hook_params",
        "_is_entering",
        "_is_in_chain",
        "_waiting",
        "has_left",
        "is_in",
    )

    def __init__(self, chain: Chain, register: Register, route: Route, arrival: Arrival) -> None:
        super().__init__(register, route, arrival)
        self._chain = chain
        self._guest = Guest(self, arrival.head, chain.timeouts)
        self._hook_params = _NO_PARAMS
        self._is_entering = False
        self._is_in_chain = False
        self._goodbyes = False
        """Whether hooks are being told that it has left."""
        self._waiting: tuple[Wait, Deferred[Any]] | None = None
        """The hook that is to say whether the client comes in."""
        self.is_in = False
        """Whether the 101 is out."""
        self.has_left = False

    # -- who comes

    def open(self) -> Deferred[Accepted]:
        """Ask the hooks, then PHP as the route says."""
        self._is_opening = self._is_in_chain = True
        self._chain.enter()
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Accepted:
        try:
            await self._ask_hooks()
            if self._visit is not None or "connect" in self._route.events:
                return await super()._open()
        except BaseException:
            # Of a client that is turned away no `connection_lost` tells.
            self.has_left = True
            self._guest.has_left()
            self._leave_chain()
            raise
        self._is_opening = False
        return Accepted((), self._subprotocol)

    async def _ask_hooks(self) -> None:
        self._is_entering = True
        for link in self._chain.connects:
            try:
                said = await self._heard(link, link.on_connect, self._guest)
                self._require_word(said)
            except ClientGone:
                raise
            except Exception as error:
                self._chain.note(link, f"connect of {self.connection_id}", error)
                if isinstance(error, NoWord) or not self._chain.limits.passes:
                    raise failure_of_hook(error, link) from None
            else:
                if said is not None:
                    raise self._refusal(link, said)
            if self.has_left:
                raise ClientGone("the client left before it was let in")
        self._is_entering = False

    @staticmethod
    def _require_word(said: object) -> None:
        if said is not None and type(said) is not Refuse:
            raise NoWord(f"on_connect gave {type(said).__name__}, not None or Refuse")

    def _refusal(self, link: Link, said: Refuse) -> RefusedByBackend:
        self._chain.count(link.name, "refused")
        refusal, left_out = refusal_at_the_door(said)
        for name in left_out:
            text = f"hook {link.name}: the header {name} may not be sent, and is left out"
            self._note(text, kind=("hook header", link.name))
        return refusal

    async def _heard(self, link: Link, method: Any, *arguments: object) -> Any:
        """What a hook says, within its time."""
        said = self._chain.call(link, method, *arguments)
        if not hasattr(said, "__await__"):
            return said
        heard: Deferred[Any] = Deferred()
        wait = Wait(self._chain.timeouts, self._chain.limits.timeout, partial(_fire, heard))
        self._waiting = (wait, heard)
        wait.begin(said)
        try:
            return await heard
        finally:
            self._waiting = None

    def opened(self) -> None:
        """Do what hooks wanted done by now, and send what PHP said when it let the client in."""
        self.is_in = True
        self._guest.is_in()
        super().opened()

    # -- who leaves

    def abandon(self) -> None:
        """Nobody waits any more: a hook that was to let the client in need not."""
        super().abandon()
        if self._waiting is not None and not self._goodbyes:
            wait, heard = self._waiting
            wait.cancel()
            heard.errback(ClientGone("the client left before it was let in"))

    def connection_lost(self, code: int = 1006, reason: str = "") -> None:
        """The client is gone: hooks hear of it, then PHP."""
        self.has_left = True
        self.abandon()
        self._guest.has_left()
        if self.is_in and self._chain.disconnects:
            self._goodbyes = True
            Deferred.fromCoroutine(self._say_goodbye(code, reason)).addErrback(self._bug)
        super().connection_lost(code, reason)
        self._look_whether_all_is_over()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        for link in self._chain.disconnects:
            try:
                await self._heard(link, link.on_disconnect, self._guest, code, reason)
            except Exception as error:
                self._chain.note(link, f"disconnect of {self.connection_id}", error)
        self._goodbyes = False
        self._look_whether_all_is_over()

    def _bug(self, failure: Failure) -> None:
        self.log.failure("hooks of {id}", failure, id=self.connection_id)

    def _look_whether_all_is_over(self) -> None:
        """Whether its hooks are needed no more."""
        if self.has_left and not self._goodbyes:
            self._leave_chain()

    def _leave_chain(self) -> None:
        if self._is_in_chain:
            self._is_in_chain = False
            self._chain.leave()

    # -- what hooks may do to it

    @property
    def params(self) -> bytes:
        """The PARAMS records that every request of it has."""
        return self._params

    @property
    def subprotocol(self) -> str | None:
        """The one that it has, or will have."""
        return self._subprotocol

    @property
    def variables(self) -> Mapping[str, str]:
        """What PHP has set."""
        return self._kept.variables

    @property
    def hook_params(self) -> dict[str, str]:
        """What hooks have set; never changed in place."""
        return self._hook_params

    @property
    def _channels(self) -> Channels:
        return self._peer.channels

    def take_subprotocol(self, name: str | None) -> None:
        """Take one that was offered. ValueError if it is too late."""
        if not self._is_entering:
            raise ValueError("a subprotocol is taken in on_connect")
        self._use_subprotocol(name)

    def set_hook_param(self, name: str, value: str) -> None:
        """Set a param that may be set. ValueError if there is no room."""
        after = {**self._hook_params, name: value}
        if not value:
            del after[name]
        if after == self._hook_params:
            return
        if size_of(after) > self._chain.limits.param_bytes:
            self._channels.hit("hook_param_bytes")
            raise ValueError(f"{name}: no room in limits.hook_param_bytes")
        self._hook_params = after
        self._own_kept()
        self._encode_kept()

    def bind_user(self, user: str) -> None:
        """Bind it to a user; "" to nobody."""
        self._channels.bind_user(self, user)

    def subscribe(self, channel: str) -> None:
        """Subscribe it. ChannelError if that cannot be."""
        self._channels.subscribe(self, channel)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe it."""
        self._channels.unsubscribe(self, channel)

    def _encode_kept(self) -> None:
        params = ((name.encode(), value.encode()) for name, value in self._hook_params.items())
        self._params = self._kept.params() + encode_params(params)
        self.params_changed()

    def _use_subprotocol(self, subprotocol: str | None) -> None:
        if self._kept is NOTHING_KEPT:
            super()._use_subprotocol(subprotocol)
            return
        # It ends what stands before what is kept.
        self._params = self._kept.base
        super()._use_subprotocol(subprotocol)
        self._kept.base = self._params
        self._encode_kept()


def failure_of_hook(error: BaseException, link: Link) -> HookFailed:
    """What the client or message of a hook that failed is refused with."""
    return error if isinstance(error, HookFailed) else HookFailed(f"hook {link.name} failed")


def _fire(heard: Deferred[Any], result: Any) -> None:
    if isinstance(result, Failure):
        heard.errback(result)
    else:
        heard.callback(result)
