"""Tries one scenario once: keys in use, a change and a fault, and then a look at all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import inf

from chaos import faults
from chaos.judgement import HUNG, Observed, accepted_at, judge
from chaos.processes import PATIENCE
from chaos.scenarios import RETURNED
from conftest import eventually
from keymw import Settings
from keymw.tokens import digest

#: Seconds of watching beyond the bound, before anything else is changed that would help.
_MARGIN = 0.3
#: Seconds for which all workers must have accepted all good keys and no ended one.
_STEADY = 0.5
#: Seconds after which a fleet is given up that does not come to that.
_HOPELESS = 40.0
#: How often each worker must have accepted a key for it to be in use.
_IN_USE = 4


def _until(moment):
    threading.Event().wait(max(moment - time.monotonic(), 0.0))


class Trial:
    """One try of a scenario. Faults are given it as their stage."""

    def __init__(self, fleet, traffic, scenario, *, hit=None, moment=None):
        self.fleet = fleet
        self._traffic = traffic
        self._scenario = scenario
        hit = hit or next(iter(scenario.targets), None)
        #: The worker that is hit, where it is only one.
        self.target = fleet.workers.get(hit)
        self._moment = scenario.moment if moment is None else moment
        #: The keys that end in this trial, and their tokens.
        self.keys = []
        self.ending = []

    def run(self):
        """Return what came of it."""
        starts = {name: worker.log.stat().st_size for name, worker in self.fleet.workers.items()}
        try:
            return self._run(starts)
        except Exception as error:
            error.add_note(f"The workers have said: {self._said(starts)}")
            raise

    def _run(self, logs):
        fleet, traffic = self.fleet, self._traffic
        traffic.stop("good")
        traffic.send("good", [key["token"] for key in fleet.good])
        self.keys, self._change = self._scenario.change.prepare(fleet)
        self.ending = [key["token"] for key in self.keys]
        cold = [fleet.issue("cold")["token"] for _ in range(2)]
        if not self._scenario.cold:
            self.put_in_use()
        self._scenario.prepare(self)
        began, counters = time.monotonic(), fleet.counters()
        hit = [self.target.name] if self.target else []
        # In no cache yet: an outage may be said of them, but no refusal.
        traffic.send("good", cold, *hit)
        ended = self._clash()
        self._put_to_use()
        traffic.send("good", filter(None, [ended.successor]))
        bound = ended.bound if ended.bound is not None else Settings().unacknowledged_bound
        _until(ended.at + bound + _MARGIN)
        recovered = self._welcome_newcomers() and self._settle(began)
        trouble = [] if recovered else [f"not recovered after {_HOPELESS:g} s"]
        answers = traffic.since(began)
        if self._scenario.cold and not _any_hung(answers, *hit, ended.at):
            trouble.append("no fill was under way when the key ended")
        return judge(
            Observed(
                scenario=self._scenario.name,
                hit="".join(hit),
                workers=tuple(fleet.workers),
                ended=ended.at,
                acknowledged=ended.acknowledged,
                bound=bound,
                answers=answers,
                mended=self._mended,
                stopped=self._broken if self._scenario.fault is faults.worker_stopped else inf,
                outages=self._scenario.outages,
                drops="".join(hit) if self._scenario.drops else "",
                store_reads=_store_reads(counters, fleet.counters()),
                trouble=trouble,
                logs=self._said(logs),
            )
        )

    def _said(self, starts):
        """Return what each worker has logged from a place in its log on."""
        return {
            name: worker.log.read_bytes()[starts[name] :].decode()
            for name, worker in self.fleet.workers.items()
        }

    def _put_to_use(self, *names):
        self._traffic.stop("ending")
        self._traffic.send("ending", self.ending, *names)

    def put_in_use(self):
        """Send the keys that are to end until all workers accept them."""
        self._put_to_use()
        asked = time.monotonic()

        def in_use():
            accepts = Counter(
                answer.worker
                for answer in self._traffic.since(asked)
                if answer.role == "ending" and answer.status == 200
            )
            needed = _IN_USE * len(self.ending)
            return all(accepts[name] >= needed for name in self.fleet.workers)

        eventually(in_use, PATIENCE)

    def _clash(self):
        """Let the change and the fault happen; return what came of the change."""
        lead = self._moment if self._moment != RETURNED else 0.0
        start = time.monotonic() + 0.02
        with ThreadPoolExecutor(1) as pool:
            change = pool.submit(self._change_at, start + max(-lead, 0.0))
            if self._moment == RETURNED:
                change.result()
            _until(start + max(lead, 0.0))
            with self._scenario.fault(self):
                self._broken = time.monotonic()
                if self._scenario.cold:
                    self._put_to_use(self.target.name)
                _until(self._broken + self._scenario.lasts)
            self._mended = time.monotonic()
            return change.result()

    def _change_at(self, moment):
        _until(moment)
        return self._change()

    def _welcome_newcomers(self):
        """Issue keys until one is shared through Redis again. False if that never happens.

        Other changes go on, that is, and they must not bring back what has ended.
        """
        deadline = time.monotonic() + _HOPELESS
        while time.monotonic() < deadline:
            token = self.fleet.issue("newcomer")["token"]
            self._traffic.send("good", [token])
            looked = time.monotonic()
            while time.monotonic() < looked + _STEADY:
                if self.fleet.redis.holds(digest(token.encode())):
                    return True
                _until(time.monotonic() + 0.02)
        return False

    def _settle(self, began):
        """Wait until all is well again, and every request is answered. False if it never is."""
        calm_since = max(time.monotonic(), self._mended)
        deadline = calm_since + _HOPELESS
        while (now := time.monotonic()) < deadline:
            for each in self._traffic.since(began):
                if each.role == "good" and each.status != 200:
                    calm_since = max(calm_since, each.received)
                if each.role == "ending" and each.status == 200:
                    calm_since = max(calm_since, accepted_at(each))
            heard = {a.worker for a in self._traffic.since(calm_since) if a.role == "good"}
            if now > calm_since + _STEADY and len(heard) == len(self.fleet.workers):
                break
            _until(now + 0.05)
        self._traffic.stop("ending")
        self._traffic.finish()
        return now < deadline


def _any_hung(answers, worker, moment):
    """Say whether a worker was looking an ending key up at a moment, and for long after it."""
    return any(
        each.worker == worker
        and each.role == "ending"
        and each.sent < moment
        and each.received > moment + HUNG
        for each in answers
    )


def _store_reads(before, after):
    """Return how often the workers have asked the store; a new process has counted from nothing."""
    return sum(
        then["store_reads"] - (before[name]["store_reads"] if _same(before[name], then) else 0)
        for name, then in after.items()
    )


def _same(one, other):
    return one["pid"] == other["pid"]
