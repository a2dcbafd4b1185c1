"""Experts that are not finite any more begin again as the best; when none is finite the run says so."""

import unittest

import h5py
import numpy as np

from harness import (EXPERTS, RunTest, events, judgings, shard_path, shard_state)

STEPS = 100


class Diverged(RunTest):
    def half(self, name, sets, poisoned):
        """A run to step 40 whose `poisoned` experts hold no number any more."""
        run = self.train(name, ["run.steps=40", *sets])
        for expert in poisoned:
            with h5py.File(shard_path(run, expert, 40), "r+") as file:
                def poison(_, item):
                    if isinstance(item, h5py.Dataset):
                        item[...] = np.full(item.shape, np.nan, item.dtype)
                file["params"].visititems(poison)
        return run

    def revived(self, name, sets, ranks):
        """Returns what is judged after expert 2 was poisoned at step 40."""
        sets = ["train.schedule=constant", *sets]
        run = self.half(name, sets, [2])
        done = self.attempt(name, [f"run.steps={STEPS}", *sets], resume=True, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return run, judgings(run), done.stderr

    def test_independent_experts(self):
        """The others do not notice, and the dead one begins again under its own number."""
        sets = ["evolution.preset=none", "population.init=different"]
        whole = self.train("none-whole", [f"run.steps={STEPS}", "train.schedule=constant", *sets])
        run, fitness, said = self.revived("none", sets, ranks=3)
        self.assertIsNone(fitness[60][2])
        self.assertNotIn(None, fitness[80])
        for expert in range(EXPERTS):
            same = shard_state(shard_path(run, expert, STEPS)) == shard_state(
                shard_path(whole, expert, STEPS))
            self.assertEqual(same, expert != 2)
        best = int(np.argmin([f if f is not None else np.inf for f in fitness[60]]))
        with h5py.File(shard_path(run, 2, 80), "r") as file:
            self.assertEqual(file.attrs["parent"], best)
        self.assertIn(f"expert 2 has diverged at step 60 and begins again as the best member "
                      f"(#{best})", said)
        alone, again, _ = self.revived("none-alone", sets, ranks=1)
        self.assertEqual(again, fitness)
        self.assertEqual(shard_state(shard_path(run, 2, STEPS)),
                         shard_state(shard_path(alone, 2, STEPS)))

    def test_a_group_that_does_not_evolve(self):
        """A round brings the blocks; the embeddings must come too."""
        _, fitness, _ = self.revived("body", ["evolution.preset=eoe", "evolution.io.attractor=none"],
                                     ranks=3)
        self.assertNotIn(None, fitness[80])

    def test_steps_that_are_not_finite_are_not_taken(self):
        run, _, _ = self.revived("skipped", ["evolution.preset=none", "run.log=1"], ranks=1)
        steps = [event for event in events(run, "step") if event["expert"] == 2]
        bad = [event["step"] for event in steps if event.get("reason") == "not finite"]
        self.assertEqual(bad, list(range(41, 61)))

    def test_all(self):
        """The last snapshot is named, and it is the way back."""
        run = self.half("all", [], range(EXPERTS))
        for ranks in (1, 3):
            done = self.attempt("all", ["run.steps=60"], resume=True, ranks=ranks)
            self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
            self.assertEqual(done.stderr.count("shoal: error"), 1, done.stderr)
            self.assertIn("all 4 experts diverged", done.stderr)
            self.assertIn(f"the last good snapshot is {run}/snapshots/step-00000040.h5", done.stderr)


if __name__ == "__main__":
    unittest.main()
