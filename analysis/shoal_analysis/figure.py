"""A figure: a plot, what it says in words, and the numbers behind it; and what figures share."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import numpy as np

from .metrics import History
from .plot import Band, Layer, Line, Plot
from .run import Run
from .table import Table

FEW = 8   # experts that have a line and a colour each; more become bands


@dataclass
class Figure:
    key: str
    title: str
    plot: Plot
    alt: str                                  # what one sees, for who cannot
    caption: str                              # what is shown and how it was measured
    table: Table
    legend: Sequence[Tuple[str, str]] = ()    # (classes of the swatch, text)


@dataclass
class Section:
    key: str
    title: str
    figures: List[Figure] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)    # plain text
    tables: List[str] = field(default_factory=list)   # HTML

    def add(self, figure: Optional[Figure]) -> None:
        if figure:
            self.figures.append(figure)


def member_css(run: Run, member: int) -> str:
    return "cm" if member >= run.n_experts else f"c{member % FEW}"


def count_of(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over `window` neighbours, those that are finite; as long as values."""
    if window <= 1 or len(values) == 0:
        return values
    good = np.isfinite(values)
    kernel = np.ones(min(window, len(values)))
    total = np.convolve(np.where(good, values, 0.0), kernel, "same")
    count = np.convolve(good.astype(float), kernel, "same")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0.5, total / count, math.nan)


def window_for(records: int) -> int:
    return max(1, records // 60) | 1


def aligned(histories: Sequence[History], what: str) -> Tuple[np.ndarray, np.ndarray]:
    """Steps, and (steps, experts) values; NaN where an expert has no record of a step."""
    steps = np.unique(np.concatenate([h.step for h in histories] or [np.zeros(0, np.int64)]))
    values = np.full((len(steps), len(histories)), np.nan)
    for k, history in enumerate(histories):
        values[np.searchsorted(steps, history.step), k] = getattr(history, what)
    return steps, values


def quiet(function, values: np.ndarray, *arguments) -> np.ndarray:
    """A nan-function along experts, NaN instead of a warning where a row has none."""
    out = np.full(values.shape[:1], np.nan)
    rows = np.isfinite(values).any(axis=1)
    if rows.any():
        out[rows] = function(np.where(np.isfinite(values[rows]), values[rows], np.nan), *arguments, axis=1)
    return out


def first_finite(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else math.nan


def last_finite(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else math.nan


def ranking(run: Run) -> List[int]:
    """Experts, best first: by the last judging that had a finite fitness, else by training loss."""
    fitness = run.judgings.fitness[:, :run.n_experts]
    rows = np.flatnonzero(np.isfinite(fitness).any(axis=1))
    score = fitness[rows[-1]] if len(rows) else np.array([last_finite(h.loss) for h in run.history])
    return [int(k) for k in np.argsort(np.where(np.isfinite(score), score, np.inf), kind="stable")]


def expert_layers(run: Run, steps: np.ndarray, values: np.ndarray, pull: int = 1
                  ) -> Tuple[List[Layer], List[Tuple[str, str]]]:
    """Lines of all experts with the best one on top, or bands, best and worst where they are many.
    values: (steps, experts); pull: records to smooth over."""
    order = ranking(run)
    if run.n_experts <= FEW:
        layers: List[Layer] = []
        for k in reversed(order):
            css = member_css(run, k) + (" strong" if k == order[0] else " weak")
            layers.append(Line(css, run.member(k), steps, smooth(values[:, k], pull)))
        names = [(member_css(run, k), run.member(k) + (" (best expert)" if k == order[0] else ""))
                 for k in sorted(order)]
        return layers, names
    smoothed = np.stack([smooth(values[:, k], pull) for k in range(run.n_experts)], axis=1)
    low, high = quiet(np.nanmin, smoothed), quiet(np.nanmax, smoothed)
    q1, q2, q3 = (quiet(np.nanpercentile, smoothed, q) for q in (25, 50, 75))
    best, worst = order[0], order[-1]
    layers = [Band("cq light", "all experts", steps, low, high),
              Band("cq", "middle half of the experts", steps, q1, q3),
              Line("cq", "median expert", steps, q2),
              Line("c1", f"worst: {run.member(worst)}", steps, smoothed[:, worst]),
              Line("c0 strong", f"best: {run.member(best)}", steps, smoothed[:, best])]
    legend = [("cq light", f"all {run.n_experts} experts"), ("cq band", "middle half"), ("cq", "median"),
              ("c0", f"best now ({run.member(best)})"), ("c1", f"worst now ({run.member(worst)})")]
    return layers, legend
