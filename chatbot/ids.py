"""Ids that no other request or session has."""

import os
import random
import time

_random_bits = random.Random().getrandbits  # noqa: S311 - unique, not secret; a tenth of urandom's time


def new_request_id() -> str:
    """Return an id for a request.

    It begins with the time, so that new ones stand side by side in the database's index, and a row
    does not change a page of its own there.
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{_random_bits(48):012x}"


def new_session_id() -> str:
    """Return an id for a session: the time in Unix seconds, and a suffix that keeps it unique."""
    return f"session_{int(time.time())}_{os.urandom(3).hex()}"
