"""A run directory as one object; every part is read when it is first asked for."""
from __future__ import annotations

import math
import os
import pathlib
from dataclasses import dataclass
from functools import cached_property
from typing import Dict, List, Optional, Union

import numpy as np

from .config import Value, parse_config
from .errors import RunError
from .metrics import (History, Judgings, Lineage, Metrics, Moves, Rounds, integer, make_history, make_judgings,
                      make_lineage, make_moves, make_rounds, read_metrics)
from .snapshots import Snapshot, Weights, find_snapshots, read_attributes


@dataclass(frozen=True)
class Best:
    """The best member of all judgings."""
    member: int       # expert; the number of experts: the recombinant
    name: str         # "mean" or "#3"
    step: int
    fitness: float    # nats per token


@dataclass(frozen=True)
class Expert:
    """Where an expert stands."""
    number: int
    loss: float       # of its last recorded training step
    fitness: float    # at the last judging
    parent: int       # the member, other than itself, that it last moved toward; -1: none
    tokens: int       # it has learnt from


class Run:
    """Run("runs/quickstart-1"). RunError when that is not the directory of a run."""

    def __init__(self, path: Union[str, os.PathLike]) -> None:
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "does not exist"
            raise RunError(f"{self.path}: {what}; give the directory of a run (run.out)")
        if not any((self.path / part).exists() for part in ("config.yaml", "metrics.jsonl", "snapshots")):
            raise RunError(f"{self.path}: is not the directory of a run: it has neither config.yaml, "
                           "metrics.jsonl nor snapshots/; give the directory that run.out named")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.n_experts} experts, step {self.step} of {self.steps})"

    # ---- what was asked for ----------------------------------------------------------------------

    @cached_property
    def config(self) -> Dict[str, Value]:
        """Every option by its dotted key, as run."""
        try:
            return parse_config((self.path / "config.yaml").read_text(encoding="utf-8"))
        except FileNotFoundError:
            newest = self.snapshots[-1].attributes if self.snapshots else {}
            return parse_config(str(newest.get("config", "")))
        except (OSError, UnicodeError) as error:
            raise RunError(f"{self.path}/config.yaml: cannot be read: {error}") from error

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def n_experts(self) -> int:
        told = integer(self.metrics.start, "experts", 0) or int(self.config.get("population.experts", 0))
        return told or (int(self.snapshots[-1].attributes["experts"]) if self.snapshots else 0)

    @property
    def steps(self) -> int:
        """Steps the run is to have."""
        return integer(self.metrics.start, "steps", int(self.config.get("run.steps", 0)))

    @property
    def workers(self) -> int:
        newest = self.snapshots[-1].attributes if self.snapshots else {}
        return integer(self.metrics.start, "workers", int(newest.get("workers", 1)))

    @property
    def params(self) -> int:
        """Parameters of one expert; 0: not known."""
        told = integer(self.metrics.start, "params", 0)
        return told or (self.snapshots[-1].weights(0).count if self.snapshots else 0)

    def member(self, number: int) -> str:
        """A member's name, as `shoal inspect` says it."""
        if number < 0:
            return "none"
        return "mean" if number >= self.n_experts else f"#{number}"

    # ---- what happened ---------------------------------------------------------------------------

    @cached_property
    def metrics(self) -> Metrics:
        return read_metrics(self.path / "metrics.jsonl")

    @cached_property
    def history(self) -> List[History]:
        """By expert."""
        return make_history(self.metrics, self.n_experts, self.judgings)

    @cached_property
    def judgings(self) -> Judgings:
        """From metrics.jsonl; where that is gone, from the newest snapshot."""
        judgings = make_judgings(self.metrics, self.n_experts)
        if len(judgings) or not self.snapshots:
            return judgings
        ledger = self.snapshots[-1].ledger()
        if "judgings" not in ledger or "fitness" not in ledger:
            return judgings
        rows = ledger["judgings"]
        return Judgings(rows["step"], rows["time_s"], ledger["fitness"], rows["best"].astype(np.int64),
                        rows["best_fitness"], self.n_experts)

    @cached_property
    def rounds(self) -> Rounds:
        return make_rounds(self.metrics)

    @cached_property
    def lineage(self) -> Lineage:
        return make_lineage(self.moves, self.rounds, self.n_experts)

    @cached_property
    def moves(self) -> Moves:
        return make_moves(self.metrics)

    @property
    def finished(self) -> bool:
        """Whether the program ended by itself; otherwise it runs, or was killed."""
        return self.metrics.end is not None

    @property
    def step(self) -> int:
        """The last step there is a record of."""
        last = [integer(e, "step", 0) for kind in ("step", "judge", "round", "end")
                for e in self.metrics.of(kind)[-1:]]
        return max(last + [s.step for s in self.snapshots[-1:]] + [0])

    @property
    def time_s(self) -> float:
        sessions = self.metrics.sessions
        return sessions[-1].last_s if sessions else (self.snapshots[-1].time_s if self.snapshots else 0.0)

    @cached_property
    def best(self) -> Optional[Best]:
        """None before the first judging that had a finite fitness."""
        fitness = np.where(np.isfinite(self.judgings.fitness), self.judgings.fitness, np.inf)
        if fitness.size == 0 or fitness.min() == np.inf:
            return None
        # The earliest of equals; among the members of one judging, the one that was declared best.
        row = int(np.argmin(fitness.min(axis=1)))
        member = int(self.judgings.best[row])
        if not 0 <= member < fitness.shape[1]:
            member = int(np.argmin(fitness[row]))
        return Best(member, self.member(member), int(self.judgings.step[row]), float(fitness[row, member]))

    @cached_property
    def experts(self) -> List[Expert]:
        """Where each expert stands at the end of the records."""
        moved = self.lineage.expert != self.lineage.parent
        parents = {int(k): int(p) for k, p in zip(self.lineage.expert[moved], self.lineage.parent[moved])}
        found = []
        for k, history in enumerate(self.history):
            parent = parents.get(k, -1)
            if not len(self.lineage) and self.snapshots:
                parent = int(self.snapshots[-1].expert(k).get("parent", -1))
            fitness = self.judgings.fitness[-1, k] if len(self.judgings) else math.nan
            tokens = int(history.tokens[-1]) if len(history.tokens) else 0
            loss = float(history.loss[-1]) if len(history.loss) else math.nan
            found.append(Expert(k, loss, float(fitness), parent, tokens))
        return found

    # ---- weights ---------------------------------------------------------------------------------

    @cached_property
    def _found(self):
        return find_snapshots(self.path)

    @property
    def snapshots(self) -> List[Snapshot]:
        """Those that can be read, oldest first."""
        return self._found[0]

    @property
    def problems(self) -> List[str]:
        """What could not be read of this run."""
        lines = self.metrics.unreadable
        damaged = [f"metrics.jsonl: {lines} line{'s' * (lines != 1)} could not be read"] if lines else []
        return self._found[1] + damaged

    def snapshot(self, step: Optional[int] = None) -> Snapshot:
        """The snapshot of a step; without one, the newest."""
        if not self.snapshots:
            raise RunError(f"{self.path}: has no snapshot yet")
        for snapshot in self.snapshots:
            if step in (None, snapshot.step) and (step is not None or snapshot is self.snapshots[-1]):
                return snapshot
        steps = ", ".join(str(s.step) for s in self.snapshots)
        raise RunError(f"{self.path}: has no snapshot of step {step}; there are {steps}")

    def weights(self, expert: Union[int, str, None] = None, step: Optional[int] = None) -> Weights:
        """Tensors by name, read when asked for: of an expert in the newest snapshot or that of `step`;
        of the best member (RUN/best.h5) where no expert is given."""
        if expert is None or expert == "best":
            best = self.path / "best.h5"
            if not best.is_file():
                raise RunError(f"{best}: is not there yet; the first judging writes it")
            return Weights(best)
        if not 0 <= int(expert) < self.n_experts:
            raise RunError(f"{self.path}: has no expert {expert}, but 0 to {self.n_experts - 1}")
        return self.snapshot(step).weights(int(expert))

    @property
    def best_attributes(self) -> Dict[str, object]:
        """What best.h5 says about itself; empty where it is missing."""
        path = self.path / "best.h5"
        return read_attributes(path) if path.is_file() else {}
