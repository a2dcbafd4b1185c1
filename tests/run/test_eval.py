"""The best member is evaluated on held-out text that did not choose it, on any number of ranks."""

import json
import subprocess
import unittest

import numpy as np

from harness import ENVIRONMENT, RunTest, SHOAL, differences, events, judgings, write_shard

CONTEXT = 32
JUDGE = 4 * 8  # windows: fitness_batches times batch
SETS = ["eval.every=20"]


def held_out(folder):
    """The held-out windows, from the start of the only shard: context tokens and one more."""
    (path,) = folder.glob("data/val_*.bin")
    tokens = np.frombuffer(path.read_bytes()[1024:], "<u2")
    count = (len(tokens) - 1) // CONTEXT
    return [tokens[i * CONTEXT:i * CONTEXT + CONTEXT + 1] for i in range(count)]


class Eval(RunTest):
    @staticmethod
    def results(run):
        return [{key: event[key] for key in ("step", "member", "loss", "perplexity", "tokens")}
                for event in events(run, "eval")]

    def same_on_all(self, name, sets):
        alone = self.train(f"{name}-1", [*SETS, *sets])
        self.assertEqual([event["step"] for event in events(alone, "eval")], [20, 40, 60])
        for ranks in (2, 3, 5):
            run = self.train(f"{name}-{ranks}", [*SETS, *sets], ranks=ranks)
            self.assertEqual(self.results(alone), self.results(run), f"1 and {ranks} ranks")
            self.assertEqual(differences(alone, run, 60), [])
        return alone

    def test_an_expert(self):
        run = self.same_on_all("expert", ["evolution.preset=none"])
        for event in events(run, "eval"):
            self.assertIn(event["member"], range(4))
            self.assertEqual(event["member"],
                             int(np.argmin(judgings(run)[event["step"]])))

    def test_the_recombinant(self):
        """Rounds at every judging only, and experts that differ: now and then the mean is best."""
        run = self.same_on_all("mean", ["evolution.preset=shoal"])
        self.assertIn(4, {event["member"] for event in events(run, "eval")})

    def test_training_does_not_see_it(self):
        plain = self.train("plain", [])
        run = self.train("evaluated", SETS, ranks=3)
        self.assertEqual(differences(plain, run, 60), [])
        self.assertEqual(judgings(plain), judgings(run))
        self.assertEqual(events(plain, "eval"), [])

    def test_the_loss_is_that_of_the_windows_left(self):
        """The windows that judge are found here, and left out, one shard a window for `shoal eval`.
        """
        run = self.train("windows", [*SETS, "evolution.preset=none"])
        windows = held_out(self.dir)
        judge = {i * len(windows) // JUDGE for i in range(JUDGE)}
        (self.dir / "left").mkdir()
        for i, tokens in enumerate(windows):
            if i not in judge:
                write_shard(self.dir / f"left/{i:05d}.bin", tokens)
        self.assertEqual(events(run, "end")[0]["best_step"], 60)
        done = subprocess.run([SHOAL, "eval", run, "--data", f"{self.dir}/left/*.bin", "--json"],
                              env=ENVIRONMENT, check=True, capture_output=True, text=True)
        expected, found = json.loads(done.stdout), self.results(run)[-1]
        self.assertEqual(found["tokens"], expected["tokens"])
        self.assertEqual(found["tokens"], (len(windows) - JUDGE) * CONTEXT)
        self.assertAlmostEqual(found["loss"], expected["loss"], delta=1e-5)
        self.assertAlmostEqual(found["perplexity"], np.exp(found["loss"]), delta=1e-9)
        self.assertNotEqual(found["loss"], min(judgings(run)[60]))

    def test_when_and_how_much(self):
        run = self.train("seldom", ["eval.every=40", "eval.windows=10"])
        self.assertEqual([event["step"] for event in events(run, "eval")], [40, 60])
        for event in events(run, "eval"):
            self.assertEqual(event["tokens"], 10 * CONTEXT)
            self.assertGreater(event["seconds"], 0)

    def test_nothing_is_left(self):
        """All windows judge: said once, and the figure is then that of the judging."""
        done = self.attempt("none-left", [*SETS, "evolution.fitness_batches=1000"], ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("use more held-out text or lower "
                                           "evolution.fitness_batches"), 1)
        run = self.dir / "none-left"
        for event in events(run, "eval"):
            self.assertEqual(event["loss"], judgings(run)[event["step"]][event["member"]])

    def test_what_is_printed(self):
        done = self.attempt("printed", SETS, ranks=3)
        last = self.results(self.dir / "printed")[-1]
        self.assertEqual(done.stdout.count("\nevaluated at step "), 3)
        self.assertIn(f"{last['loss']:.4f} (perplexity {last['perplexity']:.4g})", done.stdout)

    def test_resumed(self):
        """A resumed run evaluates on; it may ask for evaluations that it did not have before."""
        whole = self.train("whole", SETS)
        run = self.train("again", ["run.steps=40", "train.schedule=cosine"])
        self.train("again", SETS, resume=True)
        self.assertEqual([event["step"] for event in events(run, "eval")], [60])
        self.assertEqual([event["step"] for event in events(whole, "eval")], [20, 40, 60])


if __name__ == "__main__":
    unittest.main()
