"""Figures of how the experts differ, and how far they move."""
from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape
from typing import Dict, List, Optional, Tuple

import numpy as np

from . import diversity
from .config import option_text
from .figure import (FEW, Figure, Section, count_of, expert_layers, member_css, quiet, ranking)
from .losses import STEP
from .plot import Cells, Dots, Layer, Line, Plot
from .run import Run
from .scale import Axis
from .snapshots import Snapshot
from .table import Table, rows_of

MOST_SNAPSHOTS = 40   # that are looked at
MOST_SHARDS = 240     # that are opened for them: what takes long is the number of reads
MOST_PATHS = 12       # experts in the projection
MOST_CELLS = 24       # rows and columns of the matrix of distances


@dataclass
class Seen:
    """What was read of a run's snapshots."""
    snapshots: List[Snapshot]
    experts: List[int]           # whose weights were read
    sample: diversity.Sample     # rows: snapshots, and in each the experts

    def at(self, snapshot: int) -> np.ndarray:
        n = len(self.experts)
        return self.sample.values[snapshot * n:(snapshot + 1) * n]

    @property
    def of_weights(self) -> str:
        share = self.sample.share
        return "all weights" if share >= 1 else f"{100 * share:.2g} % of the weights, evenly spread"


def look(run: Run) -> Seen:
    order = ranking(run)
    experts = sorted(order[i] for i in diversity.evenly(len(order), 4 * MOST_PATHS)
                     if order[i] < len(run.snapshots[-1].shards))
    # Those of a time with fewer experts cannot be compared row by row.
    every = [s for s in run.snapshots if len(s.shards) == run.n_experts] or run.snapshots[-1:]
    most = min(MOST_SNAPSHOTS, max(2, MOST_SHARDS // max(len(experts), 1)))
    snapshots = [every[i] for i in diversity.evenly(len(every), most)]
    return Seen(snapshots, experts, diversity.sample(diversity.shards_of(snapshots, experts)))


# ---- distances -----------------------------------------------------------------------------------

def apart(run: Run, seen: Seen) -> Optional[Figure]:
    if len(seen.snapshots) < 2 or len(seen.experts) < 2:
        return None
    steps = np.array([s.step for s in seen.snapshots])
    upper = np.triu_indices(len(seen.experts), 1)
    pairs = np.array([diversity.relative(seen.at(i))[upper] for i in range(len(steps))])
    mean, low, high = pairs.mean(axis=1), pairs.min(axis=1), pairs.max(axis=1)
    if not pairs.any():
        return None
    layers = [Line("c1", "farthest pair", steps, 100 * high), Line("c0 strong", "mean of all pairs", steps, 100 * mean),
              Line("c2", "closest pair", steps, 100 * low)]
    return Figure(
        "apart", "Distance between experts", Plot(STEP, Axis("distance (% of the weights' norm)", low=0.0), layers),
        f"Two experts are {100 * mean[-1]:.3g} % of their norm apart on average at step {steps[-1]}, after "
        f"{100 * mean[0]:.3g} % at step {steps[0]}.",
        f"Euclidean distance between the weights of two experts, as a share of their mean norm, in each of "
        f"{count_of(len(steps), 'snapshot')}; from {seen.of_weights}.",
        Table(["step", "mean", "closest", "farthest"], rows_of(steps, mean, low, high)),
        [("c0", "mean of all pairs"), ("c1", "farthest pair"), ("c2", "closest pair")])


def matrix(run: Run, seen: Seen) -> Optional[Figure]:
    if len(seen.experts) < 2:
        return None
    order = [k for k in ranking(run) if k in seen.experts]
    chosen = [order[i] for i in diversity.evenly(len(order), MOST_CELLS)]
    rows = [seen.experts.index(k) for k in chosen]
    all_pairs = diversity.relative(seen.at(len(seen.snapshots) - 1))
    far = all_pairs[np.ix_(rows, rows)]
    largest = float(far.max())
    if largest == 0:
        return None
    names = tuple(run.member(k) for k in chosen)
    shade = np.where(np.eye(len(rows), dtype=bool), np.nan, 0.06 + 0.94 * far / largest)
    titles = [[f"{a} and {b}: {100 * far[i, j]:.3g} %" for j, b in enumerate(names)] for i, a in enumerate(names)]
    texts = [[f"{100 * v:.2g} %" for v in row] for row in far] if len(rows) <= FEW else None
    step = seen.snapshots[-1].step
    which = "" if len(rows) == run.n_experts else f" {len(rows)} of {run.n_experts} experts, evenly by rank."
    pair = np.unravel_index(int(far.argmax()), far.shape)
    return Figure(
        "matrix", f"Distances of pairs at step {step}",
        Plot(Axis("expert, best first", names=names), Axis("expert, best first", names=names),
             [Cells("", "", shade, titles if len(rows) <= 16 else None, texts)], height=300),
        f"The farthest pair are {names[pair[0]]} and {names[pair[1]]} with {100 * largest:.3g} % of the weights' norm.",
        f"The stronger the colour, the farther apart; strongest: {100 * largest:.3g} % of the weights' norm.{which} From "
        f"{seen.of_weights}.",
        Table(["expert_a", "expert_b", "distance"],
              [(run.member(a), run.member(b), all_pairs[i, j]) for i, a in enumerate(seen.experts)
               for j, b in enumerate(seen.experts) if i < j]))


def paths(run: Run, seen: Seen) -> Optional[Figure]:
    if len(seen.snapshots) < 2:
        return None
    order = [k for k in ranking(run) if k in seen.experts]
    chosen = sorted(order[i] for i in diversity.evenly(len(order), MOST_PATHS))
    n = len(seen.experts)
    rows = [s * n + seen.experts.index(k) for s in range(len(seen.snapshots)) for k in chosen]
    where, share = diversity.project(seen.sample.values[rows])
    where = where.reshape(len(seen.snapshots), len(chosen), 2)
    if not where.any():
        return None
    steps = [s.step for s in seen.snapshots]
    layers: List[Layer] = []
    for i, k in reversed(list(enumerate(chosen))):
        css, names = member_css(run, k), [f"{run.member(k)} at step {s}" for s in steps]
        layers.append(Line(css, run.member(k), where[:, i, 0], where[:, i, 1], sorted=False))
        layers.append(Dots(css, "", where[:, i, 0], where[:, i, 1], 2.5, names))
        layers.append(Dots(css, "", where[-1:, i, 0], where[-1:, i, 1], 5.5, names[-1:]))
    layers.append(Dots("cs", "start", where[0, :, 0], where[0, :, 1], 5.5,
                       [f"{run.member(k)} at step {steps[0]}" for k in chosen]))
    legend = [(member_css(run, k) + " dot", run.member(k)) for k in chosen] if len(chosen) <= FEW else []
    return Figure(
        "paths", "Paths through weight space",
        Plot(Axis(f"1st principal component, {100 * share[0]:.0f} % of variance"),
             Axis(f"2nd principal component, {100 * share[1]:.0f} % of variance"), layers, height=320),
        f"Weights of {count_of(len(chosen), 'expert')} in {count_of(len(steps), 'snapshot')} from step {steps[0]} to "
        f"{steps[-1]}; two directions hold {100 * share.sum():.0f} % of the variance.",
        f"Each dot is an expert in a snapshot, from step {steps[0]} (hollow) to step {steps[-1]} (large), projected "
        f"onto the two directions in which the weights differ most; from {seen.of_weights}."
        + ("" if len(chosen) == run.n_experts else f" {len(chosen)} of {run.n_experts} experts, evenly by rank."),
        Table(["step", "expert", "first", "second"],
              [(s, k, *where[i, c]) for i, s in enumerate(steps) for c, k in enumerate(chosen)]),
        legend + [("cs dot", f"step {steps[0]}")])


def around(run: Run, seen: Seen) -> Optional[Figure]:
    """The experts about their mean, which the paths are too coarse for."""
    n = len(seen.experts)
    if n < 3:
        return None
    last = seen.at(len(seen.snapshots) - 1)
    where, share = diversity.project(last)
    size = float(diversity.norms(last).mean())
    if not where.any() or size <= 0:
        return None
    where = 100 * where / size
    order = ranking(run)
    layers: List[Layer] = [Dots("cm", "mean of all", np.zeros(1), np.zeros(1), 3)]
    for i, k in enumerate(seen.experts):
        css, radius = (member_css(run, k), 6.0) if n <= FEW else ("c0" if k == order[0] else "cq", 4.0)
        layers.append(Dots(css, "", where[i:i + 1, 0], where[i:i + 1, 1], radius, [run.member(k)]))
    legend = [(member_css(run, k) + " dot", run.member(k)) for k in seen.experts] if n <= FEW else [
        ("c0 dot", f"best expert ({run.member(order[0])})"), ("cq dot", "others")]
    step = seen.snapshots[-1].step
    return Figure(
        "around", f"The experts about their mean at step {step}",
        Plot(Axis(f"1st component (% of norm), {100 * share[0]:.0f} % of variance"),
             Axis(f"2nd component (% of norm), {100 * share[1]:.0f} % of variance"), layers, height=320),
        f"{count_of(n, 'expert')} at step {step} about their mean; two directions hold {100 * share.sum():.0f} % of their "
        "variance.",
        f"Differences from the mean of the experts in the newest snapshot, in percent of the weights' norm, projected "
        f"onto the two directions in which they differ most; from {seen.of_weights}.",
        Table(["expert", "first_percent", "second_percent"], rows_of(seen.experts, where[:, 0], where[:, 1])),
        [("cm dot", "mean of all")] + legend)


# ---- tensors -------------------------------------------------------------------------------------

_LAYER = re.compile(r"^(?:transformer\.|model\.)?(?:h|layers)\.(\d+)\.(.+)$")


def _place(name: str) -> Tuple[str, int]:
    """Kind of tensor and layer; -1: it belongs to none."""
    match = _LAYER.match(name)
    return (match[2], int(match[1])) if match else (name, -1)


def _cells(values: Dict[str, float]) -> Tuple[np.ndarray, List[str], List[str]]:
    places = {name: _place(name) for name in values}
    kinds = list(dict.fromkeys(kind for kind, _ in places.values()))
    columns = sorted({layer for _, layer in places.values()})
    grid = np.full((len(kinds), len(columns)), np.nan)
    for name, (kind, layer) in places.items():
        grid[kinds.index(kind), columns.index(layer)] = values[name]
    return grid, kinds, ["no block" if c < 0 else str(c) for c in columns]


def tensors(run: Run, seen: Seen) -> Optional[Figure]:
    last = seen.snapshots[-1]
    what = "weights"
    data = diversity.Sample(seen.at(len(seen.snapshots) - 1), seen.sample.where, seen.sample.share)
    values = diversity.disagreement(data)
    moments = diversity.disagreement(diversity.sample(diversity.shards_of([last], seen.experts), "optim/m"))
    if not any(values.values()):
        values, what = moments, "first moments of AdamW"
    if len(seen.experts) < 2 or not any(values.values()):
        return None
    grid, kinds, columns = _cells(values)
    largest = float(np.nanmax(grid))
    titles = [[f"{k}, {'no block' if c == 'no block' else 'block ' + c}: {100 * grid[i, j]:.3g} %"
               for j, c in enumerate(columns)] for i, k in enumerate(kinds)]
    most = max(values, key=lambda name: values[name])
    equal = " The weights themselves are equal at that step." if what != "weights" else ""
    return Figure(
        "tensors", f"Where the experts disagree at step {last.step}",
        Plot(Axis("block", names=tuple(columns)), Axis("tensor", names=tuple(kinds)),
             [Cells("", "", 0.04 + 0.96 * grid / largest, titles)], height=max(150, 76 + 21 * len(kinds))),
        f"Experts disagree most in {most}: {100 * values[most]:.3g} % of its root mean square.",
        f"Of each tensor's {what}: root mean square distance from the mean of the experts, as a share of the root "
        f"mean square; the strongest colour is {100 * largest:.3g} %.{equal}",
        Table(["tensor", "weights", "first_moments"],
              [(name, diversity_of(seen, name), moments.get(name, math.nan)) for name in seen.sample.where]))


def diversity_of(seen: Seen, name: str) -> float:
    last = seen.at(len(seen.snapshots) - 1)[:, seen.sample.where[name]]
    return diversity.disagreement(diversity.Sample(last, {name: slice(None)}, 1.0))[name]


# ---- moves ---------------------------------------------------------------------------------------

def moves(run: Run, seen: Seen) -> Optional[Figure]:
    if len(seen.snapshots) < 2:
        return None
    steps = np.array([s.step for s in seen.snapshots])
    far = np.full((len(steps) - 1, run.n_experts), np.nan)
    for i in range(len(steps) - 1):
        step = diversity.norms(seen.at(i + 1) - seen.at(i)) / np.maximum(diversity.norms(seen.at(i)), 1e-30)
        far[i, seen.experts] = 100 * step / max(steps[i + 1] - steps[i], 1) * 100
    if not np.isfinite(far).any():
        return None
    layers, legend = expert_layers(run, steps[1:], far)
    average = quiet(np.nanmean, far)
    apart = np.nanmax(quiet(np.nanmax, far) - quiet(np.nanmin, far))
    same = " The experts' lines coincide." if run.n_experts > 1 and apart < 0.02 * np.nanmax(far) else ""
    return Figure(
        "moves", "Size of moves", Plot(STEP, Axis("change of weights (% of norm in 100 steps)", low=0.0), layers),
        f"Experts move by {average[-1]:.3g} % of their norm in 100 steps at the end, {average[0]:.3g} % at first.",
        f"Distance between an expert's weights in one snapshot and the next, as a share of their norm, for 100 steps: "
        f"training and evolution together; from {seen.of_weights}.{same}",
        Table(["from_step", "to_step"] + [f"percent_per_100_steps_expert_{k}" for k in seen.experts],
              rows_of(steps[:-1], steps[1:], *far[:, seen.experts].T)), legend)


def evolved(run: Run) -> Optional[Figure]:
    """How far evolution alone moved the experts, where the run recorded it."""
    m = run.moves
    good = (m.expert >= 0) & (m.expert < run.n_experts) & np.isfinite(m.distance)
    if not good.any():
        return None
    steps = np.unique(m.step[good])
    far = np.full((len(steps), run.n_experts), np.nan)
    far[np.searchsorted(steps, m.step[good]), m.expert[good]] = 100 * m.distance[good]
    layers, legend = expert_layers(run, steps, far)
    kinds, counts = np.unique(m.kind[good].astype(str), return_counts=True)
    said = ", ".join(f"{count} {kind}" for kind, count in zip(kinds, counts))
    return Figure(
        "evolved", "Moves of evolution", Plot(STEP, Axis("change in a round (% of norm)", low=0.0), layers),
        f"Rounds after judgings moved experts by {np.nanmedian(far):.3g} % of their norm in the median, {np.nanmax(far):.3g} % at "
        "most.",
        f"Norm of what the round after a judging changed, as a share of an expert's norm before it: {said}.",
        Table(["step", "expert", "kind", "body", "io", "distance", "lr_scale"],
              rows_of(m.step, m.expert, m.kind, [run.member(b) for b in m.body], [run.member(i) for i in m.io], m.distance,
                      m.lr_scale)), legend)


def attracted(run: Run) -> Optional[Figure]:
    """How far experts were from the attractor, where their shards recorded it."""
    newest = run.snapshots[-1]
    steps, known_far = diversity.attraction(newest.shards)
    if not np.isfinite(known_far).any():
        return None
    far = np.full((len(steps), run.n_experts), np.nan)
    far[:, :known_far.shape[1]] = known_far
    layers, legend = expert_layers(run, steps, 100 * far)
    average = quiet(np.nanmean, 100 * far)
    known = average[np.isfinite(average)]
    return Figure(
        "attracted", "Distance to the attractor",
        Plot(STEP, Axis("distance before a round (% of the weights' norm)", low=0.0), layers),
        f"Before the rounds after judgings, experts were {known[-1]:.3g} % of their norm away from what they moved toward, "
        f"{known[0]:.3g} % at first.",
        "Euclidean distance between an expert and what it moved toward in the round after a judging, before that round, as "
        "a share of its weights' norm; from /history/tensors of the newest snapshot.",
        Table(["step"] + [f"percent_expert_{k}" for k in range(far.shape[1])], rows_of(steps, *(100 * far).T)), legend)


def operators(run: Run, seen: Optional[Seen]) -> str:
    """The rule as an HTML table, and what its operators hold in the newest snapshot."""
    c = run.config
    keys = ["attractor", "tensors", "social", "cognitive", "inertia", "draw", "crossover", "crossover_by", "mutation",
            "mutation_scale", "moments"]
    rows = [f"<tr><th scope=row>{key}</th>" + "".join(
        f"<td>{escape(option_text(c[f'evolution.{g}.{key}']))}</td>" for g in ("body", "io")) + "</tr>"
        for key in keys if f"evolution.body.{key}" in c and f"evolution.io.{key}" in c]
    if not rows:
        return ""
    return (f"<div class=scroll><table><caption>The rule: preset “{escape(str(c.get('evolution.preset', '?')))}”, a round every "
            f"{c.get('evolution.every', '?')} steps, a judging every {c.get('evolution.judge', '?')}</caption>"
            "<thead><tr><th scope=col>operator<th scope=col>blocks (body)<th scope=col>embeddings, norm, head (io)"
            f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>")


def remembered(run: Run, seen: Seen) -> List[str]:
    """Sizes of velocity and pull toward own best, where the rule keeps them."""
    last, notes = seen.snapshots[-1], []
    shards = diversity.shards_of([last], seen.experts)
    weights = diversity.sample(shards)
    size = float(diversity.norms(weights.values).mean())
    velocity = diversity.sample(shards, "evo/velocity")
    if velocity.values.size and velocity.values.shape == weights.values.shape and size > 0:
        notes.append(f"Velocity of the swarm step at step {last.step}: "
                     f"{100 * float(diversity.norms(velocity.values).mean()) / size:.3g} % of the weights' norm.")
    own = diversity.sample(shards, "evo/own_best")
    if own.values.shape == weights.values.shape and own.values.size and size > 0:
        far = float(diversity.norms(own.values - weights.values).mean()) / size
        notes.append(f"Distance to an expert's own best weights at step {last.step}: {100 * far:.3g} % of the norm.")
    return notes


def section(run: Run) -> Section:
    made = Section("diversity", "How the experts differ, how far they move")
    made.add(evolved(run))
    seen = look(run) if run.snapshots else None
    if seen and seen.sample.values.size:
        made.add(attracted(run))
        for figure in (apart, matrix, paths, around, tensors, moves):
            made.add(figure(run, seen))
        equal = sum(not diversity.distances(seen.at(i)).any() for i in range(len(seen.snapshots)))
        if equal and run.n_experts > 1:
            where = "every snapshot" if equal == len(seen.snapshots) else f"{equal} of {len(seen.snapshots)} snapshots"
            made.notes.append(f"In {where} all experts hold the same weights: a snapshot follows a round, and a round with "
                              "a full step leaves every expert at the attractor. How they differed just before it shows "
                              "in the spread of fitness and in the moments of AdamW.")
        made.notes += remembered(run, seen)
        if len(seen.snapshots) == 1:
            made.notes.append("There is one snapshot, so there are no paths: set snapshot.every and snapshot.keep to "
                              "see how the experts move.")
    else:
        made.notes.append("There is no snapshot yet, so nothing is known of the weights.")
    made.tables.append(operators(run, seen))
    return made
