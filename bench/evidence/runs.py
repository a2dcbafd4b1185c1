"""One run of one cell: train, evaluate on text that chose nothing, keep a small JSON result."""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import time
from typing import Any

from matrix import Cell

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE / "base.yaml"
Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all runs share beside base.yaml."""
    shoal: pathlib.Path
    data: pathlib.Path                # made by corpus.prepare
    text: dict[str, Any]              # what corpus.prepare returned
    results: pathlib.Path             # one file for each run
    work: pathlib.Path                # run directories, removed afterwards
    sequences: int = 4000             # windows of test text
    overrides: tuple[str, ...] = ()   # KEY=VALUE for every run, like fewer steps


class Failed(Exception):
    """A command ended with an error: what it said."""


def result_path(setting: Setting, cell: Cell, seed: int) -> pathlib.Path:
    return setting.results / f"{cell.name}-seed{seed}.json"


def call(*command: object) -> str:
    words = [str(word) for word in command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise Failed(f"exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def settings(setting: Setting, cell: Cell, seed: int, run: pathlib.Path) -> list[str]:
    """Arguments after the configuration's name."""
    values = {"data.train": setting.data / "train.bin", "data.val": setting.data / "fitness.bin",
              **cell.options, **dict(item.split("=", 1) for item in setting.overrides),
              "run.seed": seed, "run.out": run}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def evaluate(setting: Setting, shard: pathlib.Path) -> float:
    """Loss on the test text, in nats per token."""
    said = call(setting.shoal, "eval", shard, "--data", setting.data / "test.bin",
                "--sequences", setting.sequences, "--json")
    return float(json.loads(said)["loss"])


def plan(setting: Setting, arguments: list[str], experts: int) -> dict[str, float]:
    """What shoal plan says of the exchange with one expert a worker."""
    said = call(setting.shoal, "plan", BASE, *arguments, "--workers", experts, "--json")
    return json.loads(said)["exchange"]


def volume(setting: Setting, arguments: list[str], inspected: dict[str, Any]) -> dict[str, float]:
    """Bytes that all workers together would send in the whole run with one expert a worker, and the
    bytes of gradients in a ring all-reduce at every step.

    One process sends nothing, so this follows from what was exchanged. shoal plan knows the sizes, but
    only bounds a rule that follows the best member, which may be the mean: a mean that has just been judged is everywhere
    already and costs nothing more, a mean between judgings costs a sum, an expert half of one."""
    experts, steps = inspected["experts"], inspected["steps"]
    config = plan(setting, arguments, experts)
    a_sum = 2.0 * (experts - 1) * inspected["parameters"] * 4
    sent = config["step_bytes"] * steps
    judges_mean = any(len(judged["fitness"]) > experts for judged in inspected["judgings"])
    if judges_mean and not any(word.endswith(("attractor=mean", "preset=diloco")) for word in arguments):
        moments = any(word.endswith("moments=inherit") for word in arguments)
        always = [word for group in ("body", "io")
                  for word in ("--set", f"evolution.{group}.attractor=mean")]
        a_mean = plan(setting, [*arguments, *always], experts)["round_bytes"]
        wide = plan(setting, [*arguments, *always, "--set", "evolution.wire=f32"], experts)["round_bytes"]
        sent = with_recombinant(inspected["judgings"], every_of(arguments), a_mean, wide / 2, a_sum, moments)
    return {"bytes": sent, "parallel_bytes": a_sum * steps}


def every_of(arguments: list[str]) -> int:
    """evolution.every: what comes last on the command line holds."""
    return int([word for word in arguments if word.startswith("evolution.every=")][-1].split("=")[1])


def with_recombinant(judged: list[dict[str, Any]], every: int, a_mean: float, an_expert: float, a_sum: float,
                     moments: bool) -> float:
    """Bytes of a run that judges the mean. a_mean, an_expert: of a round between two judgings that sends
    either; a_sum: of a judging, whose mean is of the weights alone, so that moments still have to follow."""
    sent = a_sum * len(judged)
    for this, following in zip(judged, judged[1:]):
        between = (following["step"] - this["step"]) // every - 1
        if this["best"] == "mean":
            sent += between * a_mean + (a_mean if moments else 0)
        else:
            sent += (between + 1) * an_expert
    return sent


def judgings(inspected: dict[str, Any]) -> list[dict[str, Any]]:
    """What every judging found, shortened."""
    count = inspected["experts"]
    return [{"step": j["step"], "best": j["best"],
             "experts": [None if f is None else round(f, 5) for f in j["fitness"][:count]],
             "mean": round(j["fitness"][count], 5) if len(j["fitness"]) > count
             and j["fitness"][count] is not None else None} for j in inspected["judgings"]]


def measure(setting: Setting, cell: Cell, seed: int, run: pathlib.Path) -> Result:
    """Train and evaluate. Raises Failed."""
    arguments = settings(setting, cell, seed, run)
    start = time.monotonic()
    call(setting.shoal, "train", BASE, *arguments)
    seconds = time.monotonic() - start
    inspected = json.loads(call(setting.shoal, "inspect", run, "--json"))
    rounds = sum('"event":"round"' in line for line in (run / "metrics.jsonl").open())
    result = {"test": evaluate(setting, run / "best.h5"),
              "fitness": inspected["champion_fitness"], "champion": inspected["champion"],
              "champion_step": inspected["champion_step"], "experts": inspected["experts"],
              "parameters": inspected["parameters"], "steps": inspected["steps"],
              "tokens": inspected["tokens"], "rounds": rounds,
              "volume": volume(setting, arguments, inspected), "seconds": round(seconds, 1),
              "judgings": judgings(inspected)}
    if cell.every_expert:
        shards = sorted(run.glob(f"experts/*/step-{inspected['steps']:08d}.h5"))
        result["test_of_experts"] = [evaluate(setting, shard) for shard in shards]
    return result


def revision(program: pathlib.Path) -> str:
    """Of the tree that the program was built in; empty where that cannot be told."""
    done = subprocess.run(["git", "-C", str(program.resolve().parent), "rev-parse", "--short=10", "HEAD"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip()


def save(path: pathlib.Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=None) + "\n")
    temporary.replace(path)


def run_cell(setting: Setting, cell: Cell, seed: int) -> Result:
    """Measure and keep the result; a run that fails is a result as well."""
    run = setting.work / f"{cell.name}-seed{seed}"
    shutil.rmtree(run, ignore_errors=True)
    about: Result = {"cell": cell.name, "seed": seed, "options": dict(cell.options),
                     "overrides": list(setting.overrides), "text": setting.text,
                     "revision": revision(setting.shoal)}
    try:
        result = {**about, "status": "ok", **measure(setting, cell, seed, run)}
    except Failed as failure:
        result = {**about, "status": "failed", "error": str(failure)}
    save(result_path(setting, cell, seed), result)
    shutil.rmtree(run, ignore_errors=True)
    return result
