"""shoal merge: means that numpy computes too, and a greedy soup taken step by step."""

import json
import subprocess
import unittest

import h5py
import numpy as np

from harness import SHOAL, RunTest, shard_path


def merge(parts, out, *options):
    line = [SHOAL, "merge", *map(str, parts), "--out", str(out), "--json", *options]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def weights(path):
    found = {}
    with h5py.File(path) as file:
        file["params"].visititems(lambda name, item: found.update({name: item[()]})
                                  if isinstance(item, h5py.Dataset) else None)
    return found


class Merge(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = cls().train("parts", ["run.steps=20", "evolution.preset=none"])
        cls.parts = [shard_path(cls.run_dir, k, 20) for k in range(4)]
        cls.data = ["--data", f"{cls.dir}/data/val_*.bin", "--sequences", "16"]

    def runTest(self):
        pass

    def merged(self, name, parts, *options):
        out = self.dir / name
        done = merge(parts, out, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), out

    def assert_mean(self, out, parts, shares):
        found = weights(out)
        given = [weights(part) for part in parts]
        for name, values in found.items():
            expected = sum(np.float64(s) * g[name] for s, g in zip(shares, given))
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7, err_msg=name)

    def test_uniform(self):
        _, out = self.merged("uniform.h5", self.parts)
        self.assert_mean(out, self.parts, [0.25] * 4)
        with h5py.File(out) as file, h5py.File(self.parts[2]) as part:
            rows = file["merge/parents"][()]
            self.assertEqual(list(rows["expert"]), [0, 1, 2, 3])
            self.assertEqual(list(rows["step"]), [20] * 4)
            self.assertEqual(file.attrs["run_id"], part.attrs["run_id"])
            self.assertEqual(file.attrs["tokens"], 4 * part.attrs["tokens"])
        for line in (["verify", out], ["inspect", out], ["eval", out, *self.data]):
            done = subprocess.run([SHOAL, *map(str, line)], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_fitness(self):
        with_fitness = [float(h5py.File(part).attrs["fitness"]) for part in self.parts]
        shares = np.exp((min(with_fitness) - np.array(with_fitness)) / 0.01)
        shares /= shares.sum()
        report, out = self.merged("fitness.h5", self.parts, "--weights", "fitness",
                                  "--temperature", "0.01")
        np.testing.assert_allclose([p["share"] for p in report["parents"]], shares, rtol=1e-5)
        self.assert_mean(out, self.parts, shares)

    def test_greedy(self):
        report, out = self.merged("greedy.h5", self.parts, "--weights", "greedy", *self.data)
        alone = [p["loss"] for p in report["parents"]]
        taken, best = [], None
        for i in np.argsort(alone, kind="stable"):
            trial = [*taken, int(i)]
            if len(trial) == 1:
                loss = alone[i]
            else:
                loss = self.merged(f"trial-{i}.h5", [self.parts[k] for k in trial],
                                   *self.data)[0]["loss"]
            if best is None or loss <= best + 1e-6:
                taken, best = trial, loss
        self.assertEqual(sorted(taken), [k for k in range(4) if report["parents"][k]["share"]])
        self.assertAlmostEqual(report["loss"], best, places=5)
        self.assertLessEqual(report["loss"], min(alone) + 1e-6)
        self.assert_mean(out, [self.parts[k] for k in taken], [1 / len(taken)] * len(taken))

    def test_refused(self):
        other = self.train("other", ["run.steps=0", "model.width=16"])
        for parts, options, says in (
                ([self.parts[0], other], [], "differ in model.width"),
                (self.parts, ["--weights", "greedy"], "--data"),
                (self.parts, ["--weights", "heavy"], "heavy is not known"),
                ([self.parts[0], self.dir / "none.h5"], [], "none.h5")):
            done = merge(parts, self.dir / "refused.h5", *options)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.stderr)
            self.assertFalse((self.dir / "refused.h5").exists())
        done = merge(self.parts, self.config)
        self.assertNotEqual(done.returncode, 0)  # never overwrites


if __name__ == "__main__":
    unittest.main()
