"""The schedules that break a naive cache, step by step, on the model.

Each is played to its end; what must hold (`invariants.py`) is looked after at every step. With its
guard taken out (`test_guards.py`), the same schedule breaks a promise.
"""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from keymw import Granted, flows
from keymw.cache import redis
from keymw.flows import following
from keymw.tokens import digest
from model.redis_model import CROSSED, LOST, REFUSED
from model.scenarios import NEXT, OTHER, PERSONAL, TOKEN, know, personal_key, project_key, put, warm
from model.world import HOUR, World

LATE, VERY_LATE = 1.05, 5.05  # just beyond the two bounds


def fleet(*names, feed=9, stream=9, key=True):
    """Return a world with a key and these processes, which are up to date and listen."""
    world = World()
    if key:
        put(world)
    processes = [world.process(name) for name in names]
    for process in processes:
        process.listen(feed, stream)
    return (world, *processes)


def lonely():
    """Return a world with a key and a process that has heard nothing yet: it asks the store."""
    world = World()
    world.invariants.check_reads = False
    put(world)
    return world, world.process("A")


def revoker(world):
    return world.process("R").change("revoker", flows.revoke, "k", None)


def hear(world, process):
    """Let a process listen for one round, and have its leases prolonged."""
    for actor in process.followers:
        world.go(actor)
        world.until(actor, "begins a round")


def look(process, token=TOKEN, name=None):
    """Have a process look a key up while nobody else moves."""
    world = process.world
    world.finish(process.look_up(name or f"look {len(world.actors)}", token))


def accepts(process, token=TOKEN):
    """Say whether a key is in L1 and counts."""
    found = process.core._local.get(digest(token.encode()), process.monotonic())
    return isinstance(found, Granted)


# ---- answers under way --------------------------------------------------------------------------


def a_fill_in_flight_while_the_revoke_happens():
    world, a = fleet("A")
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "fill")
    world.finish(revoker(world))
    world.finish(reader)
    look(a)


def a_value_that_lies_in_redis_when_the_key_is_revoked():
    world, a = fleet("A")
    warm(a)
    world.finish(revoker(world))


def a_fill_rejected_whose_verdict_is_returned_anyway():
    a_fill_in_flight_while_the_revoke_happens()


def an_answer_that_arrives_after_the_message():
    """Redis does not say that the answer is overtaken; the process knows it by itself."""
    world, a = fleet("A")
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "fill")
    world.finish(revoker(world))
    hear(world, a)
    world.until(reader, "fill: answer")
    world.go(reader, LOST)
    world.finish(reader)
    look(a)


@mock.patch.object(following, "FEED_WINDOW", 2)
def an_answer_from_before_what_the_process_remembers():
    """So much has changed meanwhile that the process knows the newest changes only."""
    world, a = fleet("A")
    for number in range(2):
        put(world, f"{OTHER}{number}", project_key(f"other {number}"))
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "fill")
    _change_untold(world, "k", "other 0", "other 1")
    hear(world, a)
    world.go(reader, REFUSED)
    world.finish(reader)
    world.jump(VERY_LATE)
    hear(world, a)
    look(a)


@mock.patch.object(following, "FEED_WINDOW", 2)
def a_process_that_is_too_far_behind():
    world, a = fleet("A")
    for number in range(2):
        put(world, f"{OTHER}{number}", project_key(f"other {number}"))
    warm(a)
    _change_untold(world, "k", "other 0", "other 1")
    hear(world, a)
    world.jump(VERY_LATE)
    hear(world, a)
    look(a)


def _change_untold(world, *key_ids):
    for number, key_id in enumerate(key_ids):
        actor = world.process("R").change(f"revoker {number}", flows.revoke, key_id, None)
        world.until(actor, "publish")
        world.go(actor, REFUSED)
        world.finish(actor)


def a_verdict_that_waits_for_its_caller():
    """A caller that was paused between the end of its lookup and its use of the verdict."""
    world, a = fleet("A")
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "goes on")
    world.finish(revoker(world))
    world.jump(LATE)
    world.finish(reader)


def a_slow_answer_of_the_store():
    """What counts is when the question was sent, not when the answer has arrived."""
    world, a = lonely()
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "find: answer")
    world.finish(revoker(world))
    world.jump(LATE)
    world.finish(reader)


# ---- listening ----------------------------------------------------------------------------------


def the_subscribers_socket_dying_as_the_message_is_sent():
    world, a = fleet("A")
    warm(a)
    world.finish(revoker(world))
    world.jump(LATE)
    stream, _ = a.followers
    world.until(stream, "read")
    world.go(stream, LOST)
    look(a)


def a_worker_stopped_and_continued():
    world, a = fleet("A")
    warm(a)
    assert accepts(a)
    world.finish(revoker(world))
    world.jump(LATE)
    look(a)


def a_worker_stopped_while_it_asks_redis():
    """Redis was silent when it was asked, and that was long ago."""
    world, a = fleet("A")
    warm(a)
    stream, _ = a.followers
    world.until(stream, "read: answer")
    world.finish(revoker(world))
    world.jump(LATE)
    world.until(stream, "begins a round")
    look(a)


def a_worker_stopped_while_it_asks_the_store():
    world, a = fleet("A")
    warm(a)
    _, feed = a.followers
    world.until(feed, "feed: answer")
    _change_untold(world, "k")
    world.jump(VERY_LATE)
    world.until(feed, "begins a round")
    stream, _ = a.followers
    world.go(stream)
    world.until(stream, "begins a round")
    look(a)


def a_half_open_connection():
    """Redis is never heard again, and does not say so; the store is."""
    world, a = fleet("A")
    warm(a)
    world.until(a.followers[0], "read")
    world.finish(revoker(world))
    world.jump(LATE)
    look(a)


def a_worker_without_redis():
    """It has never heard anything; what the store has said counts for a while only."""
    world, a = lonely()
    warm(a)
    assert accepts(a)
    world.finish(revoker(world))
    world.jump(LATE)
    look(a)


def a_revoker_dying_between_commit_and_redis():
    world, a = fleet("A")
    warm(a)
    dying = revoker(world)
    world.until(dying, "publish")
    dying.die()
    world.process("R").died("revoker")
    hear(world, a)
    world.jump(VERY_LATE)
    hear(world, a)
    look(a)


@mock.patch.object(redis, "_STREAM_LENGTH", 1)
def a_stream_trimmed_while_a_worker_slept():
    world, a = fleet("A")
    put(world, OTHER, project_key("other"))
    hear(world, a)
    warm(a)
    world.finish(revoker(world))
    world.finish(world.process("R").change("another", flows.revoke, "other", None))
    stream, _ = a.followers
    world.jump(0.95)
    world.until(stream, "read")
    world.go(stream)
    world.until(stream, "begins a round")
    world.jump(0.1)
    world.jump(0.01)
    look(a)


def redis_restarted_empty_with_its_clock_set_back():
    """What is told from now on has lower numbers than what was heard."""
    world, a = fleet("A")
    put(world, OTHER, project_key("other"))
    world.finish(world.process("R").change("another", flows.revoke, "other", None))
    hear(world, a)
    warm(a)
    world.redis.restore()
    world.redis.behind = HOUR
    world.finish(revoker(world))
    _late_but_listening(world, a)


def _late_but_listening(world, process):
    """Let the stream be heard, and the bound of what it told pass, but not the feed's lease."""
    stream, _ = process.followers
    for seconds in (0.0, 0.5, 0.6):
        world.jump(seconds)
        world.go(stream)
        world.until(stream, "begins a round")
    look(process)


def redis_restarted_from_an_old_snapshot():
    """The value of the revoked key is there again."""
    world, a = fleet("A")
    warm(a)
    snapshot = world.redis.snapshot()
    world.finish(revoker(world))
    hear(world, a)
    world.redis.restore(snapshot)
    world.invariants.redis_lost()
    look(a)


def a_process_that_begins_to_listen_while_a_key_is_revoked():
    """What was told before it took its stand in the stream, it has to ask the store for."""
    world, a = lonely()
    stream, feed = a.begin_to_listen(feed=1, stream=3)
    world.finish(feed)
    warm(a)
    world.finish(revoker(world))
    for seconds in (0.0, 0.5, 0.6):
        world.jump(seconds)
        world.go(stream)
        if seconds != 0.6:
            world.until(stream, "begins a round")
    world.finish(stream)
    look(a)


# ---- versions -----------------------------------------------------------------------------------


def a_user_switched_off_on_and_off_with_the_events_reordered():
    world, a = fleet("A", key=False)
    put(world, PERSONAL, personal_key())
    off, on, again = (
        world.process(name).change(name, flow, "u", None)
        for name, flow in (
            ("off", flows.deactivate_user),
            ("on", flows.activate_user),
            ("off again", flows.deactivate_user),
        )
    )
    world.until(off, "publish")
    world.until(on, "publish")
    hear(world, a)  # from the feed
    reader = a.look_up("reader", PERSONAL)
    world.until(reader, "fill")
    world.finish(again)
    hear(world, a)
    world.finish(on, off)
    hear(world, a)
    world.until(reader, "fill: answer")
    world.go(reader, LOST)
    world.finish(reader)
    look(a, PERSONAL)


def a_user_switched_off_and_on_with_the_events_reordered():
    world, a = fleet("A", key=False)
    put(world, PERSONAL, personal_key())
    warm(a, PERSONAL)
    off = world.process("R").change("off", flows.deactivate_user, "u", None)
    world.until(off, "publish")
    world.finish(world.process("S").change("on", flows.activate_user, "u", None))
    hear(world, a)
    look(a, PERSONAL)
    world.finish(off)
    hear(world, a)
    look(a, PERSONAL)
    assert accepts(a, PERSONAL)


def an_old_secret_after_the_new_one_was_seen():
    """The message about the roll has not arrived yet."""
    world, a = fleet("A")
    know(world, NEXT)
    warm(a)
    world.finish(
        world.process("R").change("roller", flows.roll, "k", timedelta(hours=1), None, None)
    )
    look(a, NEXT)
    look(a)


def an_old_secret_after_the_new_one_was_found_in_redis():
    world, a, b = fleet("A", "B")
    know(world, NEXT)
    warm(a)
    world.finish(
        world.process("R").change("roller", flows.roll, "k", timedelta(hours=1), None, None)
    )
    hear(world, b)
    look(b, NEXT)
    look(a, NEXT)
    look(a)


def an_old_secret_while_the_new_one_is_being_filled():
    world, a = fleet("A")
    know(world, NEXT)
    warm(a)
    world.finish(
        world.process("R").change("roller", flows.roll, "k", timedelta(hours=1), None, None)
    )
    reader = a.look_up("reader", NEXT)
    world.until(reader, "fill")
    look(a)
    world.finish(reader)


def an_old_secret_after_the_new_one_was_refused():
    world, a = fleet("A")
    know(world, NEXT)
    roller = world.process("R").change("roller", flows.roll, "k", timedelta(hours=1), None, None)
    world.finish(roller)
    hear(world, a)
    warm(a)
    world.finish(revoker(world))
    look(a, NEXT)
    look(a)


def a_request_after_the_revoke_in_the_same_process():
    world, a = fleet("A")
    warm(a)
    world.finish(a.change("revoker", flows.revoke, "k", None))
    look(a)


# ---- refusals -----------------------------------------------------------------------------------


def create_after_a_negative_hit():
    world, a = fleet("A", key=False)
    know(world, TOKEN)
    warm(a)
    world.finish(_importer(world))
    _late_but_listening(world, a)
    assert accepts(a)


def create_while_a_refusal_is_under_way():
    world, a = fleet("A", key=False)
    know(world, TOKEN)
    reader = a.look_up("reader", TOKEN)
    world.until(reader, "find: answer")
    world.finish(_importer(world))
    hear(world, a)
    world.finish(reader)
    _late_but_listening(world, a)


def _importer(world):
    key = project_key()
    adopt = (flows.adopt, key, digest(TOKEN.encode()), key.scopes, None)
    return world.process("R").change("importer", *adopt)


# ---- ages and clocks ----------------------------------------------------------------------------


def an_l1_lifetime_restarted_by_every_l2_hit():
    world, a, b = fleet("A", "B")
    warm(a)
    world.jump(20)
    hear(world, b)
    look(b)
    world.jump(15)
    hear(world, b)
    look(b)


def the_wall_clock_stepping_back():
    world, a, b = fleet("A", "B")
    warm(a)
    world.jump(20)
    hear(world, b)
    world.steps_back["B"] = HOUR
    look(b)
    world.jump(15)
    hear(world, b)
    look(b)


def a_roll_without_grace_where_a_worker_is_behind():
    """The clock of the worker says that the roll is still to come."""
    world, a = fleet("A")
    know(world, NEXT)
    warm(a)
    world.steps_back["A"] = HOUR
    world.finish(world.process("R").change("roller", flows.roll, "k", timedelta(0), None, None))
    hear(world, a)
    world.jump(LATE)
    hear(world, a)
    look(a)


# ---- connections --------------------------------------------------------------------------------


def a_pooled_connection_holding_a_stale_reply():
    """Redis answers what was asked before, by somebody else."""
    world, a, b = fleet("A", "B")
    put(world, OTHER, project_key("other"))
    warm(a, OTHER)
    reader = b.look_up("reader", TOKEN)
    world.until(reader, "get")
    world.go(reader, CROSSED)
    world.finish(reader)
