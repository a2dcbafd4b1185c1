"""Workers on GPUs, as far as emulated ones show it: rounds beside training, by way of pinned memory,
on any number of ranks, with and without graphs; and what is learned beside what the CPU learns."""

import unittest

from harness import EVERY_OPERATOR, RunTest, differences, events, judgings

STEPS = 7
SMALL = [f"run.steps={STEPS}", "run.log=1", "model.layers=4", "model.width=16", "model.context=8",
         "train.batch=2", "train.micro_batch=1", "evolution.every=2", "evolution.judge=4",
         "evolution.fitness_batches=1", "snapshot.every=0", "population.init=different"]
BESIDE = [*SMALL, "evolution.delay=1", "evolution.fragments=2", "evolution.body.attractor=mean"]


class Emulated(RunTest):
    def on(self, device, name, sets, ranks=1):
        return self.train(f"{name}-{device}-{ranks}", [*sets, f"device={device}"], ranks=ranks)

    def curve(self, run):
        """(expert, step): loss and gradient norm, in any order."""
        return {(e["expert"], e["step"]): (e["loss"], e["grad_norm"]) for e in events(run, "step")}

    def test_any_ranks_and_the_cpu(self):
        cpu = self.on("cpu", "beside", BESIDE)
        alone = self.on("cuda", "beside", BESIDE)
        three = self.on("cuda", "beside", [*BESIDE, "train.graph=true"], ranks=3)
        self.assertEqual(differences(alone, three, STEPS), [])
        self.assertEqual(self.curve(alone), self.curve(three))
        expected, found = self.curve(cpu), self.curve(alone)
        self.assertEqual(len(found), 4 * STEPS)
        self.assertEqual(expected.keys(), found.keys())
        for key, (loss, norm) in expected.items():
            self.assertAlmostEqual(found[key][0], loss, delta=1e-4 * loss, msg=key)
            self.assertAlmostEqual(found[key][1], norm, delta=1e-3 * norm, msg=key)
        self.assertEqual(judgings(alone), judgings(three))

    def test_narrow_wire(self):
        """Packed on the emulated GPU, carried by way of the host."""
        sets = [*BESIDE, "evolution.io.attractor=mean", "evolution.wire=int4"]
        alone = self.on("cuda", "narrow", sets)
        three = self.on("cuda", "narrow", sets, ranks=3)
        self.assertEqual(differences(alone, three, STEPS), [])
        self.assertEqual(self.curve(alone), self.curve(three))

    def test_waiting_for_figures(self):
        """With train.skip the host decides before the step; nothing is an outlier here."""
        sets = [*SMALL, *EVERY_OPERATOR]
        late = self.on("cuda", "late", sets)
        prompt = self.on("cuda", "prompt", [*sets, "train.skip=1000"])
        self.assertEqual(self.curve(late), self.curve(prompt))

    def test_parked(self):
        """Swaps run beside training, as late as CUDA allows: what is not waited for is not there."""
        files = ["snapshot.every=4", "run.steps=8", "population.experts=4"]
        for name, sets, ranks in (
                ("beside", [*BESIDE, *files, "evolution.wire=bf16"], 1),
                ("every", [*SMALL, *files, *EVERY_OPERATOR, "snapshot.async=false"], 1),
                ("every-beside", [*SMALL, *files, *EVERY_OPERATOR, "evolution.delay=1"], 1),
                ("eoe", [*SMALL, *files, "evolution.preset=eoe", "model.layers=6",
                         "population.experts=6", "evolution.delay=1"], 3)):
            off, on = (self.on("cuda", f"{name}-{park}", [*sets, f"population.park={park}"], ranks)
                       for park in ("off", "on"))
            for step in (4, 8):
                self.assertEqual(differences(off, on, step), [], f"{name}, step {step}")
            self.assertEqual(self.curve(off), self.curve(on))
            self.assertEqual(judgings(off), judgings(on))


if __name__ == "__main__":
    unittest.main(verbosity=2)
