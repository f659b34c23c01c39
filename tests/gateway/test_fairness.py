"""Conversations over a real pool: how long one waits depends on how many there are, not on what
one of them has sent."""

import pytest

from tests.fakes import FakePeer, arrival
from tests.fastcgi.fakes import Network, answer
from wsgate import cgi
from wsgate.gateway import Conversation, QueueLimits, Route

ANSWER = answer(b"Content-Type: text/plain\r\n\r\nanswer")
POLITE = 20


class Peer(FakePeer):
    """Sends its next message once the last is answered, as a polite client does."""

    def __init__(self, clients):
        super().__init__()
        self.clients = clients
        self.asked_at = None
        self.waited = []
        self.conversation = None

    def ask(self):
        self.asked_at = self.clients.served
        self.conversation.message_received(b"polite", False)

    def send_message(self, payload, is_binary):
        self.waited.append(self.clients.served - self.asked_at)
        self.clients.answered_now.append(self)


class Clients:
    """20 polite ones beside one that sends all it has at once, and PHP with some workers."""

    def __init__(self, workers, keep):
        self.net = Network(
            max_in_flight=workers, keep_connections=keep, queue_deadline=60, max_answer_size=10**6
        )
        script = cgi.Script("/w.php", "/w.php", "/")
        self.route = Route(path="/", script=script, pool=self.net.pool)
        self.served = 0
        self.answered_now = []
        self.busy = self.conversation(FakePeer())
        self.polite = [Peer(self) for _ in range(POLITE)]
        for peer in self.polite:
            peer.conversation = self.conversation(peer)

    def conversation(self, peer):
        return Conversation(self.route, arrival(peer, limits=QueueLimits(16, 2**20)))

    def serve_one(self):
        """The oldest request that PHP has is answered; who was answered asks again."""
        endpoint = self.net.endpoint
        while endpoint.attempts:
            endpoint.accept()
        active = [p for p in endpoint.protocols if p._turn is not None]
        self.served += 1
        endpoint.protocols.remove(active[0])
        endpoint.protocols.append(active[0])
        active[0].dataReceived(ANSWER)
        while self.answered_now:
            self.answered_now.pop().ask()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("workers", [1, 4])
def test_ten_thousand_messages_of_one_client_cost_the_others_one_place_each_round(workers, keep):
    clients = Clients(workers, keep)
    for _ in range(10_000):
        clients.busy.message_received(b"busy", False)
    for peer in clients.polite:
        peer.ask()
    for _ in range(2000):
        clients.serve_one()
    # Once all that came before it are answered it is its turn: one each of the others.
    assert max(max(peer.waited) for peer in clients.polite) <= POLITE + 1
    rounds = [len(peer.waited) for peer in clients.polite]
    assert min(rounds) >= 2000 // (POLITE + 1) - 1
    assert clients.net.pool.waiting <= POLITE + 1 - workers
    clients.net.check_accounts()
