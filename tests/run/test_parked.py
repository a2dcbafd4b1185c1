"""Experts that wait in host memory for their turn: the same bits as when all stay on the device.

On the CPU parking wins nothing and is off by itself; population.park: on swaps all the same."""

import json
import subprocess
import unittest

import h5py
import numpy as np

from harness import (ENVIRONMENT, EVERY_OPERATOR, SHOAL, RunTest, differences, events, judgings,
                     shard_path, shard_state)

STEPS = ["run.steps=40"]
# Six experts, so that two workers have more of them than fit on a device.
SIX = [*STEPS, "population.experts=6", "model.layers=6", "population.init=different"]
CASES = {  # name: (options, ranks)
    "prompt": (STEPS, 1),
    "delayed": ([*STEPS, "evolution.delay=3", "evolution.fragments=3", "evolution.wire=bf16"], 1),
    "every-operator": ([*STEPS, "evolution.recombine=false", *EVERY_OPERATOR], 1),
    "every-operator-delayed": ([*SIX, "evolution.delay=2", "evolution.fragments=2",
                                "evolution.recombine=false", *EVERY_OPERATOR], 1),
    "two-workers": ([*SIX, "evolution.preset=eoe", "evolution.delay=2"], 3),
    "tournament": ([*SIX, "evolution.preset=tournament", "eval.every=20"], 3),
    "diloco": ([*STEPS, "evolution.preset=diloco"], 1),
    "prompt-files": ([*STEPS, "snapshot.async=false"], 1),
}


def six_differences(run_a, run_b, step):
    states = [[shard_state(shard_path(run, k, step)) for run in (run_a, run_b)] for k in range(6)]
    return [f"{k}:{name}" for k, (a, b) in enumerate(states) for name in a if a[name] != b[name]]


class Parked(RunTest):
    def test_same_bits(self):
        for name, (sets, ranks) in CASES.items():
            off, on = (self.train(f"{name}-{park}", [*sets, f"population.park={park}"], ranks=ranks)
                       for park in ("off", "on"))
            differ = six_differences if "population.experts=6" in sets else differences
            for step in (20, 40):
                self.assertEqual(differ(off, on, step), [], f"{name}, step {step}")
            self.assertEqual(judgings(off), judgings(on), name)
            for kind in ("step", "round"):
                self.assertEqual(len(events(off, kind)), len(events(on, kind)), name)
            self.assertEqual(*(sorted((e["step"], e["expert"], e["loss"]) for e in events(r, "step"))
                               for r in (off, on)), name)

    def test_resume(self):
        """Begun parked, ended on more workers that park nothing."""
        sets = ["evolution.delay=4", *EVERY_OPERATOR, "train.schedule=constant"]
        whole = self.train("whole", [*sets, *STEPS])
        self.train("parts", [*sets, "run.steps=20", "population.park=on"])
        run = self.train("parts", [*sets, *STEPS], resume=True, ranks=3)
        self.assertEqual(differences(whole, run, 40), [])
        self.train("back", [*sets, "run.steps=20"], ranks=3)
        run = self.train("back", [*sets, *STEPS, "population.park=on"], resume=True)
        self.assertEqual(differences(whole, run, 40), [])

    def test_a_diverged_expert_is_replaced(self):
        """At home or on the device, and by one that may be in either place."""
        runs = []
        for park in ("off", "on"):
            sets = ["evolution.preset=none", "population.init=different", "train.schedule=constant",
                    f"population.park={park}"]
            run = self.train(f"dead-{park}", [*sets, "run.steps=20"])
            for dead in (1, 3):
                with h5py.File(shard_path(run, dead, 20), "r+") as file:
                    file["params"].visititems(
                        lambda _, item: item.write_direct(np.full(item.shape, np.nan, item.dtype))
                        if isinstance(item, h5py.Dataset) else None)
            runs.append(self.train(f"dead-{park}", [*sets, "run.steps=60"], resume=True))
        self.assertEqual([f is None for f in judgings(runs[1])[40]][:4], [False, True, False, True])
        self.assertNotIn(None, judgings(runs[1])[60])
        self.assertEqual(differences(*runs, 60), [])

    def test_nothing_is_parked_on_the_cpu_by_itself(self):
        """Nor is where there is room for all: no memory is taken for it."""
        two = ["population.experts=2", "model.layers=4"]
        for sets in ([], ["population.park=off"], ["population.park=on", *two]):
            self.assertEqual(self.plan(sets)["parked_experts"], 0)
        on = self.plan(["population.park=on"])
        self.assertEqual(on["parked_experts"], 3 * 2 * on["weights"])
        self.assertEqual(on["weights"], self.plan(two)["weights"])

    def plan(self, sets):
        """Memory of one worker with the four experts of the configuration."""
        line = [SHOAL, "plan", str(self.config), "--json"]
        for item in ["device=cpu", *sets]:
            line += ["--set", item]
        done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
                              check=True)
        return json.loads(done.stdout)["memory"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
