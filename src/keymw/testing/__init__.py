"""What the tests of an app with keymw need: keys without keys, a service without a database.

With pytest, the same as fixtures; nothing has to be imported or configured for that.
"""

from __future__ import annotations

from keymw.testing.acting import acting_as, acting_as_user
from keymw.testing.asserting import assert_demands
from keymw.testing.clocks import MovableClock
from keymw.testing.outages import redis_down, store_down
from keymw.testing.services import async_memory_service, memory_service

__all__ = [
    "MovableClock",
    "acting_as",
    "acting_as_user",
    "assert_demands",
    "async_memory_service",
    "memory_service",
    "redis_down",
    "store_down",
]
