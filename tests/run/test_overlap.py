"""Rounds beside training: delays, fragments, a narrow wire, and a cadence that a budget chooses."""

import json
import subprocess
import unittest

import h5py
import numpy as np

from harness import (ENVIRONMENT, EVERY_OPERATOR, EXPERTS, SHOAL, RunTest, command, differences, events,
                     judgings, shard_path)

STEPS = ["run.steps=40"]
NARROW = [*STEPS, "evolution.delay=3", "evolution.fragments=3"]
MEAN = ["evolution.body.attractor=mean", "evolution.io.attractor=mean"]
# Of float32's bytes between judgings.
WIRES = {"bf16": 16 / 32, "int8": 8.25 / 32, "int4": 4.25 / 32, "int1": 1.25 / 32}


def weights(run, expert, step):
    with h5py.File(shard_path(run, expert, step), "r") as file:
        found = {}
        file["params"].visititems(
            lambda name, item: found.update({name: item[()]})
            if isinstance(item, h5py.Dataset) else None)
    return found


class Overlap(RunTest):
    def same_on_all(self, name, sets):
        alone = self.train(f"{name}-1", sets)
        for ranks in (3, 5):
            run = self.train(f"{name}-{ranks}", sets, ranks=ranks)
            self.assertEqual(differences(alone, run, 40), [], f"{name}: 1 and {ranks} ranks")
            self.assertEqual(judgings(alone), judgings(run))
        return alone

    def test_same_bits_on_any_ranks(self):
        """However fast an exchange is, it is applied at the same step."""
        late = self.same_on_all("late", [*STEPS, "evolution.delay=4"])
        for wire in ("bf16", "int4"):
            self.same_on_all(wire, [*NARROW, f"evolution.wire={wire}"])
        self.same_on_all("all", [*STEPS, "evolution.delay=2", "evolution.fragments=2",
                                 "evolution.recombine=false", *EVERY_OPERATOR])
        prompt = self.train("prompt", STEPS)
        self.assertTrue(differences(prompt, late, 40), "a delay must make a difference")

    def test_resume(self):
        """A snapshot between a round's beginning and its application there cannot be."""
        for name, sets in (("narrow", [*NARROW, "evolution.wire=bf16"]),
                           ("mean", [*NARROW, *MEAN, "evolution.wire=int4"]),
                           ("whole", ["evolution.wire=int1"]),
                           ("all", ["evolution.delay=4", *EVERY_OPERATOR])):
            sets = [*sets, "run.steps=40", "train.schedule=constant"]
            whole = self.train(f"{name}-whole", sets)
            run = self.train(f"{name}-parts", [*sets, "run.steps=20"])
            self.train(f"{name}-parts", sets, resume=True, ranks=3)
            self.assertEqual(differences(whole, run, 40), [], name)

    def still(self, name, sets):
        """Nothing is learned, so that only rounds move experts, which begin different."""
        return self.train(name, ["run.steps=20", "train.lr=0", "population.init=different", *sets],
                          ranks=3)

    def test_a_delayed_round_moves_by_the_difference(self):
        """Halfway to the mean of four experts as they stood when the round began."""
        half = ["evolution.body.attractor=mean", "evolution.io.attractor=mean",
                "evolution.body.social=0.5", "evolution.io.social=0.5", "evolution.every=20"]
        start = self.train("start", ["run.steps=0", "population.init=different"])
        run = self.still("half", [*half, "evolution.delay=7"])
        before = [weights(start, k, 0) for k in range(EXPERTS)]
        for k in range(EXPERTS):
            for name, values in weights(run, k, 20).items():
                mean = np.mean([b[name].astype(np.float64) for b in before], axis=0)
                np.testing.assert_allclose(values, before[k][name] + 0.5 * (mean - before[k][name]),
                                           atol=1e-6)

    def test_training_goes_on_from_what_was_applied(self):
        """Nothing is learned, so once a round is applied the losses do not depend on when: also in
        bf16, where the model computes with a copy of the weights."""
        def losses(delay):
            run = self.still(f"when-{delay}", [f"evolution.delay={delay}", "evolution.every=10",
                                               "run.log=1", "train.precision=bf16"])
            return {(e["step"], e["expert"]): e["loss"] for e in events(run, "step")}
        soon, late = losses(1), losses(4)
        for key in soon:
            if 5 <= key[0] <= 10:
                self.assertAlmostEqual(soon[key], late[key], delta=1e-3)
        self.assertNotAlmostEqual(soon[(3, 1)], late[(3, 1)], delta=1e-3)

    def test_fragments_take_turns(self):
        """After as many rounds as fragments all is agreed, after one fewer some is not."""
        for rounds, agreed in ((4, True), (3, False)):
            run = self.still(f"turns-{rounds}", [
                *MEAN, "evolution.fragments=4", "evolution.delay=1",
                f"evolution.every={20 // rounds if agreed else 5}",
                *([] if agreed else ["run.steps=13", "snapshot.every=0"])])
            step = 20 if agreed else 13
            first, second = (weights(run, k, step) for k in (0, 1))
            same = [np.allclose(first[n], second[n], rtol=0, atol=1e-6) for n in first
                    if np.ptp(first[n]) > 0]
            self.assertEqual(all(same), agreed)
            self.assertTrue(any(same))

    def planned_round(self, sets):
        """Bytes of a round between judgings, as planned for two workers."""
        done = subprocess.run([SHOAL, "plan", self.config, "--workers", "2", "--json",
                               *[word for item in sets for word in ("--set", item)]],
                              capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)["exchange"]["round_bytes"]

    def test_a_narrow_wire_carries_less(self):
        """And nearly the same mean: differences are rounded, not weights, and what that loses is sent
        with the next ones."""
        mean = [*STEPS, *MEAN]

        def between(run):
            return [e["bytes"] for e in events(run, "round") if e["step"] % 20]
        wide = self.train("wide", mean, ranks=3)
        for wire, share in WIRES.items():
            sets = [*mean, f"evolution.wire={wire}"]
            narrow = self.train(wire, sets, ranks=3)
            for a, b in zip(between(wide), between(narrow), strict=True):
                self.assertAlmostEqual(b / a / share, 1, delta=0.02, msg=wire)
                self.assertAlmostEqual(b / self.planned_round(sets), 1, delta=0.02, msg=wire)
            self.assertTrue(differences(wide, narrow, 40))
            for a, b in zip(judgings(wide)[40], judgings(narrow)[40], strict=True):
                self.assertAlmostEqual(a, b, delta=5e-2 if wire == "int1" else 5e-3, msg=wire)

    def test_a_budget_chooses_the_cadence(self):
        """Cheap rounds come often, and a resumed run keeps the choice."""
        auto = ["evolution.every=auto", "evolution.judge=40", "snapshot.every=40", "eval.every=0",
                "train.schedule=constant"]
        for budget, least, most in (("1", 1, 1), ("0.0001", 40, 40)):
            sets = [*auto, f"evolution.budget={budget}"]
            run = self.train(f"budget-{budget}", [*sets, "run.steps=80"], ranks=3)
            chosen = events(run, "cadence")
            self.assertEqual([e["step"] for e in chosen], [40])
            self.assertTrue(least <= chosen[0]["every"] <= most, chosen)
            steps = [e["step"] for e in events(run, "round")]
            self.assertEqual(steps, [*range(0, 40, 4), *range(40, 80, chosen[0]["every"])])
            self.train(f"budget-{budget}", [*sets, "run.steps=120"], resume=True, ranks=3)
            self.assertEqual(len(events(run, "cadence")), 1)
            late = [e["step"] for e in events(run, "round") if e["step"] >= 80]
            self.assertEqual(late, list(range(80, 120, chosen[0]["every"])))

    def test_what_cannot_be(self):
        for sets, words in ((["evolution.delay=5"], "must be below evolution.every 5"),
                            (["evolution.wire=bf16", "evolution.recombine=false"], "recombine"),
                            (["evolution.wire=bf16", "transport=nccl"], "MPI only")):
            done = subprocess.run(command(self.config, self.dir / "no", sets), env=ENVIRONMENT,
                                  capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
