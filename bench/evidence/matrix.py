"""What is compared: a table of cells. A cell is one set of options, run once for each seed.

Every cell trains on as many tokens per expert as any other (base.yaml) unless it says so, and the same
seed means the same initial weights and the same streams of text, so that rows differ by their rule.
"""
from __future__ import annotations

import dataclasses
from typing import Mapping

# The best of each grid in the group "learning rate"; every other rule runs at that of a lone expert.
LR_SINGLE, LR_PARALLEL, LR_SHOAL = "0.008", "0.008", "0.008"

CADENCES = (1, 2, 5, 10, 25, 50, 100)
LEARNING_RATES = ("0.004", "0.008", "0.012", "0.016")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row. seeds: 3 for what is claimed, 1 for screening."""
    group: str
    name: str
    options: Mapping[str, str]
    seeds: int = 3
    note: str = ""
    every_expert: bool = False  # evaluate all experts at the end, not only the best member

    def changes(self) -> list[tuple[str, str]]:
        """Options that differ from those of the preset at the common cadence."""
        usual = {"evolution.preset", "evolution.every", "evolution.judge", "train.lr"}
        return [item for item in self.options.items() if item[0] not in usual]

    def cost(self) -> float:
        """Relative time of one run, for an estimate of the time left."""
        width = int(self.options.get("model.width", "64")) / 64
        layers = int(self.options.get("population.layers_per_expert", "3")) / 3
        steps = int(self.options.get("run.steps", "1000")) / 1000
        return int(self.options.get("population.experts", "4")) * width**2 * layers * steps


def dotted(prefix: str, **values: str) -> dict[str, str]:
    return {f"{prefix}.{key}": value for key, value in values.items()}


def both(**values: str) -> dict[str, str]:
    """The same for both groups of tensors."""
    return {**dotted("evolution.body", **values), **dotted("evolution.io", **values)}


def rule(preset: str, every: int = 50, lr: str = LR_SINGLE, **more: str) -> dict[str, str]:
    """A preset at one cadence. Underscores in names of more stand for dots."""
    judge = 100 if 100 % every == 0 else every
    return {"evolution.preset": preset, "evolution.every": str(every), "evolution.judge": str(judge),
            "train.lr": lr, **{key.replace("__", "."): value for key, value in more.items()}}


def shoal(every: int = 50, lr: str = LR_SHOAL, **more: str) -> dict[str, str]:
    return rule("shoal", every, lr, **more)


def parallel(experts: int = 4, lr: str = LR_PARALLEL) -> dict[str, str]:
    return {"population.mode": "data_parallel", "population.experts": str(experts), "train.lr": lr}


def experts(count: int, options: Mapping[str, str]) -> dict[str, str]:
    return {**options, "population.experts": str(count)}


def learning_rates() -> list[Cell]:
    """Grids of one seed; the rows that were chosen are `parallel`, `shoal-50` and `shoal-10`."""
    group = "learning rate"
    cells = [Cell(group, f"single-lr-{lr}", experts(1, rule("none", lr=lr)), 1) for lr in LEARNING_RATES]
    for lr in LEARNING_RATES:
        cells += [Cell(group, f"parallel-lr-{lr}", parallel(lr=lr), 1)] if lr != LR_PARALLEL else []
        cells += [Cell(group, f"shoal-{every}-lr-{lr}", shoal(every, lr), 1)
                  for every in (50, 10) if lr != LR_SHOAL]
    return cells


def yardsticks() -> list[Cell]:
    return [Cell("yardsticks", "none", rule("none"), 3, "independent experts, the best is kept", True),
            Cell("yardsticks", "parallel", parallel(), 3, "gradients averaged in every step")]


def cadences() -> list[Cell]:
    return [Cell("cadence", f"shoal-{every}", shoal(every), 3) for every in CADENCES]


def presets() -> list[Cell]:
    group = "presets"
    return [Cell(group, "eoe", rule("eoe"), 3, "the published method"),
            Cell(group, "koifish", rule("koifish"), 3, "what its code does"),
            Cell(group, "copy", {"evolution.preset": "copy", "train.lr": LR_SINGLE}, 3,
                 "the worst quarter copies the best"),
            Cell(group, "tournament", {"evolution.preset": "tournament", "train.lr": LR_SINGLE}, 3,
                 "losers of random pairs take the winner's weights"),
            Cell(group, "diloco", rule("diloco"), 3, "outer Nesterov 0.7, momentum 0.9"),
            Cell(group, "diloco-gentle", rule("diloco", evolution__outer__lr="1",
                                              evolution__outer__momentum="0.3"), 1,
                 "outer 1, momentum 0.3")]


def operators() -> list[Cell]:
    """eoe with one thing changed."""
    group = "operators of eoe"
    body = "evolution.body"
    changed = {
        "eoe-no-swarm": {f"{body}.social": "0"},
        "eoe-no-crossover": {f"{body}.crossover": "0"},
        "eoe-no-mutation": {f"{body}.mutation": "0"},
        "eoe-io-only": {f"{body}.social": "0", f"{body}.crossover": "0", f"{body}.mutation": "0"},
        "eoe-io-private": {"evolution.io.attractor": "none"},
        "eoe-all-tensors": both(tensors="all"),
        "eoe-mutation-10x": {f"{body}.mutation": "0.01"},
        "eoe-mutation-all": {f"{body}.mutation": "1"},
        "eoe-recombine": {"evolution.recombine": "true"},
        "eoe-every-10": {"evolution.every": "10"},
    }
    thrice = ("eoe-no-swarm", "eoe-no-crossover", "eoe-no-mutation", "eoe-io-only", "eoe-io-private")
    return [Cell(group, name, {**rule("eoe"), **options}, 3 if name in thrice else 1)
            for name, options in changed.items()]


def variations() -> list[Cell]:
    """The default with one thing changed."""
    group = "variations of shoal"
    changed = {
        "shoal-io-private": {"evolution.io.attractor": "none"},
        "shoal-body-private": {"evolution.body.attractor": "none"},
        "shoal-always-mean": both(attractor="mean"),
        "shoal-best-expert": {"evolution.recombine": "false"},
        "shoal-half-step": both(social="0.5"),
        "shoal-matrices": both(tensors="matrices"),
        "shoal-moments-zero": both(moments="zero"),
        "shoal-moments-inherit": both(moments="inherit"),
        "shoal-init-different": {"population.init": "different"},
        "shoal-mutation": both(mutation="1", mutation_scale="0.3"),
        "shoal-fitness-small": {"evolution.fitness_batches": "2"},
        "shoal-beta2-0.99": {"train.beta2": "0.99"},
    }
    return [Cell(group, name, {**shoal(), **options}, 1) for name, options in changed.items()]


def exchanges() -> list[Cell]:
    """How weights travel: late, in parts, rounded."""
    group = "exchange"
    changed = {
        "shoal-10-delay-1": {"evolution.delay": "1"},
        "shoal-10-delay-5": {"evolution.delay": "5"},
        "shoal-50-delay-10": {**shoal(50), "evolution.delay": "10"},
        "shoal-2-fragments-5": {**shoal(2), "evolution.fragments": "5"},
        "shoal-10-wire-bf16": {"evolution.wire": "bf16"},
    }
    return [Cell(group, name, {**shoal(10), **options}, 1) for name, options in changed.items()]


def narrow() -> list[Cell]:
    """Means as packed changes, by cadence, at the common learning rate and at those that frequent rounds
    bear."""
    group = "narrow wire"
    rows = [(5, "int8", LR_SHOAL), (5, "int4", LR_SHOAL), (5, "int1", LR_SHOAL), (1, "int4", "0.016"),
            (2, "int4", "0.012"), (1, "int1", "0.012"), (1, "int4", "0.012"), (2, "int1", "0.012"),
            (1, "int1", "0.016"), (1, "int4", LR_SHOAL), (2, "int4", LR_SHOAL), (10, "int4", LR_SHOAL)]
    return [Cell(group, f"shoal-{every}-wire-{wire}" + (f"-lr-{lr}" if lr != LR_SHOAL else ""),
                 {**shoal(every, lr), "evolution.wire": wire}, 3) for every, wire, lr in rows]


def better() -> list[Cell]:
    """Attempts to close more of the gap. An outer step longer than 1 goes beyond the mean, whose noise
    is that of a larger batch: what a higher learning rate would do, without its noise inside a round."""
    group = "attempts"
    mean = both(attractor="mean")
    cells = [Cell(group, f"outer-{every}-{step}", {**shoal(every), **mean, "evolution.outer.lr": step}, 1)
             for every, step in ((1, "2"), (2, "1.5"), (5, "1.5"), (5, "2"), (10, "1.5"), (25, "1.5"),
                                 (50, "2"), (100, "1.5"))]
    cells += [Cell(group, "outer-50-1.5", {**shoal(50), **mean, "evolution.outer.lr": "1.5"}, 3)]
    cells += [Cell(group, f"shoal-{every}-lr-{lr}", shoal(every, lr), seeds)
              for every, lr, seeds in ((1, "0.016", 1), (2, "0.012", 1), (5, "0.012", 3))]
    return cells + [Cell(group, "shoal-5-moments-inherit", {**shoal(5), **both(moments="inherit")}, 1)]


def sizes() -> list[Cell]:
    """How it scales with the number of experts."""
    group = "number of experts"
    cells = []
    for count in (2, 8, 16):
        seeds = 3 if count < 16 else 1
        cells += [Cell(group, f"none-of-{count}", experts(count, rule("none")), seeds, "", True),
                  Cell(group, f"parallel-of-{count}", parallel(count), seeds),
                  Cell(group, f"shoal-50-of-{count}", experts(count, shoal(50)), seeds),
                  Cell(group, f"shoal-10-of-{count}", experts(count, shoal(10)), seeds)]
    return cells


def shapes() -> list[Cell]:
    """Width against depth, and the model that was cut into four experts of 3 layers, uncut."""
    group = "shape"
    lone = experts(1, rule("none"))
    deep = {"population.layers_per_expert": "12"}
    return [
        Cell(group, "deep-12x64", {**lone, **deep}, 3, "the uncut model"),
        Cell(group, "deep-12x64-lr-0.004", {**lone, **deep, "train.lr": "0.004"}, 1, "a lower rate for it"),
        Cell(group, "wide-3x128", {**lone, "model.width": "128", "model.heads": "4"}, 3,
             "as many parameters as the uncut model in its blocks, a quarter of its depth"),
        Cell(group, "deep-12x64-4-times", {**lone, **deep, "run.steps": "4000"}, 1,
             "the uncut model on as many tokens as all four experts together"),
    ]


def cells() -> list[Cell]:
    """All of them, in the order in which they are run: what others are compared with comes first."""
    return (yardsticks() + learning_rates() + cadences() + presets() + better() + operators()
            + exchanges() + narrow() + variations() + shapes() + sizes())
