"""Numbers on axes and in text: ticks at round values, units that keep them short."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import numpy as np

_BYTES = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")]
_SECONDS = [(86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"), (1e-3, "ms")]
_COUNT = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")]


def unit_of(values: np.ndarray, units: List[Tuple[float, str]], at_least: float = 2) -> Tuple[float, str]:
    """The largest unit of which the largest value has at_least many."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    for size, name in units:
        if largest >= at_least * size:
            return size, name
    return units[-1]


def time_unit(values: np.ndarray) -> Tuple[float, str]:
    return unit_of(values, _SECONDS)


def byte_unit(values: np.ndarray) -> Tuple[float, str]:
    return unit_of(values, _BYTES, 1)


def short(value: float, digits: int = 3) -> str:
    """1234567 as 1.23M."""
    if not math.isfinite(value):
        return "–"
    size, name = unit_of(np.array([value]), _COUNT, 1)
    return f"{value / size:.{digits}g}{name}" if size > 1 else f"{value:.{digits}g}"


def bytes_text(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    size, name = byte_unit(np.array([value]))
    return f"{value / size:.3g} {name}"


def seconds_text(value: float) -> str:
    """8.3 ms, 12.1 s, 2m05s, 3h07m."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    whole = int(round(value))
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole // 60 % 60:02}m"


def percent_text(share: float) -> str:
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.3g} %"


@dataclass(frozen=True)
class Axis:
    """What an axis shows. Units belong into the label."""
    label: str
    log: bool = False
    low: Optional[float] = None     # bounds, where the data should not decide
    high: Optional[float] = None
    names: Optional[Tuple[str, ...]] = None   # categories at 0, 1, 2, ...


def _step(span: float, at_most: int) -> float:
    raw = span / max(at_most, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    return next(size * m for m in (1, 2, 5, 10) if size * m >= raw * (1 - 1e-9))


def _plain(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(value) >= 1e4 and digits == 0:
        return short(value, 6)
    text = f"{value:.{digits}f}" if digits <= 5 else f"{value:.2g}"
    return text.replace("-", "−")


def linear_ticks(low: float, high: float, at_most: int) -> List[Tuple[float, str]]:
    """At most so many round values within [low, high]."""
    step = _step(high - low, at_most)
    first = math.ceil(low / step - 1e-9)
    count = int(math.floor(high / step + 1e-9)) - first + 1
    return [((first + i) * step, _plain((first + i) * step, step)) for i in range(max(count, 0))]


_FACTORS = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def log_ticks(low: float, high: float, at_most: int) -> List[Tuple[float, str]]:
    """Round values, as many as fit; within an octave those of a linear axis."""
    if high < 2 * low:
        return linear_ticks(low, high, at_most)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors, stride in [(f, 1) for f in _FACTORS] + [((1,), s) for s in (2, 3, 6, 12)]:
        ticks = [f * 10.0 ** e for e in range(first, last + 1, stride) for f in factors]
        ticks = [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
        if len(ticks) <= at_most:
            return [(t, _log_text(t)) for t in ticks]
    return [(low, _log_text(low)), (high, _log_text(high))]


def _log_text(value: float) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    return short(value) if value >= 1 else f"{value:.0e}".replace("e-0", "e-").replace("-", "−")


class Scale:
    """Data to pixels along one axis."""

    def __init__(self, axis: Axis, data: np.ndarray, first_px: float, last_px: float) -> None:
        self.axis, self.px = axis, (first_px, last_px)
        if axis.names is not None:
            self.low, self.high = -0.5, max(len(axis.names), 1) - 0.5
            return
        finite = data[np.isfinite(data) & (data > 0 if axis.log else True)]
        low = float(finite.min()) if finite.size else (1.0 if axis.log else 0.0)
        high = float(finite.max()) if finite.size else (10.0 if axis.log else 1.0)
        low, high = (low if axis.low is None else axis.low), (high if axis.high is None else axis.high)
        self.low, self.high = self._with_margin(low, high)

    def _with_margin(self, low: float, high: float) -> Tuple[float, float]:
        if self.axis.log:
            room = max((high / low) ** 0.05, 1.1 if high > low else 2.0)
            return low / room, high * room
        span = high - low
        if span <= 1e-12 * max(abs(low), abs(high), 1e-300):
            span = abs(low) or 1.0
        room = 0.04 * span
        if high == low:
            return (low if self.axis.low == low else low - 0.5 * span), high + 0.5 * span
        return (low if self.axis.low is not None else low - room,
                high if self.axis.high is not None else high + room)

    def __call__(self, value: Union[float, np.ndarray]) -> np.ndarray:
        value = np.asarray(value, dtype=np.float64)
        if self.axis.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (np.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.px[0] + share * (self.px[1] - self.px[0])

    def ticks(self, at_most: int) -> List[Tuple[float, str]]:
        if self.axis.names is not None:
            return [(float(i), name) for i, name in enumerate(self.axis.names)]
        if self.axis.log:
            return log_ticks(self.low, self.high, at_most)
        return linear_ticks(self.low, self.high, at_most)
