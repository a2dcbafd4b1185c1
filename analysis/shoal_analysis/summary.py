"""What a glance should tell: one sentence, a few numbers, the leaderboard."""
from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import List, Tuple

import numpy as np

from .costs import cost_of, data_parallel_bytes, failures, pace
from .figure import count_of, last_finite, quiet, ranking
from .leaders import led
from .metrics import number
from .run import Run
from .scale import bytes_text, percent_text, seconds_text, short

MOST_ROWS = 16   # of the leaderboard


@dataclass(frozen=True)
class Fact:
    label: str
    value: str
    detail: str = ""


def state(run: Run) -> str:
    if run.finished:
        why = (run.metrics.end or {}).get("why")
        if why:
            return f"stopped ({why})"
        return "finished" if run.step >= run.steps else "ended before its last step"
    return "running or killed" if run.metrics.sessions else "without records"


def headline(run: Run) -> str:
    j, best = run.judgings, run.best
    if best is None:
        return "No member has been judged with a finite loss yet."
    last = int(j.best[-1])
    who = "The recombinant, the mean of all experts," if last >= run.n_experts else f"Expert {run.member(last)}"
    sentence = f"{who} leads at step {j.step[-1]}" if last >= 0 else "No member had a finite loss at the last judging"
    if last >= 0:
        sentence += f" with a fitness of {j.best_fitness[-1]:.4f} nats per token"
        sentence += f" (perplexity {math.exp(min(j.best_fitness[-1], 700)):.3g})"
    sentence += "."
    if last >= 0 and best.fitness < j.best_fitness[-1]:
        sentence += f" The best ever was {best.name} at step {best.step} with {best.fitness:.4f}."
    return sentence


def _recombinant(run: Run) -> Fact:
    j = run.judgings
    if not j.recombine:
        return Fact("Recombinant", "not judged", "evolution.recombine is off")
    gain = quiet(np.nanmin, j.fitness[:, :run.n_experts]) - j.fitness[:, -1]
    ahead = int((gain > 0).sum())
    detail = f"ahead of every expert at {ahead} of {count_of(len(j), 'judging')}"
    if not len(j) or not math.isfinite(gain[-1]):
        return Fact("Recombinant", "unknown", detail)
    if gain[-1] == 0:
        return Fact("Recombinant", "level with the best expert", detail)
    return Fact("Recombinant", f"{abs(gain[-1]):.2g} nats {'ahead' if gain[-1] > 0 else 'behind'}", detail)


def _losses(run: Run) -> List[Fact]:
    ends = np.array([last_finite(h.loss) for h in run.history] or [math.nan])
    facts = []
    if np.isfinite(ends).any():
        tail = np.concatenate([h.loss[-max(1, len(h.loss) // 20):] for h in run.history] or [ends])
        facts.append(Fact("Training loss at the end", f"{np.nanmean(tail):.4f}",
                          f"mean of the last 5 % of records; {np.nanmin(ends):.3f} to {np.nanmax(ends):.3f} in the last"))
    evals = run.metrics.of("eval")
    if evals:
        facts.append(Fact("Held-out loss of the best", f"{number(evals[-1], 'loss'):.4f}",
                          f"step {evals[-1].get('step')}, on text that did not judge it"))
    return facts


def _leader(run: Run) -> Fact:
    wins = led(run)
    if not wins:
        return Fact("Led longest", "nobody yet")
    first = next(iter(wins))
    others = ", ".join(f"{run.member(m)} {n}" for m, n in list(wins.items())[1:4])
    detail = f"best at {wins[first]} of {count_of(len(run.judgings), 'judging')}"
    return Fact("Led longest", run.member(first), detail + (f"; then {others}" if others else ""))


def _traffic(run: Run) -> List[Fact]:
    cost, parallel = cost_of(run), data_parallel_bytes(run)
    facts = []
    if len(run.rounds):
        each = run.rounds.seconds[np.isfinite(run.rounds.seconds)]
        median = float(np.median(each)) if each.size else math.nan
        facts.append(Fact("Rounds took", f"{percent_text(cost.rounds_share)} of the time",
                          f"{count_of(len(run.rounds), 'round')}, {seconds_text(median)} each (median)"))
    if run.workers > 1 and parallel > 0 and len(run.rounds):
        facts.append(Fact("Sent per step", bytes_text(cost.bytes_per_step),
                          f"{percent_text(cost.bytes_per_step / parallel)} of data parallel's {bytes_text(parallel)}"))
    return facts


def facts(run: Run) -> List[Fact]:
    best = run.best
    found = [Fact("Best fitness", f"{best.fitness:.4f}" if best else "–",
                  f"nats per token, {best.name} at step {best.step}" if best else "nats per token")]
    found += [_recombinant(run), _leader(run)] + _losses(run) + _traffic(run)
    steps, time, tokens = pace(run)
    if len(steps) > 1 and time[-1] > 0:
        found.append(Fact("Throughput", f"{short(tokens[-1] / time[-1])} tokens/s",
                          f"{short(tokens[-1])} tokens in {seconds_text(run.time_s)}, everything included"))
    peak = [p for p in (run.metrics.end or {}).get("peak_bytes", []) if isinstance(p, (int, float)) and p > 0]
    if peak:
        found.append(Fact("Memory of a worker", bytes_text(max(peak)), "at its peak"))
    wrong = len(failures(run)) + len(run.metrics.incidents)
    found.append(Fact("Incidents", str(wrong) if wrong else "none", "see Sessions and failures" if wrong else ""))
    return found


def cards(run: Run) -> str:
    return "<dl class=facts>" + "".join(
        f"<div><dt>{escape(f.label)}</dt><dd><b>{escape(f.value)}</b>"
        f"{f'<span>{escape(f.detail)}</span>' if f.detail else ''}</dd></div>" for f in facts(run)) + "</dl>"


def about(run: Run) -> str:
    """One line: what was trained, how far."""
    c = run.config
    parts = [state(run), f"step {run.step:,} of {run.steps:,}",
             f"{count_of(run.n_experts, 'expert')} of {short(run.params)} parameters ({c.get('model.arch', '?')})",
             count_of(run.workers, "worker"), f"evolution “{c.get('evolution.preset', '?')}”",
             f"seed {c.get('run.seed', '?')}", seconds_text(run.time_s)]
    return " · ".join(str(p) for p in parts)


def _rows(run: Run) -> List[Tuple[str, float, float, int, int]]:
    """name, fitness, training loss, parent, tokens; best first."""
    rows = [(run.member(e.number), e.fitness, e.loss, e.parent, e.tokens) for e in run.experts]
    rows = [rows[k] for k in ranking(run)]
    j = run.judgings
    if j.recombine and len(j):
        mean = ("mean", float(j.fitness[-1, -1]), math.nan, -1, 0)
        key = lambda r: (not math.isfinite(r[1]), r[1] if math.isfinite(r[1]) else 0, r[0] != "mean")  # noqa: E731
        rows = sorted([mean] + rows, key=key)
    return rows


def leaderboard(run: Run) -> str:
    rows = _rows(run)
    if not rows:
        return ""
    shown = rows if len(rows) <= MOST_ROWS else rows[:MOST_ROWS - 4] + rows[-3:]
    step = f" at step {run.judgings.step[-1]}" if len(run.judgings) else ""
    some = f", the first {MOST_ROWS - 4} and last 3 of {len(rows)}" if len(shown) < len(rows) else ""
    body = []
    for rank, row in enumerate(rows, 1):
        if row not in shown:
            continue
        name, fitness, loss, parent, tokens = row
        number_text = lambda v: f"{v:.4f}" if math.isfinite(v) else "–"  # noqa: E731
        body.append(f"<tr><td>{rank}</td><th scope=row>{name}</th><td>{number_text(fitness)}</td>"
                    f"<td>{number_text(math.exp(min(fitness, 700))) if math.isfinite(fitness) else '–'}</td>"
                    f"<td>{number_text(loss)}</td><td>{run.member(parent) if parent >= 0 else '–'}</td>"
                    f"<td>{short(tokens) if tokens else '–'}</td></tr>")
    head = "".join(f"<th scope=col>{h}</th>" for h in
                   ("rank", "member", "fitness", "perplexity", "training loss", "parent", "tokens"))
    return (f"<div class=scroll><table class=numbers><caption>Leaderboard{step}{some}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>")
