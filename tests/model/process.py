"""One process of the fleet: a real `Core` on ports that stop, and who acts in it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

from keymw import StoreUnavailable, flows
from keymw._step import run_now
from keymw.cache.codec import decode, decode_change
from keymw.cache.redis import RedisCache, awaited
from keymw.cache.stream import RedisStream
from keymw.core import Core
from keymw.errors import SharedCacheUnavailable
from keymw.tokens import digest as digest_of
from model.invariants import Stamp
from model.redis_model import LOST, REFUSED, Client, Unbroken
from model.scheduler import Step, content, stop_at

SIGNING_KEYS = (b"model" * 8,)
#: How an actor may end before its time.
CANCELLED, DIES = "cancelled", "dies"
#: The stop between two rounds of a follower.
_ROUND = "begins a round"

_decoded = lru_cache(maxsize=1000)(partial(decode, keys=SIGNING_KEYS))
_heard = lru_cache(maxsize=1000)(partial(decode_change, keys=SIGNING_KEYS))


class _Core(Core):
    """What a service does between its callers and the flows, single flight apart."""

    def _deps(self):
        return self.deps

    async def _join(self, key):
        entry = await flows.load(self.deps, key)
        await stop_at(self.process.step("goes on", writes={self.process.name}))
        return entry

    async def _lasting(self, change):
        return await change


@lru_cache(maxsize=8)
def _core(_):
    """Return a core to be begun anew with each schedule, for making one takes long."""
    return _Core("sqlite:///model.db", redis="redis://model")


class Process:
    """One process."""

    def __init__(self, world, name):
        self.name = name
        self.world = world
        self.core = core = _core(name)
        core.process, core._clock = self, self
        core._begin()
        shared = RedisCache(Client(world.redis, self), awaited, core.settings, Unbroken())
        shared.belong_to("model")
        core.deps = core._make_deps(Store(self), shared, self.pause)
        core.deps.signing_keys = SIGNING_KEYS
        self.stream = Stream(self)
        #: By actor, the change that it has made, and whether Redis has said that it is told.
        self.made = {}
        self.told = set()

    # The clock.

    def monotonic(self):
        return self.world.seconds

    def now(self):
        return self.world.now(self.name)

    async def pause(self, _):
        """Wait for a change of the values in Redis, or for time to pass: nothing else matters."""
        values, since = self.world.redis.state()[0], self.world.seconds

        def ready():
            return self.world.redis.state()[0] != values or self.world.seconds != since

        step = self.step("waits", reads={"values"}, writes={self.name})
        await stop_at(replace(step, ready=ready))

    # What the ports tell.

    def step(self, name, reads=(), writes=(), faults=()):
        return Step(name, frozenset({"clock", *reads}), frozenset(writes), faults)

    def answer(self, name):
        return self.step(f"{name}: answer", writes={self.name}, faults=(LOST,))

    def commits(self, invalidation):
        if invalidation.seq:
            self.made[self.world.turn] = self.world.invariants.committed(invalidation)

    def took_effect(self, name, reply, arguments):
        """Take note of what a script has done."""
        invariants = self.world.invariants
        if name == "publish":
            change = _heard(arguments[-2])
            invariants.published(change.entity, change.version)
            for value_name, (raw, _) in self.world.redis.values.items():
                if ":v:" in value_name and self._value(value_name, raw) is not None:
                    invariants.put(Stamp.parse(self._value(value_name, raw).record.label))
        elif name == "reserve" and reply == 1:
            invariants.reserved(self.world.turn)
        elif name == "fill" and reply == 1:
            invariants.put(Stamp.parse(self._value(arguments[0], arguments[3]).record.label))

    def learnt(self, name, value_name, reply, arguments=()):
        """Take note of an answer of Redis that has arrived."""
        invariants = self.world.invariants
        if name == "publish":
            self.told.add(self.world.turn)
        elif name == "fill" and reply == 0:
            invariants.overtaken(self.world.turn)
        elif isinstance(reply, bytes):
            value = self._value(value_name, reply)
            if value is not None:
                invariants.told(self.world.turn, value.record.entities)

    @staticmethod
    def _value(name, raw):
        return _decoded(raw, bytes.fromhex(name.rpartition(":")[2]))

    def died(self, actor):
        if actor in self.made:
            self.world.invariants.died(self.made[actor])

    def state(self):
        local = self.core._local
        held = (local._positives, local._negatives)
        return (
            *(frozenset((digest, content(cache[digest])) for digest in cache) for cache in held),
            frozenset(local._floors._versions.items()),
            (local._floors.since, local._floors.seen, local.generation),
            frozenset(local.fence._leases.items()),
            self.stream.cursor,
            frozenset(self.told),
        )

    # Who acts here.

    def look_up(self, name, token, times=1):
        """Have somebody send a key, so many times one after the other."""
        uses = {self.name, "values", "store", "clock"}
        return self.world.act(name, self, self._look_up(name, token, times), uses, CANCELLED)

    async def _look_up(self, name, token, times):
        invariants, digest = self.world.invariants, digest_of(token.encode())
        for _ in range(times):
            await stop_at(self.step("looks up", writes={self.name}))
            begun = invariants.begin(self.name, digest)
            invariants.ended(name, begun, await self.core._verify(token))

    def change(self, name, flow, *arguments, **options):
        """Have somebody change a key or a user: `flow` is one of `flows`."""
        uses = {self.name, "values", "stream", "store", "clock"}
        changing = partial(flow, self.core.deps, *arguments, **options)
        return self.world.act(name, self, self._change(name, changing), uses, DIES)

    async def _change(self, name, changing):
        try:
            told = await changing()
        except StoreUnavailable:  # nothing is claimed; but it may have been committed
            self.died(name)
            return
        acknowledged = name in self.told
        propagation = getattr(told, "propagation", told)
        if propagation is not None and propagation.acknowledged is not acknowledged:
            self.world.invariants.broken.append("a change says it is told though it is not")
        if name in self.made:
            self.world.invariants.returned(self.made[name], acknowledged)

    def listen(self, feed=0, stream=0):
        """Bring the process up to date, and have it listen for so many rounds more."""
        for actor in self.begin_to_listen(feed + 1, stream + 1):
            actor.go_on()
            while not actor.done and actor.step.name != _ROUND:
                actor.go_on()

    def begin_to_listen(self, feed=1, stream=1):
        """Have the process listen for so many rounds; returns its followers."""
        uses = {self.name, "clock", "store"}
        feeding = partial(flows.follow_feed, self.core.deps, Nap(self, feed))
        listening = partial(flows.follow_stream, self.core.deps, self.stream, Nap(self, stream))
        act = self.world.act
        return (
            act(f"{self.name}'s stream", self, self._follow(listening), {*uses, "stream"}),
            act(f"{self.name}'s feed", self, self._follow(feeding), uses),
        )

    @property
    def followers(self):
        """The actor that listens to the stream, and the one that looks into the feed."""
        return tuple(self.world.actors[f"{self.name}'s {what}"] for what in ("stream", "feed"))

    async def _follow(self, flow):
        await stop_at(self.step(_ROUND, writes={self.name}))
        await flow()


class Nap:
    """Lets a follower go on for some rounds."""

    def __init__(self, process, rounds):
        self._process = process
        self._left = rounds

    async def __call__(self, _):
        self._left -= 1
        if not self._left:
            return True
        await stop_at(self._process.step(_ROUND, writes={self._process.name}))
        return False

    def remembered(self):
        return self._left


class Store:
    """The `Store` port of one process, on the one store of the world."""

    def __init__(self, process):
        self._process = process
        self._world = process.world

    async def _ask(self, name, work, *, writes=()):
        process, memory = self._process, self._world.store
        step = process.step(name, reads={"store"}, writes=writes, faults=(REFUSED,) * bool(writes))
        if await stop_at(step):
            raise StoreUnavailable("refused")
        found = work(memory)
        if await stop_at(process.answer(name)):
            raise StoreUnavailable("lost")
        return found

    async def find(self, digest):
        def work(memory):
            record = run_now(memory.find(digest))
            if record is None:
                return None
            stamp = Stamp.of(record, self._world.seconds)
            self._world.invariants.read(self._world.turn, digest, stamp)
            return replace(record, label=str(stamp))

        record = await self._ask("find", work)
        self._world.invariants.told(self._world.turn, record.entities if record else ())
        return record

    async def feed(self, after, limit):
        position, changes = await self._ask(
            "feed", lambda memory: run_now(memory.feed(after, limit))
        )
        self._saw(*changes)
        return position, changes

    async def insert(self, *arguments):
        return await self._change(lambda memory: run_now(memory.insert(*arguments)))

    async def change(self, *arguments):
        return await self._change(lambda memory: run_now(memory.change(*arguments)))

    async def _change(self, work):
        def change(memory):
            changed = work(memory)
            self._process.commits(changed.invalidation)
            return changed

        changed = await self._ask("commit", change, writes={"store"})
        self._saw(changed.invalidation)
        return changed

    async def set_user(self, *arguments, **options):
        return await self._change(lambda memory: run_now(memory.set_user(*arguments, **options)))

    def _saw(self, *changes):
        entities = [(change.entity, change.version) for change in changes]
        self._world.invariants.saw(self._process.name, entities)


class Stream:
    """The `ChangeStream` port of one process."""

    def __init__(self, process):
        self._process = process
        self._real = RedisStream(process.world.redis, process.core.settings, Unbroken())
        self._real.belong_to("model")

    @property
    def cursor(self):
        return self._real._cursor

    async def read(self, timeout):  # noqa: ASYNC109
        process = self._process
        # A read changes nothing in Redis: it is lost as well before as after.
        if await stop_at(process.step("read", reads={"stream"}, faults=(LOST,))):
            raise SharedCacheUnavailable("lost")
        heard = run_now(self._real.read(timeout))
        await stop_at(replace(process.answer("read"), faults=()))
        changes = [change for change in map(_heard, heard.messages) if change is not None]
        entities = [(change.entity, change.version) for change in changes]
        process.world.invariants.saw(process.name, entities)
        return heard
