"""RUN/metrics.jsonl as one history in arrays.

A run that was resumed has several sessions in the file, and what lies between the snapshot it went on
from and the end of the session before comes twice. Here the later session wins: of the earlier ones
nothing after that snapshot is kept but facts that stay true, such as lost workers. Numbers that were not
finite are NaN.
"""
from __future__ import annotations

import json
import math
import pathlib
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from .errors import RunError

Event = Dict[str, Any]

# What training computes, and so computes again after a resumption; everything else happened once.
REPEATED = {"step", "judge", "round", "eval", "snapshot", "lineage"}
# Events that are part of every healthy run.
ORDINARY = REPEATED | {"start", "worker", "end"}


def number(event: Event, key: str) -> float:
    """event[key] as a float; NaN where it is missing, null or no number."""
    value = event.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


def integer(event: Event, key: str, missing: int = -1) -> int:
    value = event.get(key)
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else missing


@dataclass(frozen=True)
class Session:
    """One start of the program, until the next or the last record."""
    start: Event
    end: Optional[Event]  # None: killed, or still running
    first_s: float
    last_s: float    # run time at its last record
    last_step: int
    lost_s: float    # run time of it that the next session did again

    @property
    def resumed(self) -> bool:
        return bool(self.start.get("resumed"))


@dataclass(frozen=True)
class History:
    """The records of one expert's training steps, every run.log steps; arrays of one length."""
    step: np.ndarray
    time: np.ndarray          # seconds since the run started
    loss: np.ndarray          # nats per token
    lr: np.ndarray
    grad_norm: np.ndarray
    tokens: np.ndarray        # this expert has learnt from so far
    tokens_per_s: np.ndarray
    mfu: np.ndarray           # NaN where the device's peak is not known
    skipped: np.ndarray       # bool: the step was not taken
    fitness_step: np.ndarray  # of every judging
    fitness: np.ndarray


@dataclass(frozen=True)
class Judgings:
    """Row i is the judging at step[i]; column m of fitness is member m, the recombinant last."""
    step: np.ndarray
    time: np.ndarray
    fitness: np.ndarray       # (judgings, members), nats per token
    best: np.ndarray          # member; -1: none was finite
    best_fitness: np.ndarray
    experts: int

    def __len__(self) -> int:
        return len(self.step)

    @property
    def recombine(self) -> bool:
        """Whether the mean of the experts was judged too."""
        return self.fitness.shape[1] > self.experts


@dataclass(frozen=True)
class Rounds:
    """One row a round; source is the member that experts moved toward (experts: their mean)."""
    step: np.ndarray
    time: np.ndarray
    source: np.ndarray
    seconds: np.ndarray
    bytes: np.ndarray         # sent by all workers together

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class Moves:
    """What each expert did in the round after a judging, where the run recorded it; one row a move."""
    step: np.ndarray
    expert: np.ndarray
    kind: np.ndarray          # "stayed", "moved", "copied" or "revived"
    body: np.ndarray          # the member that each group of tensors followed; -1: none
    io: np.ndarray
    distance: np.ndarray      # norm of the change as a share of the norm before
    lr_scale: np.ndarray      # what the expert's learning rate is multiplied by

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class Lineage:
    """From `first` to `last` step, in `rounds` rounds, `expert` moved toward `parent`."""
    expert: np.ndarray
    parent: np.ndarray
    first: np.ndarray
    last: np.ndarray
    rounds: np.ndarray

    def __len__(self) -> int:
        return len(self.expert)


@dataclass
class Metrics:
    """Every record that counts, by kind and in order."""
    events: Dict[str, List[Event]] = field(default_factory=dict)
    sessions: List[Session] = field(default_factory=list)
    unreadable: int = 0   # lines that are no JSON object, the unfinished last one not counted
    superseded: int = 0   # records that a later session replaced

    def of(self, kind: str) -> List[Event]:
        return self.events.get(kind, [])

    @property
    def start(self) -> Event:
        return self.sessions[-1].start if self.sessions else {}

    @property
    def end(self) -> Optional[Event]:
        return self.sessions[-1].end if self.sessions else None

    @property
    def incidents(self) -> List[Event]:
        """What is not part of a healthy run: lost workers, new epochs, whatever else there will be."""
        found = [e for kind, events in self.events.items() if kind not in ORDINARY for e in events]
        return sorted(found, key=lambda e: number(e, "time"))


# ---- reading -------------------------------------------------------------------------------------

def _lines(path: pathlib.Path) -> Tuple[List[Event], int]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    whole = data[:data.rfind(b"\n") + 1]  # a killed or running program leaves the last line unfinished
    events, unreadable = [], 0
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.append(event)
        else:
            unreadable += 1
    return events, unreadable


def _sessions(events: List[Event]) -> List[List[Event]]:
    parts: List[List[Event]] = []
    for event in events:
        if event["event"] == "start" or not parts:
            parts.append([])
        parts[-1].append(event)
    return parts


def _times(events: Iterable[Event]) -> List[float]:
    return [t for t in (number(e, "time") for e in events) if math.isfinite(t)]


def _session(part: List[Event], following: Optional[List[Event]]) -> Session:
    start = part[0] if part[0]["event"] == "start" else {}
    ends = [e for e in part if e["event"] == "end"]
    times = _times(part) or [0.0]
    lost = 0.0
    if following:
        resumed_at = min(_times(following) or [times[-1]])
        lost = max(0.0, max(times) - max(resumed_at, min(times)))
    steps = [integer(e, "step", 0) for e in part]
    return Session(start, ends[-1] if ends else None, min(times), max(times), max(steps), lost)


def _key(event: Event) -> Tuple:
    return (event["event"], event.get("step"), event.get("expert"), event.get("member"))


def _as_now(event: Event, then: int, now: int) -> Event:
    """An event of a session with fewer experts: the mean, numbered after all of them, has another number now."""
    moved = {key: now for key in ("best", "champion", "source", "member", "body", "io") if event.get(key) == then}
    fitness = event.get("fitness")
    if isinstance(fitness, list):
        moved["fitness"] = fitness[:then] + [None] * (now - then) + fitness[then:]
    return {**event, **moved} if moved else event


def _renumbered(parts: List[List[Event]]) -> List[List[Event]]:
    experts = [integer(part[0], "experts", 0) for part in parts]
    now = experts[-1] if experts else 0
    return [[_as_now(event, then, now) for event in part] if 0 < then < now else part
            for part, then in zip(parts, experts)]


def read_metrics(path: pathlib.Path) -> Metrics:
    """A missing file is an empty history. RunError where a file cannot be read."""
    events, unreadable = _lines(path)
    parts = _renumbered(_sessions(events))
    kept: Dict[Tuple, Event] = {}
    once: List[Event] = []
    superseded = 0
    for part in parts:
        begin = integer(part[0], "step", 0)
        if kept:
            stale = [key for key, e in kept.items() if integer(e, "step", 0) > begin]
            superseded += len(stale)
            for key in stale:
                del kept[key]
        for event in part:
            if event["event"] in REPEATED:
                superseded += _key(event) in kept
                kept[_key(event)] = event
            else:
                once.append(event)
    metrics = Metrics(unreadable=unreadable, superseded=superseded)
    for event in sorted(kept.values(), key=lambda e: integer(e, "step", 0)) + once:
        metrics.events.setdefault(event["event"], []).append(event)
    metrics.sessions = [_session(part, parts[i + 1] if i + 1 < len(parts) else None)
                        for i, part in enumerate(parts)]
    return metrics


# ---- arrays --------------------------------------------------------------------------------------

def column(events: List[Event], key: str) -> np.ndarray:
    return np.array([number(e, key) for e in events], dtype=np.float64)


def whole(events: List[Event], key: str, missing: int = -1) -> np.ndarray:
    return np.array([integer(e, key, missing) for e in events], dtype=np.int64)


def make_judgings(metrics: Metrics, experts: int) -> Judgings:
    events = [e for e in metrics.of("judge") if isinstance(e.get("fitness"), list)]
    members = max([len(e["fitness"]) for e in events] + [experts])
    fitness = np.full((len(events), members), np.nan)
    for row, event in enumerate(events):
        for member, value in enumerate(event["fitness"]):
            fitness[row, member] = value if isinstance(value, (int, float)) else math.nan
    return Judgings(whole(events, "step", 0), column(events, "time"), fitness, whole(events, "best"),
                    column(events, "best_fitness"), experts)


def make_rounds(metrics: Metrics) -> Rounds:
    events = metrics.of("round")
    return Rounds(whole(events, "step", 0), column(events, "time"), whole(events, "source"),
                  column(events, "seconds"), column(events, "bytes"))


def make_history(metrics: Metrics, experts: int, judgings: Judgings) -> List[History]:
    mine: List[List[Event]] = [[] for _ in range(experts)]
    for event in metrics.of("step"):
        expert = integer(event, "expert")
        if 0 <= expert < experts:
            mine[expert].append(event)
    return [History(whole(events, "step", 0), column(events, "time"), column(events, "loss"),
                    column(events, "lr"), column(events, "grad_norm"), column(events, "tokens"),
                    column(events, "tokens_per_s"), column(events, "mfu"),
                    np.array([bool(e.get("skipped")) for e in events], dtype=bool), judgings.step,
                    judgings.fitness[:, expert])
            for expert, events in enumerate(mine)]


def make_moves(metrics: Metrics) -> Moves:
    events = metrics.of("lineage")
    kinds = np.array([str(e.get("kind", "")) for e in events], dtype=object)
    return Moves(whole(events, "step"), whole(events, "expert"), kinds, whole(events, "body"), whole(events, "io"),
                 column(events, "distance"), column(events, "lr_scale"))


def _pairs(moves: Moves, rounds: Rounds, experts: int) -> Iterable[Tuple[int, int, int]]:
    """(step, expert, parent) of every move: as recorded for that step, else toward the round's source."""
    for step, expert, parent in zip(moves.step, moves.expert, np.where(moves.body >= 0, moves.body, moves.io)):
        yield int(step), int(expert), int(parent)
    for row in np.flatnonzero(~np.isin(rounds.step, moves.step)):
        for expert in range(experts):
            yield int(rounds.step[row]), expert, int(rounds.source[row])


def make_lineage(moves: Moves, rounds: Rounds, experts: int) -> Lineage:
    """Moves toward the same parent in a row are one entry."""
    rows: List[List[int]] = []
    last: Dict[int, List[int]] = {}
    for step, expert, parent in sorted(_pairs(moves, rounds, experts)):
        row = last.get(expert)
        if row and parent < 0:
            del last[expert]
        elif row and row[1] == parent:
            row[3], row[4] = step, row[4] + 1
        elif parent >= 0:
            last[expert] = [expert, parent, step, step, 1]
            rows.append(last[expert])
    table = np.array(sorted(rows, key=lambda r: (r[2], r[0])), dtype=np.int64).reshape(-1, 5)
    return Lineage(*table.T)
