"""Look at what a run of shoal has on disk: its history, its experts' weights, a page of plots.

    from shoal_analysis import Run
    run = Run("runs/quickstart-1")
    run.judgings.fitness            # (judgings, members) float64
    run.history[2].loss             # training loss of expert 2
    run.weights(2)["h.0.attn.c_attn.weight"]

Needs h5py and numpy. Nothing here writes to a run, and a run may be training meanwhile.
"""
from .errors import RunError
from .metrics import History, Judgings, Lineage, Metrics, Moves, Rounds, Session
from .run import Best, Expert, Run
from .snapshots import Snapshot, Weights

__all__ = ["Best", "Expert", "History", "Judgings", "Lineage", "Metrics", "Moves", "Rounds", "Run",
           "RunError", "Session", "Snapshot", "Weights"]
