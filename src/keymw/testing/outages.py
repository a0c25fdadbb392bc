"""Switches: what a service in memory has instead of a database or a Redis stops to answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.testing.services import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keymw.aio import AsyncKeyService
    from keymw.service import KeyService
    from keymw.testing.services import AsyncMemoryKeyService, MemoryKeyService


@contextmanager
def store_down(keys: KeyService | AsyncKeyService) -> Iterator[None]:
    """Have the database of a service in memory fail, until the block ends.

    What becomes of requests is the real thing: keys in the cache go on to be accepted until the
    lease ends (`Settings.unacknowledged_bound`; move the service's clock), all others are answered
    503, and the service logs the outage.

    Raises:
        InvalidInput: the service is none of `memory_service` or `async_memory_service`.
    """
    service = in_memory(keys)
    service.backends.store_is_down = True
    _let_run_out(service, "store", service.settings.feed_lease)
    try:
        yield
    finally:
        service.backends.store_is_down = False
        _let_run_out(service, "store", None)


@contextmanager
def redis_down(keys: KeyService | AsyncKeyService) -> Iterator[None]:
    """Have the Redis of a service in memory fail, until the block ends.

    Nobody is refused by that: the service goes on without Redis, asks its database once a second
    for each key in use, says so in its log, and acknowledges no change (`Propagation`).

    Raises:
        InvalidInput: the service was made without `redis=True`, or is none of `memory_service` or
            `async_memory_service`.
    """
    service = in_memory(keys)
    redis = service.backends.redis
    if redis is None:
        raise InvalidInput("keys", "it has no Redis to be down: make it with redis=True.")
    redis.is_down = True
    _let_run_out(service, "redis", service.settings.stream_lease)
    try:
        yield
    finally:
        redis.is_down = False
        _let_run_out(service, "redis", None)


def _let_run_out(
    service: MemoryKeyService | AsyncMemoryKeyService, source: str, lease: float | None
) -> None:
    """Have a lease that was got just now be the last one; None is to get them again."""
    now = service._clock.monotonic()  # noqa: SLF001 - it is given to the service for that
    until = service.backends.lease(source, None if lease is None else now + lease)
    service._local.fence.until = until  # noqa: SLF001
