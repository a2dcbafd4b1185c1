"""Training with everything that happens beside it: snapshots written by another thread, more experts than
copies of them, rounds that overlap steps. Run under the thread sanitizer (tsan.sh), whose first finding
ends the program with an exit code of its own."""

import unittest

from harness import RunTest, events

SHORT = ["run.steps=8", "run.log=1", "evolution.every=2", "evolution.judge=4", "snapshot.every=4",
         "model.layers=4", "model.width=16", "model.context=16", "train.batch=2", "train.micro_batch=2",
         "evolution.fitness_batches=1", "device=cpu"]


class Threads(RunTest):
    def check(self, name, sets, ranks):
        run = self.train(name, [*SHORT, *sets], ranks=ranks)
        self.assertTrue(events(run, "snapshot"))

    def test_writer(self):
        self.check("writer", [], ranks=1)

    def test_workers(self):
        self.check("workers", [], ranks=3)

    def test_overlap(self):
        self.check("overlap", ["evolution.delay=1", "evolution.wire=bf16"], ranks=3)

    def test_outer_steps(self):
        self.check("outer", ["evolution.preset=diloco", "evolution.every=2"], ranks=2)

    def test_replicas(self):
        self.check("replicas", ["population.mode=data_parallel", "evolution.judge=4"], ranks=3)


if __name__ == "__main__":
    unittest.main()
