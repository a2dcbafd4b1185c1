"""How far experts are from each other, measured on the weights in snapshots.

Where a run is large, an evenly spread sample of the weights is read instead of all: of each tensor the
same rows in every shard, so that differences stay differences.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

import h5py
import numpy as np

from .snapshots import Snapshot, open_file

VALUES = 24_000_000        # to read at most for one Sample
PRODUCTS = 3_000_000_000   # multiplications of a Gram matrix at most
BLOCKS = 4                 # pieces that the sample of a tensor is made of


@dataclass
class Sample:
    """values: (shards, n) float32; where: the columns of each tensor; share: of the weights, in 0..1."""
    values: np.ndarray
    where: Dict[str, slice]
    share: float


def _names(group: h5py.Group) -> List[Tuple[str, Tuple[int, ...]]]:
    found: List[Tuple[str, Tuple[int, ...]]] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item.shape))
    group.visititems(note)
    return found


def _pieces(rows: int, share: float) -> List[Tuple[int, int]]:
    """Evenly spread blocks of rows that make up that share."""
    wanted = max(1, round(share * rows))
    if wanted >= rows:
        return [(0, rows)]
    blocks = min(BLOCKS, wanted)
    size = wanted // blocks
    starts = np.linspace(0, rows - size, blocks).round().astype(int)
    return [(int(s), int(s) + size) for s in starts]


def sample(shards: Sequence[Any], slab: str = "params") -> Sample:
    """Of that slab of each shard (paths). Shards without the slab: an empty sample."""
    with open_file(shards[0]) as file:
        tensors = _names(file[slab]) if slab in file else []
    total = sum(int(np.prod(shape)) for _, shape in tensors)
    if total == 0:
        return Sample(np.zeros((len(shards), 0), np.float32), {}, 1.0)
    most = min(VALUES / len(shards), PRODUCTS / len(shards) ** 2)
    share = min(1.0, most / total)
    plan = [(name, _pieces(shape[0], share)) for name, shape in tensors]
    where, at = {}, 0
    for (name, shape), (_, pieces) in zip(tensors, plan):
        count = sum(b - a for a, b in pieces) * int(np.prod(shape[1:]))
        where[name.replace("/", ".")] = slice(at, at + count)
        at += count
    values = np.empty((len(shards), at), np.float32)
    for row, path in enumerate(shards):
        with open_file(path) as file:
            parts = [file[f"{slab}/{name}"][a:b].ravel() for name, pieces in plan for a, b in pieces]
            values[row] = np.concatenate(parts)
    return Sample(values, where, at / total)


def distances(values: np.ndarray) -> np.ndarray:
    """(rows, rows) Euclidean distances; centred first, so that close rows keep their digits."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    gram = (centred @ centred.T).astype(np.float64)
    square = np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2 * gram
    # Rows that are equal differ by the rounding of the products.
    size = np.maximum(np.diag(gram)[:, None], np.diag(gram)[None, :])
    np.fill_diagonal(square, 0)
    return np.sqrt(np.where(square > 1e-6 * size, square, 0))


def norms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))


def relative(values: np.ndarray) -> np.ndarray:
    """Distances as a share of the mean norm of the rows."""
    scale = float(norms(values).mean())
    return distances(values) / scale if scale > 0 else np.zeros((len(values), len(values)))


def project(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(rows, 2) coordinates along the first two principal components, and their shares of variance."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    gram = (centred @ centred.T).astype(np.float64)
    power, vectors = np.linalg.eigh(gram)
    power = np.maximum(power, 0)
    top = np.argsort(power)[::-1][:2]
    if power.sum() <= 0 or len(top) < 2:
        return np.zeros((len(values), 2)), np.zeros(2)
    return vectors[:, top] * np.sqrt(power[top]), power[top] / power.sum()


def disagreement(data: Sample) -> Dict[str, float]:
    """By tensor: root mean square distance of a weight from its mean over experts, as a share of the
    tensor's root mean square."""
    found = {}
    for name, columns in data.where.items():
        x = data.values[:, columns].astype(np.float64)
        size = math.sqrt(float((x ** 2).mean())) if x.size else 0.0
        apart = math.sqrt(float(((x - x.mean(axis=0)) ** 2).mean())) if x.size else 0.0
        found[name] = apart / size if size > 0 else 0.0
    return found


def attraction(shards: Sequence[Any]) -> Tuple[np.ndarray, np.ndarray]:
    """Steps of judgings, and (judgings, shards) distances to the attractor of the round after each, as shares of the
    weights' norm; NaN where there was none, or the shard does not know."""
    known: List[Dict[int, float]] = []
    for path in shards:
        with open_file(path) as file:
            group = file.get("history/tensors")
            if group is None:
                known.append({})
                continue
            size = np.linalg.norm(group["weight_norm"][...].astype(np.float64), axis=1)
            apart = group["distance"][...].astype(np.float64)
            far = np.sqrt(np.nansum(apart ** 2, axis=1))
            share = np.where(np.isfinite(apart).any(axis=1) & (size > 0), far / np.where(size > 0, size, 1), np.nan)
            known.append(dict(zip(group["step"][...].tolist(), share.tolist())))
    steps = sorted(set().union(*known))
    table = [[of_shard.get(step, math.nan) for of_shard in known] for step in steps]
    return np.array(steps, dtype=np.int64), np.array(table, dtype=np.float64).reshape(len(steps), len(shards))


def evenly(count: int, most: int) -> List[int]:
    """At most so many indices below count, first and last among them."""
    if count <= most:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, most).round().astype(int).tolist()))


def shards_of(snapshots: Sequence[Snapshot], experts: Sequence[int]) -> List[Any]:
    return [s.shards[k] for s in snapshots for k in experts]
