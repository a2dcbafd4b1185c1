"""What the run cost: time, traffic, memory; and what went wrong."""
from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Dict, List, Optional, Tuple

import numpy as np

from .figure import Figure, Section, count_of
from .losses import STEP
from .metrics import Event, column, integer, number, whole
from .plot import Band, Bars, Dots, Layer, Line, Plot
from .run import Run
from .scale import Axis, byte_unit, bytes_text, percent_text, seconds_text, time_unit
from .table import Table, rows_of

MOST_WORKERS = 24


@dataclass(frozen=True)
class Cost:
    """Seconds of the run by what they went into, and bytes."""
    wall_s: float
    training_s: float      # of worker 0
    rounds_s: float
    snapshots_s: float
    evaluations_s: float
    bytes_sent: float      # in rounds, by all workers
    steps: int

    @property
    def rest_s(self) -> float:
        used = self.training_s + self.rounds_s + self.snapshots_s + self.evaluations_s
        return max(0.0, self.wall_s - used)

    @property
    def rounds_share(self) -> float:
        return self.rounds_s / self.wall_s if self.wall_s > 0 else math.nan

    @property
    def bytes_per_step(self) -> float:
        return self.bytes_sent / self.steps if self.steps > 0 else math.nan


def training_seconds(run: Run) -> float:
    """Of worker 0, whose rounds are the ones that are timed: tokens between two records over the speed at the
    second, summed over its experts. An estimate: that speed is of the steps since the last round."""
    total = 0.0
    for h in run.history[:max(1, run.n_experts // max(run.workers, 1))]:
        fresh = np.diff(h.tokens, prepend=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            spent = fresh / h.tokens_per_s
        total += float(spent[np.isfinite(spent) & (fresh > 0)].sum())
    return total


def cost_of(run: Run) -> Cost:
    total = lambda kind, key: float(np.nansum(column(run.metrics.of(kind), key)))  # noqa: E731
    wall, rounds_s = run.time_s, float(np.nansum(run.rounds.seconds))
    stalls, evaluations = total("snapshot", "stall_s"), total("eval", "seconds")
    training = min(training_seconds(run), max(0.0, wall - rounds_s - stalls - evaluations))
    return Cost(wall, training, rounds_s, stalls, evaluations, float(np.nansum(run.rounds.bytes)), run.step)


def uncut_params(run: Run) -> float:
    """Parameters of the model that was cut into experts: one expert's, with all layers."""
    layers = int(run.config.get("model.layers", 0) or 0)
    try:
        shapes = run.weights().shapes if (run.path / "best.h5").is_file() else run.snapshot().weights(0).shapes
    except Exception:
        return float(run.params)
    block: Dict[str, int] = {}
    for name, shape in shapes.items():
        parts = name.split(".")
        at = next((i for i, p in enumerate(parts[:-1]) if p in ("h", "layers") and parts[i + 1].isdigit()), None)
        if at is not None:
            block[parts[at + 1]] = block.get(parts[at + 1], 0) + int(np.prod(shape))
    own = len(block)
    return float(run.params + max(0, layers - own) * (sum(block.values()) / own if own else 0))


def data_parallel_bytes(run: Run) -> float:
    """What all workers would send in one step of data parallel training of the uncut model in float32: a ring
    all-reduce of its gradients, as `shoal plan` counts it."""
    return 2.0 * (run.workers - 1) * uncut_params(run) * 4


# ---- time ----------------------------------------------------------------------------------------

def where_time_went(run: Run, cost: Cost) -> Optional[Figure]:
    if cost.wall_s <= 0:
        return None
    parts = [("training", cost.training_s), ("rounds", cost.rounds_s), ("snapshots", cost.snapshots_s),
             ("evaluations", cost.evaluations_s), ("judging, waiting", cost.rest_s)]
    seconds = np.array([s for _, s in parts])
    names = tuple(name for name, _ in parts)
    size, unit = time_unit(seconds)
    said = ", ".join(f"{name} {percent_text(s / cost.wall_s)}" for name, s in parts)
    return Figure(
        "time", "Where the time went",
        Plot(Axis(f"time ({unit})", low=0.0), Axis("spent on", names=names),
             [Bars("c0", "", seconds / size, np.arange(len(parts)),
                   names=[f"{n}: {seconds_text(s)}, {percent_text(s / cost.wall_s)}" for n, s in parts])], height=210),
        f"Of {seconds_text(cost.wall_s)}: {said}.",
        f"Of {seconds_text(cost.wall_s)} in all: {said}. Training and rounds are those of worker 0, "
        "training estimated from the speed at each record; snapshots is the time in which the slowest worker did not train.",
        Table(["spent_on", "seconds", "share"], [(n, s, s / cost.wall_s) for n, s in parts]))


def pace(run: Run) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps that all experts have a record of; time at which the last had it; their tokens together."""
    steps = np.concatenate([h.step for h in run.history] or [np.zeros(0, np.int64)])
    if not len(steps):
        return steps, np.zeros(0), np.zeros(0)
    unique, inverse, counts = np.unique(steps, return_inverse=True, return_counts=True)
    time, tokens = np.full(len(unique), -np.inf), np.zeros(len(unique))
    np.maximum.at(time, inverse, np.concatenate([h.time for h in run.history]))
    np.add.at(tokens, inverse, np.concatenate([h.tokens for h in run.history]))
    whole_rows = counts >= run.n_experts
    return unique[whole_rows], time[whole_rows], tokens[whole_rows]


def speed(run: Run) -> Tuple[np.ndarray, np.ndarray]:
    """Edges of stretches of time, and tokens of all experts in each. A worker trains its experts in turn, so a
    stretch must hold several turns."""
    records = [(h.time, np.diff(h.tokens, prepend=0.0)) for h in run.history if len(h.step)]
    if not records:
        return np.zeros(0), np.zeros(0)
    time, fresh = (np.concatenate([r[i] for r in records]) for i in (0, 1))
    order = np.argsort(time, kind="stable")
    time, total = time[order], np.cumsum(np.maximum(fresh[order], 0))
    turn = max(int(run.config.get("run.log", 1) or 1), int(run.config.get("evolution.every", 1) or 1))
    stretches = int(np.clip(run.step // (4 * turn), 1, 100))
    edges = np.linspace(time[0], time[-1], stretches + 1)
    return edges, np.diff(np.interp(edges, time, total))


def throughput(run: Run) -> Optional[Figure]:
    edges, tokens = speed(run)
    if len(tokens) < 2 or edges[-1] <= edges[0]:
        return None
    rate = tokens / np.diff(edges)
    total = tokens.sum() / (edges[-1] - edges[0])
    size, unit = (1e3, "thousand tokens/s") if rate.max() >= 2000 else (1, "tokens/s")
    clock, clock_unit = time_unit(edges)
    mfu = np.concatenate([h.mfu for h in run.history])
    said = f"{total:,.0f} tokens a second on average, everything included"
    if np.isfinite(mfu).any():
        said += f"; while training, {percent_text(float(np.nanmedian(mfu)))} of the devices' peak (median)"
    return Figure(
        "throughput", "Throughput",
        Plot(Axis(f"time ({clock_unit})"), Axis(f"all experts ({unit})", low=0.0),
             [Line("c0 strong", "", edges / clock, np.append(rate, rate[-1]) / size, step=True)],
             rule=float(total / size)), said + ".",
        f"Tokens that all experts learnt from in each of {len(rate)} stretches of "
        f"{seconds_text(float(edges[1] - edges[0]))}, with judging, rounds and snapshots in it. Dashed: "
        f"{said}.",
        Table(["from_s", "to_s", "tokens", "tokens_per_s"], rows_of(edges[:-1], edges[1:], tokens, rate)))


def _binned(x: np.ndarray, y: np.ndarray, bins: int = 150) -> Tuple[np.ndarray, ...]:
    """Middle of each bin of x, and the least, median and largest y of it."""
    edges = np.linspace(0, len(x), bins + 1).astype(int)
    parts = [(x[a:b], y[a:b]) for a, b in zip(edges[:-1], edges[1:]) if b > a and np.isfinite(y[a:b]).any()]
    return (np.array([float(p.mean()) for p, _ in parts]), np.array([np.nanmin(q) for _, q in parts]),
            np.array([np.nanmedian(q) for _, q in parts]), np.array([np.nanmax(q) for _, q in parts]))


def traffic(run: Run) -> Optional[Figure]:
    r, parallel = run.rounds, data_parallel_bytes(run)
    if run.workers < 2 or not np.nansum(r.bytes) > 0 or not (parallel > 0 and r.step[-1] > 0):
        return None
    sent = np.cumsum(np.nan_to_num(r.bytes))
    other = parallel * r.step
    size, unit = byte_unit(other)
    positive = lambda v: np.where(v > 0, v / size, np.nan)  # noqa: E731
    share = sent[-1] / other[-1]
    return Figure(
        "traffic", "Weights sent", Plot(STEP, Axis(f"sent since the start ({unit})", log=True),
                                        [Line("cq", "data parallel would send", r.step, positive(other)),
                                         Line("c0 strong", "rounds sent", r.step, positive(sent))]),
        f"Rounds sent {bytes_text(float(sent[-1]))}, {percent_text(share)} of what data parallel training would send.",
        f"All workers together, on a logarithmic axis: {bytes_text(float(sent[-1]))} in rounds, {percent_text(share)} of "
        f"data parallel's. That is {bytes_text(parallel)} a step: a ring all-reduce of the float32 gradients of the "
        f"uncut model of {uncut_params(run) / 1e6:.3g} M parameters. Judgings' means, at most one more each, are not "
        "recorded.",
        Table(["step", "rounds_bytes", "data_parallel_bytes"], rows_of(r.step, sent, other)),
        [("c0", "rounds"), ("cq", "data parallel")])


def rounds(run: Run) -> Optional[Figure]:
    r = run.rounds
    good = np.isfinite(r.seconds) & (r.seconds > 0)
    if not good.any():
        return None
    steps, seconds = r.step[good], r.seconds[good]
    size, unit = time_unit(np.array([float(np.median(seconds))]))
    layers: List[Layer]
    if len(steps) > 300:
        x, low, middle, high = _binned(steps, seconds)
        layers = [Band("cq light", "fastest to slowest", x, low / size, high / size),
                  Line("c0 strong", "median", x, middle / size)]
        legend = [("c0", "median"), ("cq light", "fastest to slowest")]
        how = f" Of {len(steps):,} rounds, in {len(x)} stretches."
    else:
        layers, legend, how = [Dots("c0", "", steps, seconds / size, 2.5)], [], ""
    return Figure(
        "rounds", "Time of a round", Plot(STEP, Axis(f"one round ({unit})", log=True), layers),
        f"{count_of(len(steps), 'round')}, {seconds_text(float(np.median(seconds)))} each in the median, "
        f"{seconds_text(float(seconds.max()))} at most.",
        f"Exchange of weights and evolution, on worker 0, on a logarithmic axis.{how}",
        Table(["step", "time_s", "source", "seconds", "bytes"],
              rows_of(r.step, r.time, [run.member(s) for s in r.source], r.seconds, r.bytes)), legend)


def snapshots(run: Run) -> Optional[Figure]:
    events = run.metrics.of("snapshot")
    if not events:
        return None
    steps, seconds, stall = whole(events, "step"), column(events, "seconds"), column(events, "stall_s")
    size, unit = time_unit(np.concatenate([seconds, stall]))
    positive = lambda v: np.where(v > 0, v / size, np.nan)  # noqa: E731
    return Figure(
        "snapshots", "Snapshots and stalls",
        Plot(STEP, Axis(f"one snapshot ({unit})", log=True),
             [Dots("c0", "from order to commit", steps, positive(seconds), 4),
              Dots("c1", "stall", steps, positive(stall), 4)]),
        f"{count_of(len(events), 'snapshot')}; training stood still for {seconds_text(float(np.nansum(stall)))} in all, "
        f"{seconds_text(float(np.nanmax(stall)))} at most at once.",
        f"From the order to the commit, and how long the slowest worker did not train for it; "
        f"{bytes_text(float(column(events, 'bytes')[-1]))} the last; on a logarithmic axis.",
        Table(["step", "seconds", "stall_s", "bytes"], rows_of(steps, seconds, stall, column(events, "bytes"))),
        [("c0 dot", "from order to commit"), ("c1 dot", "training stood still")])


def memory(run: Run) -> Optional[Figure]:
    peak = (run.metrics.end or {}).get("peak_bytes")
    if not isinstance(peak, list):
        return None
    values = np.array([v if isinstance(v, (int, float)) and v > 0 else np.nan for v in peak], float)
    if not np.isfinite(values).any():
        return None
    order = np.argsort(-np.nan_to_num(values), kind="stable")[:MOST_WORKERS]
    order = np.sort(order) if len(values) <= MOST_WORKERS else order
    names = tuple(f"worker {w}" for w in order)
    size, unit = byte_unit(values)
    which = f" The {MOST_WORKERS} with the most of {len(values)}." if len(values) > MOST_WORKERS else ""
    return Figure(
        "memory", "Memory",
        Plot(Axis(f"most memory held ({unit})", low=0.0), Axis("worker", names=names),
             [Bars("c0", "", values[order] / size, np.arange(len(order)),
                   names=[f"{n}: {bytes_text(values[w])}" for n, w in zip(names, order)])],
             height=max(110, 76 + 24 * len(names))),
        f"A worker held {bytes_text(float(np.nanmax(values)))} at most.",
        f"The most that each worker's process held in RAM, mapped files included.{which}",
        Table(["worker", "peak_bytes"], rows_of(range(len(values)), values)))


# ---- what went wrong -----------------------------------------------------------------------------

def skipped(run: Run) -> Dict[str, int]:
    """Steps that were not taken, by reason."""
    counts: Dict[str, int] = {}
    for event in run.metrics.of("step"):
        if event.get("skipped"):
            reason = str(event.get("reason", "unknown"))
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def _incident(event: Event) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("event", "time", "step"))
    return (f"<tr><td>{escape(str(event['event']))}</td><td>{integer(event, 'step', 0)}</td>"
            f"<td>{seconds_text(number(event, 'time'))}</td><td>{escape(rest)}</td></tr>")


def failures(run: Run) -> List[str]:
    """In sentences."""
    found = [f"{count_of(n, 'step')} skipped, because of {reason.replace('_', ' ')}."
             for reason, n in skipped(run).items()]
    bad = ~np.isfinite(run.judgings.fitness)
    for event in run.metrics.of("joined"):  # nobody judged it before
        bad[run.judgings.step <= integer(event, "step"), integer(event, "expert", 0)] = False
    if bad.any():
        found.append(f"{count_of(int(bad.sum()), 'fitness value')} not finite, first at step "
                     f"{run.judgings.step[bad.any(axis=1)][0]}.")
    late = integer(run.metrics.end or {}, "late", 0)
    if late > 0:
        found.append(f"{count_of(late, 'report')} came too late and counted no more.")
    killed = [s for s in run.metrics.sessions[:-1] if s.end is None]
    if killed:
        found.append(f"{count_of(len(killed), 'session')} ended without a word and {'were' if len(killed) > 1 else 'was'} "
                     f"resumed; {seconds_text(sum(s.lost_s for s in killed))} of training came after the last snapshot and "
                     "was done again.")
    return found + run.problems


def sessions_table(run: Run) -> str:
    rows = []
    for s in run.metrics.sessions:
        if s.end is not None:
            how = f"stopped: {s.end['why']}" if s.end.get("why") else "ended"
        else:
            how = "running, or killed" if s is run.metrics.sessions[-1] else "killed"
        rows.append(f"<tr><td>{'resumed' if s.resumed else 'new'}</td><td>{integer(s.start, 'step', 0)}</td>"
                    f"<td>{s.last_step}</td><td>{integer(s.start, 'workers', 0)}</td>"
                    f"<td>{seconds_text(s.last_s - s.first_s)}</td><td>{seconds_text(s.lost_s)}</td>"
                    f"<td>{escape(how)}</td></tr>")
    head = "".join(f"<th scope=col>{h}</th>" for h in
                   ("session", "from step", "to step", "workers", "took", "done again", "how it ended"))
    return (f"<div class=scroll><table><caption>Sessions</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>") if rows else ""


def incidents_table(run: Run) -> str:
    events = run.metrics.incidents
    if not events:
        return ""
    more = f", the last 50 of {len(events)}" if len(events) > 50 else ""
    head = "".join(f"<th scope=col>{h}</th>" for h in ("event", "step", "time", "what"))
    return (f"<div class=scroll><table><caption>Incidents{more}</caption><thead><tr>{head}</tr></thead><tbody>"
            + "".join(_incident(e) for e in events[-50:]) + "</tbody></table></div>")


def section(run: Run) -> Section:
    made = Section("cost", "Time, traffic, memory")
    cost = cost_of(run)
    for figure in (where_time_went(run, cost), throughput(run), rounds(run), traffic(run), snapshots(run),
                   memory(run)):
        made.add(figure)
    if run.workers == 1 and len(run.rounds):
        made.notes.append("One worker held all experts, so nothing was sent.")
    return made


def failures_section(run: Run) -> Section:
    made = Section("failures", "Sessions and failures")
    made.notes = failures(run) or ["Nothing went wrong that the records know of."]
    made.tables = [sessions_table(run), incidents_table(run)]
    return made
