"""The threads that listen for changes, for all of a service in one process, whichever its face.

Threads, and not tasks of an event loop, because a loop that is busy must not look like an outage,
and because there may be many loops, or none.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
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


class _Stop:
    """Tells one thread to stop.

    Unlike those of an `Event`, its methods may be interrupted by the garbage collector, which may
    end a service in the very thread that is to stop.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        self._queue.put(None)

    def wait(self, seconds: float) -> bool:
        if seconds and not self.is_set:
            with contextlib.suppress(Empty):
                self._queue.get(timeout=seconds)
        return self.is_set


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
        self._stops = [_Stop() for _ in followers]
        self._tried = [threading.Event() for _ in followers]
        self._threads = [
            threading.Thread(target=_run, args=given, name=given[0].name, daemon=True)
            for given in zip(followers, self._stops, self._tried, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def has_tried(self) -> bool:
        """Whether each follower has asked once, and been answered or not."""
        return all(tried.is_set() for tried in self._tried)

    def wait(self, seconds: float) -> None:
        """Wait until each follower has asked once: before that, no cache can be believed."""
        _each_within(seconds, [tried.wait for tried in self._tried])

    def stop(self) -> None:
        """Tell the followers to stop, without waiting for them."""
        for stop, follower in zip(self._stops, self._followers, strict=True):
            stop.set()
            follower.interrupt()

    @property
    def has_ended(self) -> bool:
        """Whether no follower is at work any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float) -> None:
        """Wait for the followers to end, but for no longer than this."""
        pairs = zip(self._followers, self._threads, strict=True)
        _each_within(seconds, [partial(_end, *pair) for pair in pairs])


def _run(follower: Follower, stop: _Stop, tried: threading.Event) -> None:
    async def nap(seconds: float) -> bool:
        tried.set()
        return stop.wait(seconds)

    try:
        while not stop.is_set:
            try:
                run_now(follower.follow(nap))
            except Exception:
                # A defect. The lease runs out, so nothing is believed for long; but say so.
                log.exception("keymw: listening for changes failed and begins anew.")
                tried.set()
                stop.wait(_PAUSE)
    finally:
        tried.set()  # nobody need wait for one that was stopped before it had begun
        follower.close()


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
