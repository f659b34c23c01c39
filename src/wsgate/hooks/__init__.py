"""What may act before PHP: the user's own Python, and what comes with wsgate."""

from wsgate.hooks.connection import Cancellable, Connection
from wsgate.hooks.errors import HookFailed, HookTimeout, HookUnusable, MessageRefused, NoWord
from wsgate.hooks.hook import Answer, Close, Headers, Hook, OnConnect, OnMessage, Refuse, Said
from wsgate.hooks.message import Message, NotToBeAsked
from wsgate.hooks.plugin import IHookMaker
from wsgate.hooks.services import Services

__all__ = [
    "Answer",
    "Cancellable",
    "Close",
    "Connection",
    "Headers",
    "Hook",
    "HookFailed",
    "HookTimeout",
    "HookUnusable",
    "IHookMaker",
    "Message",
    "MessageRefused",
    "NoWord",
    "NotToBeAsked",
    "OnConnect",
    "OnMessage",
    "Refuse",
    "Said",
    "Services",
]
