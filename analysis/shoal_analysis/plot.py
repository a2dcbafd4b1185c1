"""Plots as SVG that is part of the page: colours are the page's classes, so they follow its theme.

A plot is a list of layers over two axes; it can be drawn at any width. Layers with more points than
pixels keep the first, last, lowest and highest point of every pixel column, so that no peak is lost.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import List, Optional, Sequence, Tuple

import numpy as np

from .scale import Axis, Scale

Array = np.ndarray
LONGEST = 24   # signs of a label on the y axis


def _px(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def thin(x: Array, y: Array, columns: int) -> Tuple[Array, Array]:
    """The points of a line that show at so many pixel columns. x is in pixels, ascending."""
    if len(x) <= 4 * columns:
        return x, y
    column = ((x - x[0]) / max(x[-1] - x[0], 1e-9) * columns).astype(np.int64)
    keep: List[int] = []
    bounds = np.flatnonzero(np.diff(column)) + 1
    for part in np.split(np.arange(len(x)), bounds):
        values = y[part]
        picks = {int(part[0]), int(part[-1])}
        if np.isfinite(values).any():
            picks |= {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
        keep += sorted(picks)
    return x[keep], y[keep]


def _path(x: Array, y: Array, step: bool = False) -> str:
    """A path that is interrupted where y is not finite; a value between two gaps becomes a dot."""
    parts: List[str] = []
    pen = False
    for at in range(len(x)):
        if not (math.isfinite(x[at]) and math.isfinite(y[at])):
            pen = False
            continue
        if not pen:
            parts.append(f"M{_px(x[at])} {_px(y[at])}h0")
        elif step:
            parts.append(f"H{_px(x[at])}V{_px(y[at])}")
        else:
            parts.append(f"L{_px(x[at])} {_px(y[at])}")
        pen = True
    return "".join(parts)


@dataclass
class Layer:
    """css: classes that say how it looks. name: shown when the pointer rests on it."""
    css: str
    name: str = ""

    def points(self) -> Tuple[Array, Array]:
        """All coordinates, for the axes."""
        raise NotImplementedError

    def draw(self, sx: Scale, sy: Scale) -> str:
        raise NotImplementedError

    def titled(self, body: str) -> str:
        return f"<g><title>{escape(self.name)}</title>{body}</g>" if self.name and body else body


@dataclass
class Line(Layer):
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))
    step: bool = False
    sorted: bool = True   # whether x ascends, as time does

    def points(self) -> Tuple[Array, Array]:
        return np.asarray(self.x, float), np.asarray(self.y, float)

    def draw(self, sx: Scale, sy: Scale) -> str:
        x, y = sx(self.x), sy(self.y)
        if self.sorted:
            x, y = thin(x, y, int(abs(sx.px[1] - sx.px[0])))
        path = _path(x, y, self.step)
        return self.titled(f'<path class="line {self.css}" d="{path}"/>') if path else ""


@dataclass
class Band(Layer):
    x: Array = field(default_factory=lambda: np.zeros(0))
    low: Array = field(default_factory=lambda: np.zeros(0))
    high: Array = field(default_factory=lambda: np.zeros(0))

    def points(self) -> Tuple[Array, Array]:
        return np.concatenate([self.x, self.x]).astype(float), np.concatenate([self.low, self.high])

    def draw(self, sx: Scale, sy: Scale) -> str:
        good = np.isfinite(self.low) & np.isfinite(self.high)
        if not good.any():
            return ""
        x, low, high = sx(self.x[good]), sy(self.low[good]), sy(self.high[good])
        columns = int(abs(sx.px[1] - sx.px[0]))
        down, up = thin(x, low, columns), thin(x, high, columns)
        ring = list(zip(*down)) + list(zip(*up))[::-1]
        body = "L".join(f"{_px(a)} {_px(b)}" for a, b in ring)
        return self.titled(f'<path class="band {self.css}" d="M{body}Z"/>')


@dataclass
class Dots(Layer):
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))
    radius: float = 3.5
    names: Optional[Sequence[str]] = None   # of each dot

    def points(self) -> Tuple[Array, Array]:
        return np.asarray(self.x, float), np.asarray(self.y, float)

    def draw(self, sx: Scale, sy: Scale) -> str:
        out = []
        for at, (x, y) in enumerate(zip(sx(self.x), sy(self.y))):
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            shape = f'<circle class="dot {self.css}" cx="{_px(x)}" cy="{_px(y)}" r="{self.radius:g}"'
            title = f"<title>{escape(self.names[at])}</title>" if self.names else ""
            out.append(f"{shape}>{title}</circle>" if title else shape + "/>")
        return self.titled("".join(out))


@dataclass
class Bars(Layer):
    """Horizontal bars from `start` (0 where None) to x at the rows y."""
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))
    start: Optional[Array] = None
    names: Optional[Sequence[str]] = None
    thick: float = 14

    def _start(self) -> Array:
        return np.zeros(len(self.x)) if self.start is None else np.asarray(self.start, float)

    def points(self) -> Tuple[Array, Array]:
        return np.concatenate([self._start(), self.x]), np.concatenate([self.y, self.y])

    def draw(self, sx: Scale, sy: Scale) -> str:
        half = 0.34 * abs(float(sy(1.0) - sy(0.0)))
        half = min(half, self.thick)
        out = []
        for at, (a, b, y) in enumerate(zip(sx(self._start()), sx(self.x), sy(self.y))):
            if not (math.isfinite(a) and math.isfinite(b)):
                continue
            title = f"<title>{escape(self.names[at])}</title>" if self.names else ""
            out.append(f'<rect class="bar {self.css}" x="{_px(min(a, b))}" y="{_px(y - half)}" '
                       f'width="{_px(max(abs(b - a), 2))}" height="{_px(2 * half)}">{title}</rect>')
        return self.titled("".join(out))


@dataclass
class Arrows(Layer):
    """Curves from (x0, y0) to (x1, y1)."""
    x0: Array = field(default_factory=lambda: np.zeros(0))
    y0: Array = field(default_factory=lambda: np.zeros(0))
    x1: Array = field(default_factory=lambda: np.zeros(0))
    y1: Array = field(default_factory=lambda: np.zeros(0))

    def points(self) -> Tuple[Array, Array]:
        return (np.concatenate([self.x0, self.x1]).astype(float),
                np.concatenate([self.y0, self.y1]).astype(float))

    def draw(self, sx: Scale, sy: Scale) -> str:
        out = []
        for a, b, c, d in zip(sx(self.x0), sy(self.y0), sx(self.x1), sy(self.y1)):
            bend = (a + c) / 2
            out.append(f"M{_px(a)} {_px(b)}C{_px(bend)} {_px(b)} {_px(bend)} {_px(d)} {_px(c)} {_px(d)}")
        return self.titled(f'<path class="line {self.css}" d="{"".join(out)}"/>') if out else ""


@dataclass
class Cells(Layer):
    """A matrix of shades: value[i, j] in 0..1 at row i, column j; NaN stays empty. texts are written into the
    cells where they fit."""
    value: Array = field(default_factory=lambda: np.zeros((0, 0)))
    names: Optional[Sequence[Sequence[str]]] = None
    texts: Optional[Sequence[Sequence[str]]] = None

    def points(self) -> Tuple[Array, Array]:
        return np.zeros(0), np.zeros(0)

    def draw(self, sx: Scale, sy: Scale) -> str:
        rows, columns = self.value.shape
        width, height = abs(float(sx(1.0) - sx(0.0))), abs(float(sy(1.0) - sy(0.0)))
        gap = 1 if min(width, height) > 6 else 0
        out = []
        for i, j in zip(*np.nonzero(np.isfinite(self.value))):
            x, y = float(sx(j)), float(sy(i))
            title = f"<title>{escape(self.names[i][j])}</title>" if self.names else ""
            out.append(f'<rect class="cell" x="{_px(x - width / 2)}" y="{_px(y - height / 2)}" '
                       f'width="{_px(width - gap)}" height="{_px(height - gap)}" '
                       f'fill-opacity="{self.value[i, j]:.2f}">{title}</rect>')
            if self.texts and width > 7 * len(self.texts[i][j]) + 6 and height > 16:
                css = "oncell" if self.value[i, j] > 0.5 else "label"
                out.append(f'<text class="{css}" x="{_px(x)}" y="{_px(y + 4)}" text-anchor="middle">'
                           f"{escape(self.texts[i][j])}</text>")
        return "".join(out)


@dataclass
class Plot:
    x: Axis
    y: Axis
    layers: Sequence[Layer]
    height: float = 280
    rule: Optional[float] = None   # a horizontal line at this y, for comparison

    def draw(self, width: float, title: str, text: str, key: str) -> str:
        """The SVG. title and text are what a screen reader says; key makes ids unique."""
        xs, ys = self._data()
        left = self._left(ys)
        right, top, bottom = 14, 26, 44
        sx = Scale(self.x, xs, left, width - right)
        sy = Scale(self.y, ys, self.height - bottom, top)
        if self.y.names is not None:   # the first category on top
            sy = Scale(self.y, ys, top, self.height - bottom)
        body = [self._grid(sx, sy), f'<g clip-path="url(#{key}-clip)">']
        body += [layer.draw(sx, sy) for layer in self.layers]
        body += ["</g>", self._labels(sx, sy, width)]
        clip = (f'<clipPath id="{key}-clip"><rect x="{_px(left - 5)}" y="{top - 5}" '
                f'width="{_px(width - right - left + 10)}" height="{_px(self.height - bottom - top + 10)}"/>'
                "</clipPath>")
        return (f'<svg viewBox="0 0 {_px(width)} {_px(self.height)}" role="img" '
                f'aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{escape(title)}</title>'
                f'<desc id="{key}-d">{escape(text)}</desc><defs>{clip}</defs>{"".join(body)}</svg>')

    def _data(self) -> Tuple[Array, Array]:
        points = [layer.points() for layer in self.layers] or [(np.zeros(0), np.zeros(0))]
        xs, ys = (np.concatenate([np.asarray(p[i], float) for p in points]) for i in (0, 1))
        return xs, (ys if self.rule is None else np.append(ys, self.rule))

    def _left(self, ys: Array) -> float:
        """Room for the labels of y."""
        scale = Scale(self.y, ys, self.height, 0)
        longest = max([len(text) for _, text in scale.ticks(7)] + [1])
        return 14 + 6.6 * min(longest, LONGEST)

    def _tick_count(self, scale: Scale, per_px: float) -> int:
        return max(2, int(abs(scale.px[1] - scale.px[0]) / per_px))

    def _x_ticks(self, sx: Scale) -> List[Tuple[float, str]]:
        ticks = sx.ticks(self._tick_count(sx, 62))
        if self.x.names is None:
            return ticks
        longest = max([len(t) for _, t in ticks] + [1])
        room = abs(sx.px[1] - sx.px[0]) / max(len(ticks), 1)
        return ticks[::max(1, math.ceil((6.4 * longest + 8) / max(room, 1e-9)))]

    def _y_ticks(self, sy: Scale) -> List[Tuple[float, str]]:
        ticks = sy.ticks(self._tick_count(sy, 34))
        if self.y.names is None:
            return ticks
        room = abs(sy.px[1] - sy.px[0]) / max(len(ticks), 1)
        return ticks[::max(1, math.ceil(13 / max(room, 1e-9)))]

    def _grid(self, sx: Scale, sy: Scale) -> str:
        x0, x1 = sorted(sx.px)
        out = []
        if self.y.names is None:
            out = [f'<path class="grid" d="M{_px(x0)} {_px(float(sy(v)))}H{_px(x1)}"/>'
                   for v, _ in self._y_ticks(sy)]
        if self.rule is not None:
            out.append(f'<path class="rule" d="M{_px(x0)} {_px(float(sy(self.rule)))}H{_px(x1)}"/>')
        return "".join(out)

    def _labels(self, sx: Scale, sy: Scale, width: float) -> str:
        y0, y1 = sorted(sy.px)
        x0, x1 = sorted(sx.px)
        out = [f'<path class="axis" d="M{_px(x0)} {_px(y1 + 2)}H{_px(x1)}"/>']
        for value, text in self._x_ticks(sx):
            at = float(sx(value))
            half = 3.2 * len(text)
            shift = min(0.0, width - 2 - (at + half))   # the last label stays inside
            out.append(f'<path class="axis" d="M{_px(at)} {_px(y1 + 2)}v4"/>'
                       f'<text x="{_px(at + shift)}" y="{_px(y1 + 18)}" text-anchor="middle">{escape(text)}</text>')
        for value, text in self._y_ticks(sy):
            label = text if len(text) <= LONGEST else text[:LONGEST - 1] + "…"
            out.append(f'<text x="{_px(x0 - 7)}" y="{_px(float(sy(value)) + 4)}" text-anchor="end">'
                       f"{escape(label)}</text>")
        centre = min((x0 + x1) / 2, width - 4 - 3.3 * len(self.x.label))
        out.append(f'<text class="label" x="{_px(max(centre, 3.3 * len(self.x.label) + 2))}" y="{_px(y1 + 38)}" text-anchor="middle">'
                   f"{escape(self.x.label)}</text>")
        # Above the axis and upright: it is read without turning the head and never longer than its room.
        out.append(f'<text class="label" x="2" y="{_px(y0 - 12)}">{escape(self.y.label)}</text>')
        return "".join(out)
