"""Who is connected, on disk: so that PHP hears of every client that left, whatever ends wsgate.

One file for each process, in a folder that several may share. A file is its process's as long as
that holds the lock beside it; those of the dead are taken over by the living.
"""

from wsgate.journal.entry import Entry
from wsgate.journal.files import (
    JournalError,
    JournalFile,
    check_folder,
    default_folder,
    prepare_folder,
)
from wsgate.journal.store import Store
from wsgate.journal.sweep import sweep
from wsgate.journal.writing import Journal

__all__ = [
    "Entry",
    "Journal",
    "JournalError",
    "JournalFile",
    "Store",
    "check_folder",
    "default_folder",
    "prepare_folder",
    "sweep",
]
