"""Figures of who led and who followed whom."""
from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import numpy as np

from .figure import FEW, Figure, Section, count_of, member_css
from .losses import STEP
from .plot import Arrows, Bars, Cells, Layer, Plot
from .run import Run
from .scale import Axis
from .table import Table, rows_of

MOST_ROWS = 12      # leaders that have a row of their own
MOST_EXPERTS = 16   # experts that have one
MOST_ARROWS = 400


def led(run: Run) -> Dict[int, int]:
    """Judgings that each member won, most first."""
    best = run.judgings.best
    members, counts = np.unique(best[best >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {int(members[i]): int(counts[i]) for i in order}


def _until(run: Run, steps: np.ndarray) -> np.ndarray:
    """The step at which each judging's standing ends."""
    return np.append(steps[1:], max(run.step, int(steps[-1]))) if len(steps) else steps


def timeline(run: Run) -> Optional[Figure]:
    j, wins = run.judgings, led(run)
    if not wins:
        return None
    rows = sorted(list(wins)[:MOST_ROWS], reverse=True)   # the recombinant has the largest number
    names = [run.member(m) for m in rows] + (["others"] if len(wins) > MOST_ROWS else [])
    row_of = {m: i for i, m in enumerate(rows)}
    until = _until(run, j.step)
    layers: List[Layer] = []
    for member in wins:
        mine = j.best == member
        row = row_of.get(member, len(rows))
        css = member_css(run, member) if member in row_of else "cq"
        layers.append(Bars(css, "", until[mine].astype(float), np.full(mine.sum(), float(row)),
                           j.step[mine].astype(float),
                           [f"{run.member(member)} from step {a} to {b}, fitness {f:.4f}" for a, b, f in
                            zip(j.step[mine], until[mine], j.best_fitness[mine])]))
    first = next(iter(wins))
    return Figure(
        "leader", "Who led", Plot(STEP, Axis("best member", names=tuple(names)), layers,
                                   height=max(110, 76 + 26 * len(names))),
        f"{run.member(first)} was the best member at {wins[first]} of {count_of(len(j), 'judging')}; "
        f"{count_of(len(wins), 'member')} led at some time.",
        "The member with the lowest fitness at each judging, until the next one.",
        Table(["step", "until_step", "leader", "fitness"],
              rows_of(j.step, until, [run.member(m) for m in j.best], j.best_fitness)))


def _strips(run: Run) -> Tuple[List[Layer], Tuple[str, ...]]:
    """A row for each member, the recombinant on top; bars show whom an expert follows."""
    lineage, experts = run.lineage, run.n_experts
    with_mean = bool(len(lineage)) and int(lineage.parent.max()) >= experts
    members = ([experts] if with_mean else []) + list(range(experts))
    row = {m: float(i) for i, m in enumerate(members)}
    every = int(run.config.get("evolution.every", 1) or 1)
    other = lineage.expert != lineage.parent
    reach = 0.035 * max(float(run.step), 1.0)
    layers: List[Layer] = []
    for parent in sorted(set(lineage.parent.tolist())):
        new = other & (lineage.parent == parent) & (other.sum() <= MOST_ARROWS)
        if new.any():
            start = lineage.first[new].astype(float)
            layers.append(Arrows(member_css(run, parent), f"from {run.member(parent)}", start - reach,
                                 np.full(new.sum(), row[parent]), start,
                                 np.array([row[int(k)] for k in lineage.expert[new]])))
    for parent in sorted(set(lineage.parent.tolist())):
        for own in (False, True):
            mine = (lineage.parent == parent) & (other != own)
            if not mine.any():
                continue
            css = member_css(run, parent) + (" faint" if own else "")
            said = [f"{run.member(k)} " + ("is the attractor itself" if own else f"follows {run.member(parent)}")
                    + f" from step {a} to {b}, {count_of(int(n), 'round')}" for k, a, b, n in
                    zip(lineage.expert[mine], lineage.first[mine], lineage.last[mine], lineage.rounds[mine])]
            until = np.minimum(lineage.last[mine] + every, max(run.step, 1)).astype(float)
            layers.append(Bars(css, "", until, np.array([row[int(k)] for k in lineage.expert[mine]]),
                               lineage.first[mine].astype(float), said, thick=5))
    return layers, tuple(run.member(m) for m in members)


def _shares(run: Run) -> Tuple[List[Layer], Tuple[str, ...], List[str]]:
    """For many experts: of the moves in a stretch of steps, the share toward each parent."""
    lineage = run.lineage
    bins = int(np.clip(run.step // int(run.config.get("evolution.every", 1) or 1), 1, 40))
    parents, counts = np.unique(lineage.parent, return_counts=True)
    weight = {int(p): int(lineage.rounds[lineage.parent == p].sum()) for p in parents}
    rows = sorted(sorted(weight, key=lambda p: -weight[p])[:MOST_ROWS], reverse=True)
    edges = np.linspace(0, max(run.step, 1), bins + 1)
    moves = np.zeros((len(rows), bins))
    total = np.zeros(bins)
    for parent, first, last, rounds in zip(lineage.parent, lineage.first, lineage.last, lineage.rounds):
        a, b = np.clip(np.searchsorted(edges, [first, last], "right") - 1, 0, bins - 1)
        total[a:b + 1] += rounds / (b - a + 1)
        if int(parent) in rows:
            moves[rows.index(int(parent)), a:b + 1] += rounds / (b - a + 1)
    share = np.where(total > 0, moves / np.maximum(total, 1e-12), np.nan)
    names = [f"{int(edges[i])}" for i in range(bins)]
    titles = [[f"{run.member(m)}, steps {int(edges[i])} to {int(edges[i + 1])}: {100 * share[r, i]:.0f} % of the "
               "moves" for i in range(bins)] for r, m in enumerate(rows)]
    return [Cells("", "", share, titles)], tuple(run.member(m) for m in rows), names


def lineage(run: Run) -> Optional[Figure]:
    table = run.lineage
    if not len(table):
        return None
    rows = rows_of([run.member(k) for k in table.expert], [run.member(p) for p in table.parent],
                   table.first, table.last, table.rounds)
    csv = Table(["expert", "parent", "first_step", "last_step", "rounds"], rows)
    parents = sorted(set(table.parent.tolist()), key=lambda p: -int(table.rounds[table.parent == p].sum()))
    share = table.rounds[table.parent == parents[0]].sum() / table.rounds.sum()
    said = (f"{100 * share:.0f} % of all moves were toward {run.member(parents[0])}; "
            f"{count_of(len(parents), 'member')} had followers.")
    if run.n_experts <= MOST_EXPERTS:
        layers, names = _strips(run)
        legend = [(member_css(run, p) + " bar", f"toward {run.member(p)}") for p in sorted(parents, reverse=True)
                  ] if len(parents) <= FEW + 1 else []
        return Figure("lineage", "Who followed whom",
                      Plot(STEP, Axis("member", names=names), layers, height=max(130, 76 + 30 * len(names))), said,
                      "Each row is an expert; the colour of its bar is the member it moves toward in every "
                      "round, faint while that is itself. Curves come from a new parent's row. " + said, csv, legend)
    layers, names, bins = _shares(run)
    return Figure("lineage", "Whom the experts followed",
                  Plot(Axis(STEP.label, names=tuple(bins)), Axis("member followed", names=names), layers,
                       height=max(130, 76 + 22 * len(names))), said,
                  f"The stronger the colour, the larger the share of the {run.n_experts} experts' moves in that stretch of steps. "
                  + said, csv)


def section(run: Run) -> Section:
    made = Section("leaders", "Who led, who followed")
    made.add(timeline(run))
    made.add(lineage(run))
    if not run.judgings.step.size:
        made.notes.append("No judging yet.")
    elif not len(run.lineage):
        made.notes.append("There was no round: the experts are independent, or the first is still to come.")
    return made
