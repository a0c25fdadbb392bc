"""What is tried: one line of data each. `faults.py` has the two halves of each fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos import changes, faults
from chaos.fleet import ASGI, WSGI

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

#: The moment of a fault that begins once the change has returned.
RETURNED = "returned"
_EVERYBODY = (*ASGI, *WSGI)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault, and when it happens to whom. All times are seconds."""

    name: str
    fault: Callable[[Any], AbstractContextManager[None]] = faults.nothing
    #: What ends keys meanwhile.
    change: changes.Change = changes.REVOKE
    #: Done once the keys are in use, before anything breaks.
    prepare: Callable[[Any], None] = lambda _: None
    #: When the fault begins, relative to the change's being asked for.
    moment: float | str = 0.0
    #: Between which two such moments the long form chooses; it tries `RETURNED` too. None to have
    #: the fault at the one moment only.
    moments: tuple[float, float] | None = (-0.5, 0.3)
    #: How long it lasts, if it does.
    lasts: float = 1.5
    #: The workers of which one is hit, where it is only one: in the short form, the first.
    targets: tuple[str, ...] = ()
    #: Whether the key is first used when the fault has begun, by the worker that is hit.
    cold: bool = False
    #: Whether connections to the worker that is hit may break.
    drops: bool = False
    #: Whether 503 may be answered: not where nothing but Redis is missing.
    outages: bool = False


def _hits(*first):
    """Return the workers in an order that has these first."""
    return (*first, *(name for name in _EVERYBODY if name not in first))


SCENARIOS = (
    Scenario(name="healthy", lasts=0),
    Scenario(name="roll without grace", change=changes.ROLL, lasts=0),
    Scenario(name="user deactivated", change=changes.DEACTIVATE, lasts=0),
    Scenario(name="revoker killed before Redis", change=changes.DIE, lasts=0),
    Scenario(name="streams killed by Redis", fault=faults.streams_killed, lasts=0),
    Scenario(name="streams cut as they speak", fault=faults.streams_cut, moment=-0.05, lasts=0.3),
    Scenario(
        name="ASGI worker stopped",
        fault=faults.worker_stopped,
        targets=ASGI,
        moment=-0.3,
        lasts=2.3,
    ),
    Scenario(
        name="WSGI worker stopped",
        fault=faults.worker_stopped,
        targets=WSGI,
        moment=-0.3,
        lasts=2.3,
    ),
    Scenario(name="Redis hangs", fault=faults.redis_hangs, moment=-0.2),
    Scenario(name="Redis shut down", fault=faults.redis_shut_down, moment=-0.2),
    Scenario(
        name="Redis killed, empty again", fault=faults.redis_killed, moment=RETURNED, lasts=0.2
    ),
    Scenario(
        name="Redis back from an old RDB",
        prepare=faults.save_redis,
        fault=faults.redis_reverted,
        moment=RETURNED,
        moments=None,
        lasts=0,
    ),
    Scenario(
        name="old RDB and a new process",
        prepare=faults.save_redis,
        fault=faults.reverted_and_forked,
        moment=RETURNED,
        moments=None,
        targets=WSGI,
        lasts=0,
        drops=True,
    ),
    Scenario(
        name="Redis out of one's reach",
        fault=faults.redis_cut,
        moment=-0.2,
        targets=_hits("wsgi-sync"),
    ),
    Scenario(
        name="Redis silent to one",
        fault=faults.redis_silent,
        moment=-0.2,
        targets=_hits("asgi-1"),
    ),
    Scenario(
        name="fill takes 2 s",
        fault=faults.replies_slow,
        outages=True,
        cold=True,
        moment=-0.5,
        moments=(-1.5, -0.1),
        lasts=2.5,
        targets=_hits("asgi-2"),
    ),
    Scenario(
        name="PostgreSQL restarted",
        fault=faults.postgres_crashed,
        outages=True,
        moment=-0.1,
        lasts=0.5,
    ),
    Scenario(
        name="PostgreSQL away for long",
        fault=faults.postgres_crashed,
        outages=True,
        moment=RETURNED,
        lasts=5.5,
    ),
    Scenario(
        name="PostgreSQL out of one's reach",
        fault=faults.postgres_cut,
        outages=True,
        moment=-0.2,
        targets=_hits("wsgi-threads"),
    ),
    Scenario(
        name="PostgreSQL silent to one",
        fault=faults.postgres_silent,
        outages=True,
        moment=-0.2,
        targets=_hits("asgi-1"),
    ),
    Scenario(
        name="one cut off from both",
        fault=faults.cut_off,
        outages=True,
        moment=-0.2,
        lasts=2.5,
        targets=_hits("asgi-2"),
    ),
    Scenario(
        name="gunicorn --preload forks",
        fault=faults.forked,
        targets=WSGI,
        moment=-1.5,
        moments=(-2.0, 0.3),
        lasts=0,
        drops=True,
    ),
)
