"""Each guard matters: with it taken out, its schedule breaks a promise."""

from __future__ import annotations

import pytest

from keymw.cache import codec, fence, floors, local, stream
from keymw.core import Core
from keymw.flows import changes, following, lookup
from model import redis_model, schedules
from model.scheduler import Violation
from model.taking_out import take_out

pytestmark = pytest.mark.usefixtures("repeatable")

L1, Floors = local.LocalCache, floors.Floors

#: The function that has the guard, its text, what stands there without it, and the schedule.
GUARDS = {
    "a fill needs its token": (
        redis_model.fill,
        "redis.get(names[1]) != token",
        "False",
        schedules.a_fill_in_flight_while_the_revoke_happens,
    ),
    "a change takes the token away": (
        redis_model.publish,
        "names[1:]",
        "names[1:2]",
        schedules.a_fill_in_flight_while_the_revoke_happens,
    ),
    "a change takes the value away": (
        redis_model.publish,
        "names[1:]",
        "names[2:]",
        schedules.a_value_that_lies_in_redis_when_the_key_is_revoked,
    ),
    "what was refused as a fill is not used": (
        lookup._ask_store,
        "return entry if is_valid else None",
        "return entry",
        schedules.a_fill_rejected_whose_verdict_is_returned_anyway,
    ),
    "an older version is not admitted: an answer under way": (
        Floors.admit,
        "version < known and position < at",
        "False",
        schedules.an_answer_that_arrives_after_the_message,
    ),
    "an older version is not admitted: an old snapshot": (
        Floors.admit,
        "version < known and position < at",
        "False",
        schedules.redis_restarted_from_an_old_snapshot,
    ),
    "an answer from before all that is remembered is not admitted": (
        Floors.admit,
        "position < self.since",
        "False",
        schedules.an_answer_from_before_what_the_process_remembers,
    ),
    "who is too far behind forgets": (
        L1.catch_up,
        "if not complete:",
        "if False:",
        schedules.a_process_that_is_too_far_behind,
    ),
    "a verdict is looked at again before it is used": (
        Core._check_digest,
        "is_right = self._local.counts(entry, now)",
        "is_right = True",
        schedules.a_verdict_that_waits_for_its_caller,
    ),
    "the age of an answer runs from its question": (
        lookup._ask_store,
        "alone_until = observed +",
        "alone_until = deps.clock.monotonic() +",
        schedules.a_slow_answer_of_the_store,
    ),
    "what the store has said counts alone for a while only": (
        lookup._ask_store,
        "observed + deps.settings.stream_lease",
        "1e9",
        schedules.a_worker_without_redis,
    ),
    "an error prolongs no lease": (
        following.follow_stream,
        "pause = deps.settings.heartbeat",
        "deps.local.fence.extend(STREAM, sent + deps.settings.stream_lease)",
        schedules.the_subscribers_socket_dying_as_the_message_is_sent,
    ),
    "L1 is believed while the fence is up": (
        L1.get,
        "now < self.fence.until or now < entry.alone_until",
        "True",
        schedules.a_worker_stopped_and_continued,
    ),
    "the stream's lease runs from the question": (
        following.follow_stream,
        "sent + deps",
        "deps.clock.monotonic() + deps",
        schedules.a_worker_stopped_while_it_asks_redis,
    ),
    "the feed's lease runs from the question": (
        following.follow_feed,
        "sent + deps",
        "deps.clock.monotonic() + deps",
        schedules.a_worker_stopped_while_it_asks_the_store,
    ),
    "both leases must run": (
        fence.Fence.extend,
        "min(self",
        "max(self",
        schedules.a_half_open_connection,
    ),
    "the feed is looked into": (
        following.follow_feed,
        "await _catch_up(deps)",
        "pass",
        schedules.a_revoker_dying_between_commit_and_redis,
    ),
    "a gap is noticed": (
        following._apply,
        "complete = deps.local.invalidate(change) and complete",
        "deps.local.invalidate(change)",
        schedules.a_stream_trimmed_while_a_worker_slept,
    ),
    "a stream that went back is noticed": (
        stream.RedisStream._read,
        "_number(last) < _number(self._cursor)",
        "False",
        schedules.redis_restarted_empty_with_its_clock_set_back,
    ),
    "what a stream does not tell is asked for": (
        following.follow_stream,
        "not heard.complete or",
        "",
        schedules.redis_restarted_empty_with_its_clock_set_back,
    ),
    "a listener begins by asking the store": (
        following.follow_stream,
        "if behind:",
        "if not heard.complete and heard.messages:",
        schedules.a_process_that_begins_to_listen_while_a_key_is_revoked,
    ),
    "versions only grow": (
        Floors.raise_to,
        "return False",
        "pass",
        schedules.a_user_switched_off_on_and_off_with_the_events_reordered,
    ),
    "a roll without grace is over by every clock": (
        changes.roll,
        "now + grace if grace else _LONG_AGO",
        "now + grace",
        schedules.a_roll_without_grace_where_a_worker_is_behind,
    ),
    "a version is learnt from a grant": (
        L1.put_granted,
        "self._learn(entry.entities, entry.position)",
        "pass",
        schedules.an_old_secret_after_the_new_one_was_found_in_redis,
    ),
    "a version is learnt from a refusal": (
        lookup._ask_store,
        "deps.local.learn(record.entities, record.position)",
        "pass",
        schedules.an_old_secret_after_the_new_one_was_refused,
    ),
    "who changes a key believes it at once": (
        changes._tell,
        "deps.local.invalidate(invalidation)",
        "pass",
        schedules.a_request_after_the_revoke_in_the_same_process,
    ),
    "a change ends all refusals": (
        L1._apply,
        "self._negatives.clear()",
        "pass",
        schedules.create_after_a_negative_hit,
    ),
    "a refusal that a change has overtaken is not remembered": (
        L1.put_denied,
        "generation != self.generation",
        "False",
        schedules.create_while_a_refusal_is_under_way,
    ),
    "a hit in Redis does not make a value younger": (
        lookup._believe,
        "monotonic - max(age, 0.0)",
        "monotonic",
        schedules.an_l1_lifetime_restarted_by_every_l2_hit,
    ),
    "a value from the future counts for nothing": (
        lookup._believe,
        "age < -_CLOCK_SKEW",
        "False",
        schedules.the_wall_clock_stepping_back,
    ),
    "a value is bound to its key": (
        codec.decode,
        'fields["digest"] != digest.hex()',
        "False",
        schedules.a_pooled_connection_holding_a_stale_reply,
    ),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_without_its_guard_the_schedule_breaks_a_promise(monkeypatch, guard):
    *cut, schedule = GUARDS[guard]
    schedule()
    take_out(monkeypatch, *cut)
    with pytest.raises(Violation):
        schedule()
