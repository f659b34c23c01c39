"""wsgate.hooking: hooks are made, started, exchanged at a reload and stopped."""

import sys
from types import ModuleType

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from wsgate import config as settings
from wsgate.channels import Channels
from wsgate.config.cache import CacheOptions
from wsgate.gateway import HookedConversation
from wsgate.gateway import Route as Served
from wsgate.hooking import Hooks
from wsgate.hooks import Hook
from wsgate.ports import CannotStart, StartFailed


class Door(Hook):
    """Writes down what becomes of it."""

    did: list
    outlasts_reload = False

    def __init__(self, services, name="door"):
        self.services = services
        self.name = name

    def start(self):
        self.did.append(("start", self.name))

    def stop(self):
        self.did.append(("stop", self.name))

    def on_message(self, connection, message):
        return None


class Memory(Door):
    outlasts_reload = True


class Broken(Door):
    def start(self):
        raise RuntimeError("secret")


class BrokenLater(Door):
    async def start(self):
        raise RuntimeError("secret")


class Slow(Door):
    def __init__(self, services):
        super().__init__(services)
        self.done = Deferred()

    async def stop(self):
        await self.done
        self.did.append(("stop", "slow"))


@pytest.fixture
def did(monkeypatch):
    module = ModuleType("app_of_a_test")
    for hook in (Door, Memory, Broken, BrokenLater, Slow):
        setattr(module, hook.__name__, hook)
    monkeypatch.setitem(sys.modules, "app_of_a_test", module)
    monkeypatch.setattr(Door, "did", [], raising=False)
    return Door.did


class House:
    """A gateway with one route, as far as its hooks are concerned."""

    def __init__(self):
        self.clock = Clock()
        self.hooks = Hooks(self.clock, Channels(self.clock), {}, self.clock.seconds)

    def settle(self, *uses, **options):
        """Serve a route with these hooks; the route."""
        named = {
            use: settings.NamedHook(name=use, use=f"app_of_a_test:{use}", options=options)
            for use in uses
        }
        route = settings.Route(path="/", script="/w.php", hooks=uses)
        asked = settings.Settings(hooks=named, routes=(route,))
        made = self.hooks.make(asked, [route])
        served = FakeRoute()
        self.hooks.serve(made, asked, [route], [served], None)
        return served


class FakeRoute:
    path = "/"
    make_conversation = None

    @property
    def chain(self):
        return self.make_conversation.args[0]

    @property
    def hook(self):
        return self.chain.links[0].hook


def test_a_hook_knows_its_name_and_its_route(did):
    hook = House().settle("Door").hook
    assert (hook.services.name, hook.services.route) == ("Door", "/")


def test_a_route_with_hooks_has_another_conversation_and_one_without_has_not(did):
    house = House()
    assert house.settle("Door").make_conversation.func is HookedConversation
    assert house.settle().make_conversation is None
    assert Served.__dataclass_fields__["make_conversation"].default is None


def test_hooks_start_with_the_gateway_and_stop_with_it(did):
    house = House()
    house.settle("Door")
    assert not did
    house.hooks.start()
    ensureDeferred(house.hooks.stop())
    assert did == [("start", "door"), ("stop", "door")]


def test_at_a_reload_the_old_ones_stop_when_their_last_client_has_left(did):
    house = House()
    chain = house.settle("Door", name="old").chain
    house.hooks.start()
    chain.enter()
    house.settle("Door", name="new")
    assert did == [("start", "old"), ("start", "new")]
    chain.leave()
    assert did[2:] == [("stop", "old")]


def test_one_that_nobody_uses_stops_at_once(did):
    house = House()
    house.settle("Door", name="old")
    house.hooks.start()
    house.settle()
    assert did == [("start", "old"), ("stop", "old")]


def test_one_that_is_unchanged_is_made_anew_unless_it_outlasts_a_reload(did):
    house = House()
    assert house.settle("Door").hook is not house.settle("Door").hook
    house = House()
    first = house.settle("Memory").hook
    house.hooks.start()
    assert house.settle("Memory").hook is first
    assert did == [("start", "door")]
    assert house.settle("Memory", name="other").hook is not first
    assert did[1:] == [("start", "other"), ("stop", "door")]


def test_one_whose_store_is_another_now_is_made_anew(monkeypatch, did):
    stores = {"answers": object()}
    hooks = Hooks(Clock(), Channels(Clock()), stores)
    monkeypatch.setattr("wsgate.hooking.make_hook", lambda *_: Memory(None))
    named = {
        "cache": settings.NamedHook(
            name="cache", use="cache", options=CacheOptions(store="answers")
        )
    }
    route = settings.Route(path="/", script="/w.php", hooks=("cache",))
    asked = settings.Settings(hooks=named, routes=(route,))

    def served():
        hooks.serve(hooks.make(asked, [route]), asked, [route], [made := FakeRoute()], None)
        return made.hook

    first = served()
    assert served() is first
    stores["answers"] = object()
    assert served() is not first
    second = served()
    del stores["answers"]
    assert served() is not second


def test_one_that_cannot_begin_stops_the_start(did):
    house = House()
    house.settle("Broken")
    with pytest.raises(StartFailed, match="hook Broken failed at its start: RuntimeError in line"):
        house.hooks.start()


def test_one_that_fails_while_it_begins_is_in_the_log(did):
    house = House()
    house.settle("BrokenLater")
    with capturedLogs() as logs:
        house.hooks.start()
    assert "hook BrokenLater failed at its start: RuntimeError" in formatEvent(logs[-1])
    assert "secret" not in formatEvent(logs[-1])


def test_a_stop_waits_for_hooks_that_take_their_time_but_not_for_ever(did):
    house = House()
    house.settle("Slow")
    house.hooks.start()
    stopped = ensureDeferred(house.hooks.stop())
    assert not stopped.called
    for _ in range(23):
        house.clock.advance(0.1)
    assert stopped.called
    assert ("stop", "slow") not in did


def test_a_stop_waits_for_clients_that_hooks_are_still_told_of(did):
    house = House()
    chain = house.settle("Door").chain
    house.hooks.start()
    chain.enter()
    ensureDeferred(house.hooks.stop())
    house.clock.advance(0.05)
    assert ("stop", "door") not in did
    chain.leave()
    house.clock.advance(0.05)
    assert ("stop", "door") in did


@pytest.mark.parametrize(
    ("use", "says"),
    [("Nobody", "app_of_a_test has no Nobody"), ("did.x", "app_of_a_test has no did")],
)
def test_one_that_is_not_there_cannot_be_made(did, use, says):
    with pytest.raises(CannotStart, match=says):
        House().settle(use)


def test_an_option_that_it_does_not_know_is_said(did):
    with pytest.raises(CannotStart, match="unexpected keyword argument 'nme'"):
        House().settle("Door", nme="x")


def test_a_timeout_counts_as_the_limit_that_it_is(did):
    house = House()
    hits = []
    house.hooks._services.channels.hit = hits.append
    chain = house.settle("Door").chain
    chain.count("Door", "timeout")
    chain.count("Door", "failed")
    assert hits == ["hook_timeout"]
    assert house.hooks.outcomes == {("Door", "timeout"): 1, ("Door", "failed"): 1}
