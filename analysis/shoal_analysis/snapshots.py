"""Snapshots and shards, read with h5py and closed again after every access.

Files of a run appear whole or not at all, so reading beside a running program is safe; a snapshot may
only vanish, when the run prunes it.
"""
from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Tuple

import h5py
import numpy as np

from .errors import RunError

_STEP = re.compile(r"step-(\d+)\.h5")


def open_file(path: pathlib.Path) -> h5py.File:
    """Read only. Locks are not needed, as nobody writes to a file that has its name, and some file systems have
    none; but HDF5 wants all who open a file in one process to agree on them, so its default comes first."""
    try:
        return h5py.File(path, "r")
    except OSError:
        pass
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be opened as HDF5: {error}; `shoal inspect` says more") from error


def read_attributes(path: pathlib.Path) -> Dict[str, Any]:
    with open_file(path) as file:
        return {key: value.item() if isinstance(value, np.generic) else value
                for key, value in file.attrs.items()}


class Weights(Mapping):
    """Tensors of one shard by their dotted names, read when they are asked for.

    slab: "params", or "optim/m", "optim/v", "evo/velocity", "evo/own_best" where the shard has them.
    """

    def __init__(self, path: pathlib.Path, slab: str = "params") -> None:
        self.path, self.slab = pathlib.Path(path), slab
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        with open_file(self.path) as file:
            if slab in file:
                file[slab].visititems(self._note)

    def _note(self, name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            self.shapes[name.replace("/", ".")] = item.shape

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(f"{self.path} has no tensor {name!r} in /{self.slab}")
        with open_file(self.path) as file:
            return file[f"{self.slab}/{name.replace('.', '/')}"][...]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def count(self) -> int:
        """Values in all tensors."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


@dataclass(frozen=True)
class Snapshot:
    """A committed snapshot: all experts at one step."""
    step: int
    path: pathlib.Path           # of its index
    shards: Tuple[pathlib.Path, ...]
    attributes: Dict[str, Any]   # of the index

    @property
    def time_s(self) -> float:
        return float(self.attributes.get("time_s", float("nan")))

    @property
    def bytes(self) -> int:
        return sum(p.stat().st_size for p in (self.path, *self.shards))

    def weights(self, expert: int, slab: str = "params") -> Weights:
        return Weights(self.shards[expert], slab)

    def expert(self, number: int) -> Dict[str, Any]:
        """The root attributes of that expert's shard."""
        return read_attributes(self.shards[number])

    def ledger(self) -> Dict[str, np.ndarray]:
        """judgings (a table) and fitness (judgings, members), as the coordinator kept them."""
        with open_file(self.path) as file:
            return {name: item[...] for name, item in file.get("ledger", {}).items()}


def _open_snapshot(run: pathlib.Path, step: int, path: pathlib.Path) -> Snapshot:
    attributes = read_attributes(path)
    if attributes.get("format") != "shoal-snapshot":
        raise RunError(f"{path}: is not the index of a snapshot")
    shards = tuple(run / f"experts/{k:04}" / path.name for k in range(int(attributes["experts"])))
    for shard in shards:
        if not shard.is_file():
            raise RunError(f"{path}: its shard {shard} is missing")
    return Snapshot(step, path, shards, attributes)


def find_snapshots(run: pathlib.Path) -> Tuple[List[Snapshot], List[str]]:
    """Oldest first, and what is wrong with those that cannot be read."""
    found, problems = [], []
    for path in sorted((run / "snapshots").glob("step-*.h5")):
        match = _STEP.fullmatch(path.name)
        if not match:
            continue
        try:
            found.append(_open_snapshot(run, int(match[1]), path))
        except (RunError, OSError, KeyError) as error:
            problems.append(str(error))
    return sorted(found, key=lambda s: s.step), problems
