"""What a trial has shown, and what in it may not have happened. Values in, values out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from math import inf

#: Seconds after which a request has hung: then it counts by the time at which the app was reached.
HUNG = 0.5
_ACCEPT, _OUTAGE = 200, 503
_REFUSALS = (401, 403)
#: Late accepts that are shown of each worker.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What one trial has seen. Times are monotonic seconds."""

    scenario: str
    #: The worker that was hit, where it was one.
    hit: str = ""
    workers: tuple[str, ...]
    #: When the change returned, or when whoever made it was killed.
    ended: float
    acknowledged: bool | None
    #: Seconds that may pass from then on to the last accept.
    bound: float
    answers: list
    #: When the fault was over.
    mended: float
    #: When the worker that was hit was stopped, if it was.
    stopped: float = inf
    #: The worker whose connections may break.
    drops: str = ""
    #: Whether 503 may be answered.
    outages: bool = False
    store_reads: int = 0
    #: What the harness has to complain of.
    trouble: list[str] = field(default_factory=list)
    #: What each worker has logged.
    logs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of one trial. Times are seconds."""

    scenario: str
    hit: str
    acknowledged: bool | None
    bound: float
    #: From the end of the change to the last accept, a worker; negative if that came before.
    last_accept: dict[str, float]
    wrongly_refused: int
    outages: int
    store_reads: int
    #: From the end of the fault to the last good key that was not accepted.
    recovery: float
    #: What may not have happened.
    violations: list[str]
    #: What each worker has logged.
    logs: dict[str, str] = field(repr=False)

    @property
    def slowest(self):
        return max(self.last_accept.values())

    def as_json(self):
        """Return the figures as JSON knows them: None for a worker that has accepted nothing."""
        accepts = {who: None if at == -inf else at for who, at in self.last_accept.items()}
        return asdict(self) | {"last_accept": accepts}

    def explain(self):
        """Return what was wrong, and what the workers had to say meanwhile."""
        logs = (f"--- {name}\n{log}" for name, log in self.logs.items() if log)
        return "\n".join([f"{self.scenario} {self.hit}", *self.violations, *logs])


def accepted_at(answer, stopped=inf):
    """Return the moment by which an accept counts.

    That is when its request was sent. One that hung on the way counts by the time at which it
    reached the app, unless the worker had it already when it was stopped: nobody can tell then
    whether it had been decided.
    """
    if answer.received - answer.sent < HUNG or answer.entered < stopped < answer.reached:
        return answer.sent
    return answer.reached


def judge(seen):
    """Return the figures of what was seen, and what was wrong with it."""
    good = [each for each in seen.answers if each.role == "good"]
    ending = [each for each in seen.answers if each.role == "ending"]
    accepts = {
        worker: [e for e in ending if e.worker == worker and e.status == _ACCEPT]
        for worker in seen.workers
    }
    late = {
        worker: [accepted_at(each, seen.stopped) - seen.ended for each in found]
        for worker, found in accepts.items()
    }
    failed = [each.received for each in good if each.status != _ACCEPT]
    refused = [each for each in good if each.status in _REFUSALS]
    outages = sum(each.status == _OUTAGE for each in seen.answers)
    violations = [
        *_too_late(seen, accepts, late),
        *([f"{len(refused)} good keys were refused, {_shown(seen, refused)}"] if refused else []),
        *_relapses(seen, ending),
        *([f"{outages} outages where none had to be"] if outages and not seen.outages else []),
        *_unexpected(seen),
        *(f"{name} logged a traceback" for name, log in seen.logs.items() if "Traceback" in log),
        *seen.trouble,
    ]
    return Result(
        scenario=seen.scenario,
        hit=seen.hit,
        acknowledged=seen.acknowledged,
        bound=seen.bound,
        last_accept={worker: max(times, default=-inf) for worker, times in late.items()},
        wrongly_refused=len(refused),
        outages=outages,
        store_reads=seen.store_reads,
        recovery=max([seen.mended, *failed]) - seen.mended,
        violations=violations,
        logs=seen.logs,
    )


def _too_late(seen, accepts, late):
    for worker, times in late.items():
        beyond = [a for a, t in zip(accepts[worker], times, strict=True) if t > seen.bound]
        if beyond:
            yield (
                f"{worker} accepted an ended key {max(times) * 1000:.0f} ms later, "
                f"{len(beyond)} times beyond {seen.bound:g} s, {_shown(seen, beyond)}"
            )


def _relapses(seen, ending):
    """Find accepts of requests that were sent after the same process had refused the key.

    Keys that end together have all ended when one of them is refused. A worker that is replaced
    meanwhile is another process.
    """
    for worker in set(seen.workers) - {seen.drops}:
        own = [each for each in ending if each.worker == worker]
        refused = min((each.received for each in own if each.status in _REFUSALS), default=inf)
        again = [each for each in own if each.status == _ACCEPT and each.sent > refused]
        if again:
            yield f"{worker} accepted a key that it had refused, {_shown(seen, again)}"


def _unexpected(seen):
    """Find answers that are no accept, refusal or outage; status 0 is none at all."""
    known = {_ACCEPT, _OUTAGE, *_REFUSALS}
    odd = Counter(
        (each.worker, each.status)
        for each in seen.answers
        if each.status not in known and not (each.status == 0 and each.worker == seen.drops)
    )
    return [f"{worker} gave {n} answers with status {s}" for (worker, s), n in odd.items()]


def _shown(seen, answers):
    """Show the first few answers, in milliseconds from the end of the change."""

    def milliseconds(moment):
        return f"{(moment - seen.ended) * 1000:.0f}" if moment else "-"

    shown = [
        f"{each.worker} sent {milliseconds(each.sent)} reached {milliseconds(each.reached)} "
        f"received {milliseconds(each.received)}"
        for each in answers[:_SHOWN]
    ]
    return f"the first: {'; '.join(shown)}"
