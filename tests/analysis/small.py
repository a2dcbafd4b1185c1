"""What the tests of the analysis share: tiny runs, and made-up ones of any size."""
import json
import os
import pathlib
import subprocess

from harness import SHOAL, RunTest

SMALL = ["run.steps=24", "run.log=4", "evolution.every=4", "evolution.judge=8", "evolution.fitness_batches=1",
         "snapshot.every=8", "snapshot.keep=0", "model.width=16", "model.context=16", "train.batch=2",
         "train.micro_batch=2", "eval.every=8", "eval.windows=4"]


class SmallRun(RunTest):
    """RunTest whose runs take a second."""

    def small(self, out, sets=(), **how):
        return self.train(out, [*SMALL, *sets], **how)

    def report(self, *arguments, expect=0, **variables):
        """What it prints; variables: of the environment, None to leave one out."""
        environment = {k: v for k, v in {**os.environ, **variables}.items() if v is not None}
        done = subprocess.run([SHOAL, "report", *map(str, arguments)], capture_output=True, text=True, cwd=self.dir,
                              env=environment, timeout=60, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout if expect == 0 else done.stderr


def made_up(folder, experts, steps, log=1, members=None, judge=50, recombine=True, workers=4):
    """A run directory of any size with a metrics.jsonl and a configuration, nothing else. Returns the events."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    members = experts + recombine
    events = [{"event": "start", "time": 0.0, "step": 0, "run_id": "0", "shoal_version": "0", "resumed": False,
               "experts": experts, "members": members, "workers": workers, "params": 1000, "steps": steps,
               "tokens_per_step": 64}]
    for step in range(0, steps + 1):
        if step and step % log == 0:
            events += [{"event": "step", "time": step + k / experts, "step": step, "expert": k,
                        "loss": 1 + 4 / (1 + step) + 0.01 * ((7 * k + step) % 13), "lr": 0.001, "grad_norm": 1.5,
                        "tokens": 64 * step, "tokens_per_s": 1e4} for k in range(experts)]
        if step % judge == 0:
            fitness = [1 + 4 / (1 + step) + 0.001 * ((5 * k + step // judge) % 17) for k in range(members)]
            best = min(range(members), key=lambda m: fitness[m])
            events.append({"event": "judge", "time": step + 1.0, "step": step, "fitness": fitness, "best": best,
                           "best_fitness": fitness[best], "spread": 0.1})
            events.append({"event": "round", "time": step + 1.0, "step": step, "source": best, "seconds": 0.01,
                           "bytes": 4000})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "config.yaml").write_text(f"run:\n  log: {log}\npopulation:\n  experts: {experts}\n"
                                        f"evolution:\n  every: {judge}\n  preset: \"a # b\"   # comment\n")
    return events
