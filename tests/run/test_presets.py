"""Every preset and mode: the same bits on any number of workers, and after a resumption."""

import json
import subprocess
import unittest

import h5py
import numpy as np

import test_resume
from harness import (ENVIRONMENT, EXPERTS, RunTest, SHOAL, differences, events, judgings,
                     shard_path)

STEPS = 40
SHORT = [f"run.steps={STEPS}", "model.layers=4"]
SELECTING = ["evolution.every=10", "evolution.judge=10", "snapshot.every=10"]
RUNS = {
    "copy": ["evolution.preset=copy", "population.lr_spread=3", *SELECTING],
    "tournament": ["evolution.preset=tournament", *SELECTING],
    "diloco": ["evolution.preset=diloco"],
    "parallel": ["population.mode=data_parallel", "train.skip=6", "train.skip_window=8"],
    "mixed": ["evolution.preset=none", "evolution.body.attractor=pair",
              "evolution.body.crossover=0.5", "evolution.body.social=0",
              "evolution.body.crossover_by=row", "evolution.body.moments=inherit",
              "evolution.io.attractor=mean", "evolution.outer.lr=0.8", "evolution.outer.momentum=0.5",
              "evolution.io.mutation=0.1"],
}


class Presets(RunTest):
    def same_everywhere(self, name, more_ranks=(5,)):
        sets = [*SHORT, *RUNS[name]]
        alone = self.train(f"{name}-1", sets)
        for ranks in more_ranks:
            run = self.train(f"{name}-{ranks}", sets, ranks=ranks)
            self.assertEqual(differences(alone, run, STEPS), [], f"{name}: 1 and {ranks} ranks")
            self.assertEqual(judgings(alone), judgings(run))
        self.traffic_is_foretold(run, sets)
        test_resume.Resume.forget(run, STEPS)
        self.train(run.name, sets, resume=True, ranks=3)
        self.assertEqual(differences(alone, run, STEPS), [], f"{name}: resumed")
        self.assertTrue(events(run, "start")[-1]["resumed"])
        return alone

    def traffic_is_foretold(self, run, sets):
        """No round sends more than `shoal plan` says, for as many workers."""
        line = [SHOAL, "plan", str(self.config), "--workers", "4", "--json"]
        for item in sets:
            line += ["--set", item]
        found = json.loads(subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True,
                                          timeout=60, check=True).stdout)["exchange"]
        judged = set(judgings(run))
        for event in events(run, "round"):
            most = found["judging_bytes" if event["step"] in judged else "round_bytes"]
            self.assertLessEqual(event["bytes"], 1.001 * most, event)

    def right_after(self, name, step, out="after"):
        """A run that ends one step after the round at `step`, with a step that learns nothing: its
        last shards hold what the round made, weights exactly and moments nearly."""
        return self.train(f"{name}-{out}-{step}", [
            "model.layers=4", *RUNS[name], f"run.steps={step + 1}", "train.schedule=linear",
            "train.lr_final=0", "train.beta1=0.99999", "train.beta2=0.99999"])

    def weights(self, run, expert, step, group="params"):
        found = {}
        with h5py.File(shard_path(run, expert, step), "r") as file:
            file[group].visititems(lambda name, item: found.__setitem__(name, item[()])
                                   if isinstance(item, h5py.Dataset) else None)
        return found

    def lineage(self, run, step):
        """What each expert did in the round at a step, from the ledger."""
        return {event["expert"]: event for event in events(run, "lineage")
                if event["step"] == step}

    def test_copy(self):
        """After each judging the worst of four is a copy of the best, moments included, and learns
        a little faster or slower than the original."""
        run = self.same_everywhere("copy")
        rates = {k: 3 ** (2 * k / 3 - 1) for k in range(EXPERTS)}
        for step in (10, 20, 30):
            fitness = judgings(run)[step]
            best, worst = int(np.argmin(fitness)), int(np.argmax(fitness))
            found = self.lineage(run, step)
            for expert, event in found.items():
                source = best if expert == worst else -1
                self.assertEqual(event["kind"], "copied" if expert == worst else "stayed")
                self.assertEqual((event["body"], event["io"]), (source, source))
            change = found[worst]["lr_scale"] / rates[best]
            self.assertAlmostEqual(abs(np.log(change)), np.log(1.2))
            rates[worst] = found[worst]["lr_scale"]
            for expert, rate in rates.items():
                self.assertAlmostEqual(found[expert]["lr_scale"], rate)
                with h5py.File(shard_path(run, expert, step + 10), "r") as file:
                    self.assertAlmostEqual(file["state"].attrs["lr_scale"], rate)
                    if expert == worst:
                        self.assertEqual(file.attrs["parent"], best)
        self.copies_are_whole()
        self.rates_are_used(run, rates)
        self.inspected(run)

    def copies_are_whole(self):
        run = self.right_after("copy", 20)
        fitness = judgings(run)[20]
        best, worst = int(np.argmin(fitness)), int(np.argmax(fitness))
        copied, original = (self.weights(run, k, 21) for k in (worst, best))
        for name, values in original.items():
            np.testing.assert_array_equal(copied[name], values)
        for group in ("optim/m", "optim/v"):
            moments = [np.concatenate([v.ravel() for _, v in
                                       sorted(self.weights(run, k, 21, group).items())])
                       for k in range(EXPERTS)]
            away = [np.linalg.norm(m - moments[worst]) for m in moments]
            others = [away[k] for k in range(EXPERTS) if k not in (best, worst)]
            self.assertLess(away[best], 0.6 * min(others), group)

    def rates_are_used(self, run, rates):
        """In the last steps, after the last change, the experts' rates differ as the ledger says."""
        used = {e["expert"]: e["lr"] for e in events(run, "step") if e["step"] == STEPS}
        for expert in range(EXPERTS):
            self.assertAlmostEqual(used[expert] / used[0], rates[expert] / rates[0])

    def inspected(self, run):
        """`inspect` shows rates and lineage; files that have neither are read as they were."""
        def see(what):
            return subprocess.run([SHOAL, "inspect", str(what), *json_flag], env=ENVIRONMENT, text=True,
                                  capture_output=True, check=True).stdout
        shard = shard_path(run, 1, STEPS)
        json_flag = []
        self.assertIn("lr scale", see(run))
        self.assertIn("lr scale", see(shard))
        json_flag = ["--json"]
        found = json.loads(see(shard))
        self.assertEqual([row["step"] for row in found["lineage"]], [10, 20, 30])
        with h5py.File(shard, "r+") as file:
            rows = file["history/lineage"][()]
            self.assertEqual([row["distance"] for row in found["lineage"]], list(rows["distance"]))
            self.assertEqual(found["lr_scale"], file["state"].attrs["lr_scale"])
            del file["history/lineage"], file["state"].attrs["lr_scale"]
        found = json.loads(see(shard))
        self.assertEqual((found["lineage"], found["lr_scale"]), ([], 1))

    def test_distance(self):
        """How far the first copy was moved, from the same experts before and after."""
        run = self.right_after("copy", 20, "distance")
        moved = [e for e in self.lineage(run, 20).values() if e["kind"] == "copied"]
        self.assertEqual(len(moved), 1)
        was, now = (np.concatenate([values.ravel().astype(np.float64) for _, values in
                                    sorted(self.weights(run, moved[0]["expert"], step).items())])
                    for step in (20, 21))
        self.assertAlmostEqual(moved[0]["distance"],
                               np.linalg.norm(now - was) / np.linalg.norm(was), 6)

    def test_tournament(self):
        """Two experts have taken the weights of two better ones, and kept their own moments."""
        self.same_everywhere("tournament")
        for step in (10, 20):
            run = self.right_after("tournament", step)
            fitness = judgings(run)[step]
            step += 1
            weights = [self.weights(run, k, step)["wte/weight"] for k in range(EXPERTS)]
            equal = [(a, b) for a in range(EXPERTS) for b in range(a)
                     if np.array_equal(weights[a], weights[b])]
            self.assertEqual(len(equal), 2)
            self.assertEqual(len({k for pair in equal for k in pair}), EXPERTS)
            moments = [self.weights(run, k, step, "optim/m")["wte/weight"] for k in range(EXPERTS)]
            for a, b in equal:
                self.assertFalse(np.array_equal(moments[a], moments[b]))
                loser, winner = (a, b) if fitness[a] > fitness[b] else (b, a)
                with h5py.File(shard_path(run, loser, step), "r") as file:
                    self.assertEqual(file.attrs["parent"], winner)

    def test_diloco(self):
        """All stand where the outer step led, from what they last agreed on."""
        self.same_everywhere("diloco")
        run = self.right_after("diloco", 20)
        for step in (20, 21):
            agreed = self.weights(run, 0, step, "evo/outer/agreed")
            self.assertTrue(any(np.any(v) for v in
                                self.weights(run, 0, step, "evo/outer/velocity").values()))
            with h5py.File(shard_path(run, 1, step), "r") as file:
                self.assertNotIn("outer", file["evo"])
            for expert in range(EXPERTS if step == 21 else 0):  # the other is as judged
                for name, values in self.weights(run, expert, step).items():
                    np.testing.assert_array_equal(values, agreed[name])

    def test_parallel(self):
        run = self.same_everywhere("parallel", (3, 5))
        first = self.weights(run, 0, STEPS)
        for expert in range(1, EXPERTS):
            for name, values in self.weights(run, expert, STEPS).items():
                np.testing.assert_array_equal(values, first[name])
            with h5py.File(shard_path(run, expert, STEPS), "r") as file:
                self.assertEqual(file["state"].attrs["position"], 8 * STEPS)
        self.assertEqual(events(run, "round"), [])
        self.assertLess(judgings(run)[STEPS][0], judgings(run)[0][0] - 0.5)

    def test_mixed(self):
        self.same_everywhere("mixed")


if __name__ == "__main__":
    unittest.main()
