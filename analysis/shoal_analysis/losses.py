"""Figures of what was learnt: training loss, held-out fitness, who is ahead by how much."""
from __future__ import annotations

import math
from typing import List, Optional

import numpy as np

from .figure import (Figure, Section, aligned, count_of, expert_layers, first_finite, last_finite, quiet,
                     window_for)
from .metrics import column, whole
from .plot import Dots, Layer, Line, Plot
from .run import Run
from .scale import Axis
from .table import Table, rows_of

STEP = Axis("optimiser steps of each expert")


def training_loss(run: Run) -> Optional[Figure]:
    steps, loss = aligned(run.history, "loss")
    if not np.isfinite(loss).any():
        return None
    window = window_for(len(steps))
    layers, legend = expert_layers(run, steps, loss, window)
    every = run.config.get("run.log", "?")
    how = f" Lines are running means over {window} records." if window > 1 else ""
    average = quiet(np.nanmean, loss)
    return Figure(
        "loss", "Training loss", Plot(STEP, Axis("training loss (nats per token)", log=True), layers),
        f"Training loss of {count_of(run.n_experts, 'expert')} from {first_finite(average):.3f} on "
        f"average at step {steps[0]} to {last_finite(average):.3f} at step {steps[-1]}.",
        f"Mean loss of the batch of one step, recorded every {every} steps, on a logarithmic axis.{how} "
        f"Lowest single record: {np.nanmin(loss):.4f}.",
        Table(["step"] + [f"loss_expert_{k}" for k in range(run.n_experts)], rows_of(steps, *loss.T)), legend)


def fitness(run: Run) -> Optional[Figure]:
    j = run.judgings
    if not np.isfinite(j.fitness).any():
        return None
    layers, legend = expert_layers(run, j.step, j.fitness[:, :run.n_experts])
    if j.recombine:
        layers.append(Line("cm strong", "mean (recombinant)", j.step, j.fitness[:, -1]))
        legend = [("cm", "mean of all (recombinant)")] + list(legend)
    evals = run.metrics.of("eval")
    rows = rows_of(j.step, j.time, *j.fitness.T)
    columns = ["step", "time_s"] + [f"fitness_{run.member(m).strip('#')}" for m in range(j.fitness.shape[1])]
    if evals:
        layers.append(Dots("ce", "best member on other held-out text", whole(evals, "step"),
                           column(evals, "loss")))
        legend = list(legend) + [("ce dot", "best member on text that did not judge it")]
        by_step = dict(zip(whole(evals, "step").tolist(), column(evals, "loss")))
        columns.append("evaluation_of_best")
        rows = [(*row, by_step.get(int(row[0]), math.nan)) for row in rows]
    best = run.best
    said = f" The best ever is {best.name} at step {best.step} with {best.fitness:.4f}." if best else ""
    return Figure(
        "fitness", "Held-out fitness",
        Plot(STEP, Axis("fitness (nats per token)", log=True), layers),
        f"Fitness of every member at {count_of(len(j), 'judging')}.{said}",
        "Mean loss on a fixed slice of held-out text, the same for all members; lower is better; on a "
        "logarithmic axis. The text chose the best member, so its own fitness flatters it.",
        Table(columns, rows), legend)


def advantage(run: Run) -> Optional[Figure]:
    """Distances to the best expert, in thousandths of a nat: what the fitness figure is too coarse for."""
    j = run.judgings
    experts = j.fitness[:, :run.n_experts]
    if len(j) < 2 or run.n_experts + j.recombine < 2 or not np.isfinite(experts).any():
        return None
    gap = 1000 * (j.fitness - quiet(np.nanmin, experts)[:, None])
    layers, legend = expert_layers(run, j.step, gap[:, :run.n_experts])
    if j.recombine:
        layers.append(Line("cm strong", "mean (recombinant)", j.step, gap[:, -1]))
        legend = [("cm", "mean of all (recombinant)")] + list(legend)
    lead = -gap[:, -1] if j.recombine else np.zeros(0)
    lead = lead[np.isfinite(lead)]
    said = (f"The recombinant was ahead of every expert at {int((lead > 0).sum())} of {len(lead)} judgings, by "
            f"up to {lead.max():.3g} thousandths of a nat." if lead.size else
            f"Distances of experts to the best one reach {np.nanmax(gap):.3g} thousandths of a nat.")
    return Figure(
        "advantage", "Distance to the best expert",
        Plot(STEP, Axis("behind the best expert (1/1000 nat)"), layers, rule=0.0), said,
        f"Fitness of each member less that of the best expert at the same judging; below zero: better than "
        f"any expert. {said}",
        Table(["step"] + [f"millinats_{run.member(m).strip('#')}" for m in range(gap.shape[1])],
              rows_of(j.step, *gap.T)), legend)


def spread(run: Run) -> Optional[Figure]:
    j = run.judgings
    experts = j.fitness[:, :run.n_experts]
    if run.n_experts < 2 or not np.isfinite(experts).any():
        return None
    wide = quiet(np.nanmax, experts) - quiet(np.nanmin, experts)
    deviation = quiet(np.nanstd, experts)
    positive = lambda v: np.where(v > 0, v, np.nan)  # noqa: E731
    layers: List[Layer] = [Line("c0 strong", "worst less best", j.step, positive(wide)),
                           Line("c1", "standard deviation", j.step, positive(deviation))]
    return Figure(
        "spread", "Spread of fitness",
        Plot(STEP, Axis("difference in fitness (nats per token)", log=True), layers),
        f"Between the best and the worst expert lie {np.nanmax(wide):.3g} nats at most and {last_finite(wide):.3g} at the "
        "last judging.",
        "How much the experts' fitness differs at each judging, which comes before that step's round; zero (experts "
        "that are equal) is not drawn. On a logarithmic axis.",
        Table(["step", "worst_less_best", "standard_deviation"], rows_of(j.step, wide, deviation)),
        [("c0", "worst less best"), ("c1", "standard deviation")])


def gradients(run: Run) -> Optional[Figure]:
    steps, norm = aligned(run.history, "grad_norm")
    if not len(steps) or not np.isfinite(norm).any():
        return None
    window = window_for(len(steps))
    layers, legend = expert_layers(run, steps, np.where(norm > 0, norm, np.nan), window)
    clip = run.config.get("train.clip", 0)
    said = f" Norms above {clip:g} are scaled down to it." if isinstance(clip, (int, float)) and clip > 0 else ""
    how = f" Lines are running means over {window} records." if window > 1 else ""
    return Figure(
        "gradients", "Gradient norm", Plot(STEP, Axis("norm of the gradient", log=True), layers),
        f"Gradient norm of the experts, at the end {last_finite(quiet(np.nanmean, norm)):.3g} on average.",
        f"Norm over all parameters of an expert, before clipping, on a logarithmic axis.{said}{how}",
        Table(["step"] + [f"grad_norm_expert_{k}" for k in range(run.n_experts)], rows_of(steps, *norm.T)),
        legend)


def learning_rate(run: Run) -> Optional[Figure]:
    steps, lr = aligned(run.history, "lr")
    if not len(steps) or not np.isfinite(lr).any():
        return None
    low, high = quiet(np.nanmin, lr), quiet(np.nanmax, lr)
    layers: List[Layer]
    if np.nanmax(high - low) <= 1e-6 * np.nanmax(high):
        layers, legend = [Line("cq strong", "all experts", steps, quiet(np.nanmean, lr))], [("cq", "all experts")]
    else:
        layers, legend = expert_layers(run, steps, lr)
    schedule = run.config.get("train.schedule", "?")
    return Figure(
        "lr", "Learning rate", Plot(STEP, Axis("learning rate", low=0.0), layers),
        f"Learning rate, {last_finite(high):.3g} at step {steps[-1]}, at most {np.nanmax(high):.3g}.",
        f"As AdamW used it: {run.config.get('train.warmup', '?')} steps of warm-up, then '{schedule}'.",
        Table(["step"] + [f"lr_expert_{k}" for k in range(run.n_experts)], rows_of(steps, *lr.T)), legend)


def section(run: Run) -> Section:
    made = Section("losses", "What was learnt")
    for figure in (training_loss, fitness, advantage, spread, gradients, learning_rate):
        made.add(figure(run))
    if not made.figures:
        made.notes.append("Nothing finite has been recorded: the first judging comes before the first step.")
    return made
