"""What happens in the schedules that are searched: who looks up, who changes, who listens.

Each scenario is a function that fills a world. `SHORT` says with which faults it is searched in the
tests, `LONG` with which others by `make model`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

from keymw import KeyKind, flows
from keymw._step import run_now
from keymw.model import Key
from keymw.tokens import digest, generate
from model.world import EPOCH, Faults, World, token_of

TOKEN, OTHER = generate("phs_"), generate("phs_")
PERSONAL = generate("pha_")
#: The secret that `rolls` makes.
NEXT = token_of("roller")


def project_key(key_id="k", **fields):
    return Key(
        id=key_id,
        kind=KeyKind.PROJECT_SECRET,
        label=key_id,
        mask="phs_...",
        scopes=frozenset({"endpoint:read", "endpoint:write"}),
        version=1,
        created_at=EPOCH,
        project_id="2",
        **fields,
    )


def personal_key():
    key = project_key("p")
    return Key(
        **{
            **{name: getattr(key, name) for name in ("id", "label", "mask", "scopes", "version")},
            "kind": KeyKind.PERSONAL,
            "created_at": EPOCH,
            "user_id": "u",
        }
    )


def put(world, token=TOKEN, key=None):
    """Store a key before anything else happens."""
    run_now(world.store.insert(key or project_key(), digest(token.encode()), "issued", None))
    know(world, token)


def know(world, *tokens):
    for token in tokens:
        world.invariants.knows(digest(token.encode()))


def warm(process, token=TOKEN):
    """Have a process look a key up, before anything else happens."""
    process.world.turn = "warm"
    process.world.at_once(process._look_up("warm", token, 1))


def listening(world, *names, feed=0, stream=0):
    """Return processes that are up to date, and go on listening for some rounds."""
    processes = [world.process(name) for name in names]
    for process in processes:
        process.listen(feed, stream)
    return processes


# Scenarios.


def cold(world):
    """Two processes want the same key at once, and nobody changes it."""
    put(world)
    a, b = listening(world, "A", "B")
    a.look_up("a", TOKEN)
    b.look_up("b", TOKEN, 2)


def revoked_while_read(world):
    """Two processes read a key that is revoked meanwhile."""
    put(world)
    a, b = listening(world, "A", "B")
    a.look_up("a", TOKEN, 2)
    b.look_up("b", TOKEN)
    world.process("R").change("revoker", flows.revoke, "k", None)


def revoked_while_cached(world):
    """A process that has the key in L1 hears of its end."""
    put(world)
    (a,) = listening(world, "A", stream=1)
    warm(a)
    a.look_up("a", TOKEN, 2)
    world.process("R").change("revoker", flows.revoke, "k", None)


def revoked_in_both_caches(world):
    """A process has the key in L1, another one finds it in Redis; both listen."""
    put(world)
    a, b = listening(world, "A", "B", stream=1)
    warm(a)
    a.look_up("a", TOKEN)
    b.look_up("b", TOKEN)
    world.process("R").change("revoker", flows.revoke, "k", None)


def revoked_unheard(world):
    """Both ways of hearing of a change are at work."""
    put(world)
    (a,) = listening(world, "A", feed=1, stream=1)
    warm(a)
    a.look_up("a", TOKEN, 2)
    world.process("R").change("revoker", flows.revoke, "k", None)


def revoked_here(world):
    """The process that revokes looks the key up itself, and is just reading it."""
    put(world)
    a, b = listening(world, "A", "B")
    a.look_up("a", TOKEN, 2)
    b.look_up("b", TOKEN)
    a.change("revoker", flows.revoke, "k", None)


def begun_while_revoked(world):
    """A process begins to listen, and to look the key up, while it is revoked."""
    put(world)
    world.invariants.check_reads = False  # until it listens, it asks the store itself
    (b,) = listening(world, "B")
    warm(b)
    a = world.process("A")
    a.begin_to_listen(feed=1, stream=1)
    a.look_up("a", TOKEN)
    world.process("R").change("revoker", flows.revoke, "k", None)


def updated(world):
    """A key gets fewer scopes."""
    put(world)
    a, b = listening(world, "A", "B", stream=0)
    a.look_up("a", TOKEN, 2)
    b.look_up("b", TOKEN)
    world.process("R").change(
        "updater", flows.update, "k", None, ["endpoint:read"], ..., None, None
    )


def rolled(world):
    """A key gets a new secret, while both secrets are used; the old one works for a while."""
    put(world)
    know(world, NEXT)
    (a,) = listening(world, "A", stream=1)
    warm(a)
    a.look_up("old", TOKEN)
    a.look_up("new", NEXT)
    world.process("R").change("roller", flows.roll, "k", timedelta(seconds=5), None, None)


def switched(world):
    """A user is deactivated by one process and activated by another, while a third looks up."""
    put(world, PERSONAL, personal_key())
    (a,) = listening(world, "A")
    a.look_up("a", PERSONAL, 2)
    world.process("R").change("off", flows.deactivate_user, "u", None)
    world.process("S").change("on", flows.activate_user, "u", None)


def activated(world):
    """A user who was off is activated, while two requests of theirs are being checked."""
    run_now(world.store.set_user("u", active=False, at=EPOCH, actor=None))
    put(world, PERSONAL, personal_key())
    (a,) = listening(world, "A")
    a.look_up("a1", PERSONAL, 2)
    a.look_up("a2", PERSONAL)
    world.process("R").change("on", flows.activate_user, "u", None)


def imported(world):
    """A key is imported that a process has refused before."""
    know(world, TOKEN)
    (a,) = listening(world, "A", stream=1)
    warm(a)
    a.look_up("a1", TOKEN, 2)
    a.look_up("a2", TOKEN)
    key = project_key()
    secret = digest(TOKEN.encode())
    world.process("R").change("importer", flows.adopt, key, secret, key.scopes, None)


def expiring(world):
    """A key ends by itself."""
    put(world, key=project_key(expires_at=world.now() + timedelta(seconds=1)))
    a, b = listening(world, "A", "B", stream=0)
    warm(a)
    a.look_up("a", TOKEN, 2)
    b.look_up("b", TOKEN, 2)


def everything(world):
    """Two processes, both with lookups and listening, and three changes; only to be sampled."""
    put(world)
    put(world, PERSONAL, personal_key())
    know(world, NEXT)
    a, b = listening(world, "A", "B", feed=2, stream=3)
    warm(a)
    for process in (a, b):
        process.look_up(f"{process.name} 1", TOKEN, 3)
        process.look_up(f"{process.name} 2", PERSONAL, 3)
        process.look_up(f"{process.name} 3", NEXT, 2)
    b.change("off", flows.deactivate_user, "u", None)
    world.process("R").change("roller", flows.roll, "k", timedelta(seconds=3), None, None)
    world.process("S").change("on", flows.activate_user, "u", None)
    a.change("updater", flows.update, "p", None, ["endpoint:read"], ..., None, None)


@dataclass(frozen=True)
class Search:
    """A scenario, and what may go wrong in it."""

    scenario: object
    faults: Faults

    def world(self):
        world = World(self.faults)
        self.scenario(world)
        world.begin()
        return world

    def __str__(self):
        """Name the scenario and what is not as usual in its faults."""
        parts = [self.scenario.__name__]
        for each in fields(Faults):
            value = getattr(self.faults, each.name)
            if value != each.default:
                parts.append(f"{each.name}={value}")
        return " ".join(parts)


def _search(scenario, **faults):
    return Search(scenario, Faults(**faults))


_LATE, _VERY_LATE = {"lengths": (1.05,)}, {"lengths": (5.05,)}
_ALL = {"redis": True, "ends": True}

#: Searched in the tests.
SHORT = (
    _search(cold, most=1, **_ALL),
    _search(cold, jumps=1, **_LATE),
    _search(revoked_while_read, most=1),
    _search(revoked_while_cached, most=1, **_ALL),
    _search(revoked_while_cached, jumps=1),
    _search(revoked_in_both_caches),
    _search(revoked_unheard, most=1),
    _search(revoked_here),
    _search(begun_while_revoked),
    _search(updated),
    _search(rolled),
    _search(switched, most=1),
    _search(imported, most=1),
    _search(expiring, most=1, jumps=1),
)

#: Searched by `make model` as well.
LONG = (
    _search(cold, most=2, **_ALL),
    _search(cold, most=1, jumps=1, **_ALL),
    _search(revoked_while_read, most=2),
    _search(revoked_while_read, most=1, **_ALL),
    _search(revoked_while_read, jumps=1),
    _search(revoked_while_cached, most=2, **_ALL),
    _search(revoked_while_cached, most=1, jumps=1, **_LATE, **_ALL),
    _search(revoked_while_cached, most=1, jumps=1, **_VERY_LATE, **_ALL),
    _search(revoked_while_cached, most=1, clocks=True, jumps=1, **_LATE),
    _search(revoked_in_both_caches, most=1, **_ALL),
    _search(revoked_in_both_caches, jumps=1, **_LATE),
    _search(revoked_unheard, most=2),
    _search(revoked_unheard, most=1, **_ALL),
    _search(revoked_unheard, jumps=1, **_LATE),
    _search(revoked_unheard, jumps=1, **_VERY_LATE),
    _search(revoked_here, most=1),
    _search(revoked_here, jumps=1, **_LATE),
    _search(begun_while_revoked, most=1),
    _search(begun_while_revoked, jumps=1, **_LATE),
    _search(updated, most=1, **_ALL),
    _search(updated, jumps=1, **_LATE),
    _search(rolled, most=1),
    _search(rolled, jumps=1, **_LATE),
    _search(switched, most=1, **_ALL),
    _search(switched, jumps=1, **_LATE),
    _search(imported, most=1, **_ALL),
    _search(expiring, most=2, jumps=2),
)
