"""The threads that listen for changes, for all of a service in one process, whichever its face.

Threads, and not tasks of an event loop, because a loop that is busy must not look like an outage,
and because there may be many loops, or none.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from keymw._step import run_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

log = logging.getLogger("keymw")

#: Seconds until a follower that has failed begins anew.
_PAUSE = 1.0
#: Seconds until one that has not ended yet is interrupted once more.
_AGAIN = 0.1


@dataclass(frozen=True)
class Follower:
    """A flow that runs until it is told to stop, and what it holds."""

    name: str
    #: Called with the nap that the flow takes after each try.
    follow: Callable[[Callable[[float], Awaitable[bool]]], Coroutine[Any, Any, None]]
    #: Ends a wait; called from another thread, perhaps more than once.
    interrupt: Callable[[], object]
    #: Gives back what the flow holds, once it has ended.
    close: Callable[[], object]


class Watch:
    """Followers at work, each in a daemon thread of its own."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers
        self._stopping = threading.Event()
        self._tried = [threading.Event() for _ in followers]
        self._threads = [
            threading.Thread(target=self._run, args=pair, name=pair[0].name, daemon=True)
            for pair in zip(followers, self._tried, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, follower: Follower, tried: threading.Event) -> None:
        async def nap(seconds: float) -> bool:
            tried.set()
            return self._stopping.wait(seconds) if seconds else self._stopping.is_set()

        try:
            while not self._stopping.is_set():
                try:
                    run_now(follower.follow(nap))
                except Exception:
                    # A defect. The lease runs out, so nothing is believed for long; but say so.
                    log.exception("keymw: listening for changes failed and begins anew.")
                    tried.set()
                    self._stopping.wait(_PAUSE)
        finally:
            tried.set()  # nobody need wait for one that was stopped before it had begun
            follower.close()

    @property
    def has_tried(self) -> bool:
        """Whether each follower has asked once, and been answered or not."""
        return all(tried.is_set() for tried in self._tried)

    def wait(self, seconds: float) -> None:
        """Wait until each follower has asked once: before that, no cache can be believed."""
        _each_within(seconds, [tried.wait for tried in self._tried])

    def stop(self) -> None:
        """Tell the followers to stop, without waiting for them."""
        self._stopping.set()
        for follower in self._followers:
            follower.interrupt()

    def join(self, seconds: float) -> None:
        """Wait for the followers to end, but for no longer than this."""
        pairs = zip(self._followers, self._threads, strict=True)
        _each_within(seconds, [partial(_end, *pair) for pair in pairs])


def _end(follower: Follower, thread: threading.Thread, seconds: float) -> None:
    until = monotonic() + seconds
    while thread.is_alive() and (left := until - monotonic()) > 0:
        thread.join(min(left, _AGAIN))
        if thread.is_alive():  # it may have begun to wait just after it was interrupted
            follower.interrupt()


def _each_within(seconds: float, waits: Sequence[Callable[[float], object]]) -> None:
    until = monotonic() + seconds
    for wait in waits:
        wait(max(until - monotonic(), 0.0))
