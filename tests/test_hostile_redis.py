"""Who can write to Redis can at worst make keymw slower: no good key refused, none kept alive."""

from __future__ import annotations

import contextlib
import threading
from hashlib import sha256
from time import monotonic

import pytest
import redis

from either import soon
from keymw import Granted, Reason, Settings
from keymw.cache import codec
from keymw.ports import Invalidation
from keymw.tokens import digest, generate

LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


@pytest.fixture
def raw(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def pair(services, migrated_url, redis_url):
    """Two services that listen."""
    settings = Settings(store_timeout=1.0)
    made = [services(migrated_url, redis=redis_url, settings=settings) for _ in range(2)]
    for service in made:
        await service.listening()
    return made


@pytest.fixture
async def names(pair):
    """What a database's things are called in Redis, which is no secret to who can read there."""
    oldest, *_ = await pair[0].deps.store.signing_keys()

    class Names:
        store = sha256(b"keymw names" + oldest).hexdigest()[:16]
        stream = f"keymw:{store}:changes"

        def value(self, token):
            return f"keymw:v:{self.store}:{digest(token.encode()).hex()}"

        def turn(self, token):
            return f"keymw:f:{self.store}:{digest(token.encode()).hex()}"

    return Names()


@contextlib.contextmanager
def again_and_again(url, attack):
    """Attack from a thread for as long as the test does something."""
    over, begun = threading.Event(), threading.Event()

    def run():
        with redis.Redis.from_url(url) as client:
            while not over.is_set():
                with contextlib.suppress(redis.ResponseError):
                    attack(client)
                begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def holds(pair):
    """See that good keys are good, cached or not, and that ended ones are refused in time.

    In the time of what Redis has not acknowledged: a stranger makes it forget what it has.
    """
    one, other = pair
    bound = one.service.settings.unacknowledged_bound
    kept, ended, owned = (
        await one.project_key(),
        await one.project_key(),
        await one.personal_key(user := f"user {monotonic()}"),
    )

    async def good(token, times=1):
        for _ in range(times):
            for service in pair:
                assert isinstance(await service.verify(token), Granted)

    async def is_refused(token, reason, within):
        """See that a key, which has been ended, is refused in both from this time on."""
        until = monotonic() + within
        assert await one.reason(token) is reason  # where it was done, at once

        async def elsewhere():
            return await other.reason(token) is reason

        await soon(elsewhere, within)
        assert monotonic() < until
        for service in pair:
            service.service._local.clear()
            assert await service.reason(token) is reason

    for token in (kept.token, ended.token, owned.token):
        await good(token, times=2)
    await one.revoke(ended.key.id)
    await is_refused(ended.token, Reason.REVOKED, bound)
    await good(owned.token)
    await one.deactivate_user(user)
    await is_refused(owned.token, Reason.OWNER_INACTIVE, bound)
    for _ in range(3):
        for service in pair:
            service.service._local.clear()
        await good(kept.token)
        assert await other.reason(ended.token) is Reason.REVOKED
        assert await other.reason(generate("phs_")) is Reason.INVALID


async def test_values_of_another_key(pair, raw, names):
    one, _ = pair
    strong, weak = await one.personal_key(scopes=["*"]), await one.project_key(["other:read"])
    unknown = generate("phs_")
    await one.verify(strong.token)
    for token in (weak.token, unknown):
        raw.set(names.value(token), raw.get(names.value(strong.token)))
    for service in pair:
        service.service._local.clear()
        before = service.service.stats().l2_hits
        assert await service.reason(unknown) is Reason.INVALID
        assert service.service.stats().l2_hits == before
        assert (await service.verify(weak.token)).principal.key_id == weak.key.id
    await holds(pair)


@pytest.mark.parametrize("ending", ["revoke", "roll", "narrow", "deactivate"])
async def test_old_values_after_a_change(
    services, migrated_url, redis_url, pair, raw, names, ending
):
    """What was signed once stays signed: a stranger puts it back, for as long as it may live."""
    one, other = pair
    issued = await one.personal_key(scopes=["endpoint:read", "endpoint:write"])
    await one.verify(issued.token)
    old = raw.get(names.value(issued.token))
    await {
        "revoke": lambda: one.revoke(issued.key.id),
        "roll": lambda: one.roll(issued.key.id),
        "narrow": lambda: one.update(issued.key.id, scopes=["endpoint:read"]),
        "deactivate": lambda: one.deactivate_user("ann"),
    }[ending]()

    async def is_heard():
        return other.service._local.progress[0] == await other.deps.store.position()

    await soon(is_heard)
    fresh = services(migrated_url, redis=redis_url)
    await fresh.listening()  # it has seen nothing of the old times itself
    for service in (one, other, fresh):
        for _ in range(3):
            raw.set(names.value(issued.token), old)
            service.service._local.clear()
            verdict = await service.verify(issued.token)
            assert getattr(verdict, "reason", None) is {
                "revoke": Reason.REVOKED,
                "roll": Reason.ROLLED,
                "deactivate": Reason.OWNER_INACTIVE,
            }.get(ending)
            if ending == "narrow":
                assert verdict.principal.scopes == {"endpoint:read"}


async def test_messages_that_are_forged_or_told_again(pair, redis_url, raw, names):
    one, _ = pair
    await one.deactivate_user("bob")
    await one.activate_user("bob")
    bobs = await one.personal_key("bob")
    told = [fields[b"m"] for _, fields in raw.xrange(names.stream)]
    forged = [
        codec.encode_change(Invalidation(entity, 2**62, seq), [b"k" * 32])
        for entity in ("user:bob", f"key:{bobs.key.id}")
        for seq in (0, 1, 2**62)
    ]
    rubbish = [b"", b"c1.", b"c1." + b"x" * 500, told[0][:-1], b"k2." + told[0][3:], b"\xff" * 9999]

    def attack(client):
        for message in [*reversed(told), *told, *forged, *rubbish]:
            client.xadd(names.stream, {"m": message}, maxlen=1000)

    attack(raw)
    await holds(pair)
    with again_and_again(redis_url, attack):
        await holds(pair)
        assert await one.reason(bobs.token) is None
    await holds(pair)


@pytest.mark.parametrize("times", ["once", "again and again"])
async def test_a_stream_to_which_nobody_can_append(pair, redis_url, raw, names, times):
    def attack(client):
        client.xadd(names.stream, {"m": "x"}, id=LAST_ID)

    if times == "once":
        attack(raw)
        await holds(pair)
    else:
        with again_and_again(redis_url, attack):
            await holds(pair)
    raw.delete(names.stream)
    await holds(pair)


@pytest.mark.parametrize("times", ["once", "again and again"])
async def test_something_else_in_the_place_of_the_stream(pair, redis_url, raw, names, times):
    def attack(client):
        client.set(names.stream, "x")

    if times == "once":
        attack(raw)
        await holds(pair)
    else:
        with again_and_again(redis_url, attack):
            await holds(pair)
    raw.delete(names.stream)
    await holds(pair)


async def test_messages_that_are_taken_out(pair, redis_url, names):
    def attack(client):
        client.xtrim(names.stream, maxlen=0, approximate=False)

    with again_and_again(redis_url, attack):
        await holds(pair)
    await holds(pair)


@pytest.mark.parametrize("turn", ["string", "list"])
async def test_turns_that_a_stranger_has_taken(pair, raw, names, turn):
    one, _ = pair
    issued = await one.project_key()
    (raw.set if turn == "string" else raw.rpush)(names.turn(issued.token), "stranger")
    for service in pair:
        begun = monotonic()
        assert isinstance(await service.verify(issued.token), Granted)
        assert monotonic() - begun < service.service.settings.patience
        assert service.service.stats().l2_hits == 0
    assert not raw.exists(names.value(issued.token))
    await one.revoke(issued.key.id)
    assert not raw.exists(names.turn(issued.token))
    for service in pair:
        service.service._local.clear()
        assert await service.reason(issued.token) is Reason.REVOKED
    await holds(pair)


async def test_turns_that_a_stranger_takes_away(pair, redis_url):
    """A fill is then always too late, and yet there is an answer."""

    def attack(client):
        for name in client.scan_iter("keymw:f:*"):
            client.set(name, "stranger", px=1)

    with again_and_again(redis_url, attack):
        await holds(pair)


async def test_everything_deleted_again_and_again(pair, redis_url):
    with again_and_again(redis_url, lambda client: client.flushall()):
        await holds(pair)
    await holds(pair)


async def test_values_of_other_types_and_sizes(pair, raw, names):
    one, _ = pair
    for spoil in (
        lambda name: raw.rpush(name, "x"),
        lambda name: raw.hset(name, "x", "y"),
        lambda name: raw.set(name, b"k2." + b"\xff" * 100_000),
    ):
        issued = await one.project_key()
        spoil(names.value(issued.token))
        assert await one.counted(one.verify(issued.token)) == {"store_reads": 1}
        one.service._local.clear()
        assert await one.counted(one.verify(issued.token)) == {"l2_hits": 1}  # and is mended
