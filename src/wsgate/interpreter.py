"""Whether this process can start Python once more: as another user it may not be able to."""

from __future__ import annotations

import os
import sys


def why_no_python(*files: str) -> str:
    """Why Python cannot be started, with programs in `files`; empty if it can.

    After twistd's `--uid` the Python of this very process may lie where its new user may not go,
    in root's home for example. Each start would fail, again and again.
    """
    needed = {sys.executable: os.X_OK} | dict.fromkeys(files, os.R_OK)
    for path, mode in needed.items():
        if not os.access(path, mode, effective_ids=True):
            return (
                f"user {os.geteuid()} (twistd's --uid) may not use {path}, which wsgate has to run "
                "once more; install Python and wsgate where that user may read them"
            )
    return ""
