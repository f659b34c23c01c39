"""wsgate.gateway.hooked: in whichever order things happen, nothing is lost or doubled."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred

from tests.fakes import FakePool
from tests.gateway.hooked import Visitor
from wsgate.fastcgi import QueueFull, ResponseTimeout
from wsgate.gateway import ChainLimits
from wsgate.hooks import Answer, Hook, HookFailed, Refuse

WORDS = {
    "pass": None,
    "answer": Answer(b"of a hook"),
    "refuse": Refuse(429, "slowly"),
    "no word": 7,
}


class Pool(FakePool):
    """Knows which requests PHP has begun with, and forgets those that are taken back."""

    def withdraw(self, request):
        if not self.is_waiting:
            return False
        place = self.requests.index(request) - len(self.requests)
        del self.turns[place]
        del self.requests[place]
        return True


class Puppet(Hook):
    """Does what it is told: at once or later, with or without a question before."""

    def __init__(self):
        self.plan = "pass"
        self.asks_first = None
        self.waiting = []
        self.questions = []

    def on_message(self, connection, message):
        if self.asks_first == "left":
            question = message.ask()
            question.addErrback(lambda _: None)
            self.questions.append(question)
        elif self.asks_first == "awaited":
            return self.asking(message)
        if self.plan == "later":
            return self.later()
        if self.plan == "raise":
            raise RuntimeError
        return WORDS[self.plan]

    async def asking(self, message):
        answer = await message.ask()
        if self.plan == "later":
            return await self.later()
        return answer

    async def later(self):
        word = Deferred()
        self.waiting.append(word)
        return await word


PLANS = st.tuples(
    st.sampled_from([*WORDS, "pass", "later", "later", "raise"]),
    st.sampled_from([None, None, "left", "awaited"]),
)


class Orders(RuleBasedStateMachine):
    @initialize(passes=st.booleans(), hooks=st.integers(1, 3), disconnect=st.booleans())
    def enter(self, passes, hooks, disconnect):
        self.puppets = [Puppet() for _ in range(hooks)]
        events = ("message", "disconnect") if disconnect else ("message",)
        limits = ChainLimits(timeout=1.0, passes=passes)
        self.visitor = Visitor(*self.puppets, events=events, limits=limits)
        self.visitor.route.pool = self.visitor.pool = Pool()
        self.visitor.enter()
        self.sent = 0
        self.has_left = False

    @precondition(lambda self: not self.has_left)
    @rule(number=st.integers(1, 3), plans=st.lists(PLANS, min_size=3, max_size=3))
    def say(self, number, plans):
        for puppet, plan in zip(self.puppets, plans, strict=False):
            puppet.plan, puppet.asks_first = plan
        for _ in range(number):
            self.sent += 1
            self.visitor.say(str(self.sent))

    @rule(which=st.integers(0, 2), word=st.sampled_from([*WORDS, "fail"]))
    def speak(self, which, word):
        waiting = self.puppets[which % len(self.puppets)].waiting
        while waiting:
            deferred = waiting.pop(0)
            if not deferred.called:
                if word == "fail":
                    deferred.errback(HookFailed("away"))
                else:
                    deferred.callback(WORDS[word])
                return

    @precondition(lambda self: self.visitor.pool.turns)
    @rule(how=st.sampled_from(["answer", "fail", "close"]))
    def php(self, how):
        pool = self.visitor.pool
        if how == "fail":
            pool.fail(ResponseTimeout("late"))
        else:
            pool.answer(b"of php", b"Wsgate-Close: 4000" if how == "close" else b"X: y")
        self.visitor.book.write()

    @rule(which=st.integers(0, 2))
    def cancel(self, which):
        questions = self.puppets[which % len(self.puppets)].questions
        if questions:
            questions.pop().cancel()

    @rule(is_waiting=st.booleans())
    def php_has_time(self, is_waiting):
        self.visitor.pool.is_waiting = is_waiting

    @rule()
    def let_time_pass(self):
        self.visitor.wait(1.2)

    @rule()
    def take_a_turn(self):
        soon = self.visitor.peer.soon
        while soon:
            soon.pop(0)()

    @rule(is_stuck=st.booleans())
    def read(self, is_stuck):
        if is_stuck:
            self.visitor.conversation.output_paused()
        else:
            self.visitor.conversation.output_resumed()

    @precondition(lambda self: not self.has_left)
    @rule()
    def leave(self):
        self.has_left = True
        self.visitor.leave()
        self.visitor.book.write()
        assert self.visitor.is_exact()

    @invariant()
    def php_works_on_one_request_at_a_time(self):
        pool = self.visitor.pool
        under_way = pool.requests[len(pool.requests) - len(pool.turns) :]
        busy = [request for request in under_way if b"disconnect" not in request.params]
        assert len(busy) <= 1

    @invariant()
    def php_hears_of_the_end_when_it_is_done_with_the_rest(self):
        pool = self.visitor.pool
        events = [b"disconnect" in request.params for request in pool.requests]
        assert sum(events) <= 1
        if any(events):
            assert events[-1], "the end is the last it hears"
            assert len(pool.turns) <= 1

    @invariant()
    def nothing_is_asked_twice(self):
        asked = [body for body in self.visitor.asked if body]
        assert len(asked) == len(set(asked))

    @invariant()
    def no_message_is_counted_twice(self):
        received, *done = self.visitor.tally
        assert received == self.sent
        assert sum(done) <= received

    def teardown(self):
        if not hasattr(self, "visitor"):
            return
        visitor = self.visitor
        if not self.has_left:
            visitor.leave()
        visitor.book.write()
        assert visitor.is_exact()
        for _ in range(20):
            for puppet in self.puppets:
                puppet.plan, puppet.asks_first = "answer", None
            while visitor.pool.turns:
                visitor.pool.turns.pop(0).errback(QueueFull("over"))
            visitor.book.write()
            visitor.wait(3)
        assert visitor.is_exact()
        assert visitor.chain.connections == 0
        assert visitor.conversation._open_asks == 0
        assert visitor.register.open == 0


TestOrders = Orders.TestCase
TestOrders.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
