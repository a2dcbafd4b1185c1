"""What judging and rounds mean, checked with `shoal eval` and numpy from outside."""

import json
import subprocess
import unittest

import h5py
import numpy as np

from harness import ENVIRONMENT, EXPERTS, RunTest, SHOAL, judgings, shard_path

# A held-out slice larger than the text: every window of it, as `eval` takes them.
WHOLE_SLICE = "evolution.fitness_batches=1000"


def weights(path):
    found = {}
    with h5py.File(path, "r") as file:
        file["params"].visititems(lambda name, item: found.__setitem__(name, item[()])
                                  if isinstance(item, h5py.Dataset) else None)
    return found


class Rounds(RunTest):
    def loss_of(self, snapshot):
        done = subprocess.run([SHOAL, "eval", snapshot, "--data", f"{self.dir}/data/val_*.bin",
                               "--json"], env=ENVIRONMENT, capture_output=True, text=True,
                              timeout=60, check=True)
        return json.loads(done.stdout)["loss"]

    def test_fitness_is_what_eval_measures(self):
        """The last snapshot is of the experts as judged; best.h5 of the best ever."""
        run = self.train("fitness", [WHOLE_SLICE], ranks=3)
        fitness = judgings(run)
        for expert in range(EXPERTS):
            loss = self.loss_of(shard_path(run, expert, 60))
            self.assertAlmostEqual(loss, fitness[60][expert], delta=1e-5)
        best = min(min(values) for values in fitness.values())
        self.assertAlmostEqual(self.loss_of(run / "best.h5"), best, delta=1e-5)

    def test_all_move_onto_the_best(self):
        """Social strength 1 puts every expert where the best member was, mean or expert."""
        still = [WHOLE_SLICE, "run.steps=20", "train.lr=0", "population.init=different"]
        for name, sets in (("mean", []), ("expert", ["evolution.recombine=false"])):
            run = self.train(name, [*still, *sets], ranks=3)
            best = min(judgings(run)[0])
            first = weights(shard_path(run, 0, 20))
            self.assertAlmostEqual(self.loss_of(shard_path(run, 0, 20)), best, delta=1e-5)
            for expert in range(1, EXPERTS):
                for tensor, values in weights(shard_path(run, expert, 20)).items():
                    np.testing.assert_array_equal(values, first[tensor], f"{expert} {tensor}")

    def test_the_recombinant_is_the_mean(self):
        """With rounds that change nothing, the mean of the shards is what was judged as K."""
        run = self.train("still", [WHOLE_SLICE, "run.steps=20", "evolution.every=20",
                                   "evolution.body.social=0", "evolution.io.social=0"], ranks=3)
        experts = [weights(shard_path(run, expert, 20)) for expert in range(EXPERTS)]
        with h5py.File(shard_path(run, 0, 20), "r+") as file:
            for tensor in experts[0]:
                mean = np.mean([expert[tensor].astype(np.float64) for expert in experts], axis=0)
                file["params"][tensor][...] = mean
        fitness = judgings(run)[20]
        self.assertAlmostEqual(self.loss_of(shard_path(run, 0, 20)), fitness[EXPERTS], delta=1e-5)
        self.assertGreater(np.ptp(fitness), 1e-4)


if __name__ == "__main__":
    unittest.main()
