"""Ids that no other request or session has."""

import os
import time


def new_request_id() -> str:
    """Return an id for a request.

    It begins with the time, so that new ones stand side by side in the database's index, and a row
    does not change a page of its own there.
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{os.urandom(6).hex()}"


def new_session_id() -> str:
    """Return an id for a session: the time in Unix seconds, and a suffix that keeps it unique."""
    return f"session_{int(time.time())}_{os.urandom(3).hex()}"
