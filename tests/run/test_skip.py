"""Steps with outliers are skipped: found again here from the metrics alone, and resumed to the bit."""

import unittest

import h5py
import numpy as np

from harness import EXPERTS, RunTest, corpus, differences, events, shard_path, write_shard

THRESHOLD, WINDOW = 3.0, 16
STEPS, HALFWAY = 120, 80
SKIP = [f"train.skip={THRESHOLD}", f"train.skip_window={WINDOW}", "run.log=1", f"run.steps={STEPS}",
        "train.schedule=constant"]


def replay(steps):
    """The rule in numpy: what (loss, gradient norm) of one expert's steps say should be skipped."""
    window, row, said = [], 0, []
    for loss, norm in steps:
        why = None
        if len(window) == WINDOW:
            mean, deviation = np.mean(window, axis=0), np.std(window, axis=0, ddof=1)
            far = (np.array([loss, norm]) - mean) / deviation > THRESHOLD
            why = "loss" if far[0] else "grad_norm" if far[1] else None
        said.append(why)
        if why is None:
            window, row = (window + [(loss, norm)])[-WINDOW:], 0
        else:
            row += 1
            if row == WINDOW // 8:
                window, row = [], 0
    return said


class Skip(RunTest):
    @classmethod
    def setUpClass(cls):
        """Text with stretches of noise made of bytes that occur nowhere else."""
        super().setUpClass()
        tokens = np.frombuffer(corpus(150_000).encode(), "u1").astype("<u2")
        rng = np.random.default_rng(7)
        for begin in (20_000, 60_000, 120_000):
            tokens[begin:begin + 1500] = rng.integers(128, 256, 1500)
        write_shard(cls.dir / "noisy.bin", tokens)
        cls.sets = [*SKIP, f"data.train={cls.dir}/noisy.bin"]

    def test_what_the_metrics_say_is_what_is_skipped(self):
        run = self.train("replay", self.sets, ranks=3)
        reasons = []
        for expert in range(EXPERTS):
            steps = [event for event in events(run, "step") if event["expert"] == expert]
            self.assertEqual([event["step"] for event in steps], list(range(1, STEPS + 1)))
            said = [event.get("reason") for event in steps]
            self.assertEqual(said, replay([(e["loss"], e["grad_norm"]) for e in steps]))
            self.assertEqual([bool(why) for why in said],
                             [event.get("skipped", False) for event in steps])
            reasons += [why for why in said if why]
            with h5py.File(shard_path(run, expert, STEPS), "r") as file:
                self.assertEqual(file["state/outlier"].attrs["skipped"],
                                 sum(why is not None for why in said))
                self.assertEqual(file["state"].attrs["step"], STEPS)
        self.assertIn("loss", reasons)
        self.assertEqual(events(run, "end")[0]["skipped"], len(reasons))

    def test_skipped_steps_are_recorded_between_the_others(self):
        """Whatever run.log is, each skipped step has its line; the summary counts them."""
        done = self.attempt("seldom", [*self.sets, "run.log=60"])
        self.assertEqual(done.returncode, 0, done.stderr)
        steps = events(self.dir / "seldom", "step")
        skipped = sum("skipped" in event for event in steps)
        self.assertGreater(skipped, 0)
        for event in steps:
            self.assertTrue(event["step"] % 60 == 0 or event["skipped"])
        self.assertIn(f", {skipped} step{'s' * (skipped > 1)} skipped", done.stdout)

    def test_same_on_any_ranks(self):
        alone = self.train("ranks-1", self.sets)
        for ranks in (2, 3, 5):
            run = self.train(f"ranks-{ranks}", self.sets, ranks=ranks)
            self.assertEqual(differences(alone, run, STEPS), [], f"1 and {ranks} ranks")
        off = self.train("off", [*self.sets, "train.skip=0"])
        self.assertTrue(differences(alone, off, STEPS), "nothing was skipped")

    def resumed_halfway(self, out, sets, spoil=lambda file: None):
        """Train, forget what came after HALFWAY, touch the shards, resume."""
        run = self.train(out, sets)
        for step in range(HALFWAY + 20, STEPS + 1, 20):
            (run / f"snapshots/step-{step:08d}.h5").unlink()
            for expert in range(EXPERTS):
                shard_path(run, expert, step).unlink()
        for expert in range(EXPERTS):
            with h5py.File(shard_path(run, expert, HALFWAY), "r+") as file:
                spoil(file)
        self.train(out, sets, resume=True)
        return run

    def test_the_window_is_resumed(self):
        """To the bit; and a window that was not restored would show."""
        def forget(file):
            del file["state/outlier"]

        whole = self.train("whole", self.sets)
        late = [event for event in events(whole, "step")
                if event.get("skipped") and HALFWAY < event["step"] <= HALFWAY + WINDOW]
        self.assertTrue(late, "nothing was skipped where it would tell")
        run = self.resumed_halfway("resumed", self.sets)
        self.assertEqual(differences(whole, run, STEPS), [])
        self.assertEqual(events(whole, "end")[-1]["skipped"], events(run, "end")[-1]["skipped"])
        spoilt = self.resumed_halfway("spoilt", self.sets, forget)
        self.assertTrue(differences(whole, spoilt, STEPS))

    def test_it_may_be_switched_on_later(self):
        """A run that has spiked is resumed with the skip that it lacked."""
        run = self.train("later", [*self.sets, f"run.steps={HALFWAY}", "train.skip=0"])
        self.assertEqual(events(run, "end")[-1]["skipped"], 0)
        self.train("later", self.sets, resume=True)
        self.assertGreater(events(run, "end")[-1]["skipped"], 0)


if __name__ == "__main__":
    unittest.main()
