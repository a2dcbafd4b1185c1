"""Two runs beside each other."""
from __future__ import annotations

import math
from html import escape
from typing import List, Optional, Sequence

import numpy as np

from .config import option_text
from .costs import cost_of, pace
from .figure import Figure, Section, aligned, quiet, smooth, window_for
from .losses import STEP
from .plot import Layer, Line, Plot
from .run import Run
from .scale import Axis, bytes_text, percent_text, seconds_text, short, time_unit
from .table import Table

CSS = ("ra", "rb")


def labels(runs: Sequence[Run]) -> List[str]:
    """Names that tell the runs apart."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _overlay(key: str, title: str, x: Axis, y: Axis, curves, names: List[str], caption: str) -> Optional[Figure]:
    """curves: for each run its x and y."""
    if not any(np.isfinite(y).any() for _, y in curves):
        return None
    layers: List[Layer] = [Line(f"{CSS[i]} strong", names[i], a, b) for i, (a, b) in enumerate(curves)]
    ends = [f"{names[i]} ends at {b[np.isfinite(b)][-1]:.4g}" for i, (_, b) in enumerate(curves) if np.isfinite(b).any()]
    rows = [(names[i], float(p), float(q)) for i, (a, b) in enumerate(curves) for p, q in zip(a, b)]
    return Figure(key, title, Plot(x, y, layers), f"{title}: {'; '.join(ends)}.", f"{caption} {'; '.join(ends)}.",
                  Table(["run", x.label, y.label], rows), [(CSS[i], name) for i, name in enumerate(names)])


def _curves(runs: Sequence[Run]) -> List[Optional[Figure]]:
    names = labels(runs)
    judged = [(r.judgings.step, quiet(np.nanmin, r.judgings.fitness)) for r in runs]
    timed = [np.asarray(r.judgings.time) for r in runs]
    size, unit = time_unit(np.concatenate(timed))
    loss, apart = [], []
    for run in runs:
        steps, values = aligned(run.history, "loss")
        loss.append((steps, smooth(quiet(np.nanmean, values), window_for(len(steps)))))
        experts = run.judgings.fitness[:, :run.n_experts]
        wide = quiet(np.nanmax, experts) - quiet(np.nanmin, experts)
        apart.append((run.judgings.step, np.where(wide > 0, wide, np.nan)))
    speed = []
    for run in runs:
        steps, time, tokens = pace(run)
        speed.append((time / size, tokens / 1e6))
    nats = Axis("fitness of the best (nats per token)", log=True)
    return [
        _overlay("c-fitness", "Best fitness by step", STEP, nats, judged, names,
                 "The lowest fitness of any member at each judging."),
        _overlay("c-time", "Best fitness by time", Axis(f"time ({unit})"), nats,
                 [(t / size, y) for t, (_, y) in zip(timed, judged)], names, "The same against the clock."),
        _overlay("c-loss", "Training loss", STEP, Axis("training loss (nats per token)", log=True), loss, names,
                 "Mean over experts, smoothed as a running mean."),
        _overlay("c-spread", "Spread of fitness", STEP, Axis("worst less best expert (nats)", log=True), apart, names,
                 "How much the experts differ at each judging; zero is not drawn."),
        _overlay("c-tokens", "Tokens by time", Axis(f"time ({unit})"), Axis("tokens of all experts (millions)"), speed,
                 names, "How fast the runs read."),
    ]


def options_table(runs: Sequence[Run]) -> str:
    names = [escape(n) for n in labels(runs)]
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    differ = [k for k in keys if len({str(run.config.get(k)) for run in runs}) > 1 and k not in ("run.name", "run.out")]
    rows = "".join(f"<tr><th scope=row><code>{escape(k)}</code></th>" + "".join(
        f"<td>{escape(option_text(run.config.get(k)))}</td>" for run in runs) + "</tr>" for k in differ)
    if not rows:
        return "<p>All options but name and directory are the same.</p>"
    head = "".join(f"<th scope=col>{n}</th>" for n in names)
    return (f"<div class=scroll><table><caption>Options that differ ({len(differ)} of {len(keys)})</caption><thead><tr>"
            f"<th scope=col>option</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def _measures(run: Run) -> List[str]:
    best, cost = run.best, cost_of(run)
    steps, time, tokens = pace(run)
    speed = tokens[-1] / time[-1] if len(steps) and time[-1] > 0 else math.nan
    loss = np.concatenate([h.loss[-max(1, len(h.loss) // 20):] for h in run.history] or [np.zeros(0)])
    return [f"{best.fitness:.4f} ({best.name}, step {best.step})" if best else "–",
            f"{np.nanmean(loss):.4f}" if np.isfinite(loss).any() else "–", f"{run.step:,} of {run.steps:,}",
            short(tokens[-1]) if len(tokens) else "–", seconds_text(run.time_s), f"{short(speed)} tokens/s",
            percent_text(cost.rounds_share), bytes_text(cost.bytes_per_step)]


def measures_table(runs: Sequence[Run]) -> str:
    what = ["best fitness", "training loss (last 5 %)", "steps", "tokens", "time", "throughput", "time in rounds",
            "sent per step"]
    head = "".join(f"<th scope=col>{escape(n)}</th>" for n in labels(runs))
    columns = [_measures(run) for run in runs]
    rows = "".join(f"<tr><th scope=row>{w}</th>" + "".join(f"<td>{c[i]}</td>" for c in columns) + "</tr>"
                   for i, w in enumerate(what))
    return (f"<div class=scroll><table><caption>Side by side</caption><thead><tr><th scope=col></th>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>")


def verdict(runs: Sequence[Run]) -> str:
    names = labels(runs)
    best = [run.best.fitness for run in runs if run.best]
    if len(best) < len(runs):
        return "One of the runs has no judging yet."
    first, second = (0, 1) if best[0] <= best[1] else (1, 0)
    gap = best[second] - best[first]
    if gap == 0:
        return f"Both runs reach the same best fitness, {best[0]:.4f}."
    same = runs[0].step == runs[1].step
    return (f"{names[first]} reaches {best[first]:.4f}, {gap:.4f} nats better than {names[second]} with "
            f"{best[second]:.4f}" + (" after the same number of steps." if same else
            f", after {runs[first].step:,} and {runs[second].step:,} steps."))


def section(runs: Sequence[Run]) -> Section:
    made = Section("comparison", "The two runs compared")
    for figure in _curves(runs):
        made.add(figure)
    made.tables = [measures_table(runs), options_table(runs)]
    return made
