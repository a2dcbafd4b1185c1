"""Everything a user can get wrong: one clear line, the right exit code, nothing left behind."""

import subprocess
import unittest

from harness import ENVIRONMENT, RunTest, SHOAL, write_shard

ARGUMENTS, FILES, DEVICE = 2, 3, 4  # exit codes


class Errors(RunTest):
    def refused(self, done, code, *fragments):
        self.assertEqual(done.returncode, code, done.stderr)
        told = [line for line in done.stderr.splitlines() if line.startswith("shoal: error: ")]
        self.assertEqual(len(told), 1, done.stderr)
        for fragment in fragments:
            self.assertIn(str(fragment), told[0])

    def train_refused(self, code, *fragments, sets=(), **how):
        """Alone and under the launcher; neither leaves a run directory."""
        for ranks in how.pop("on", (1, 3)):
            self.refused(self.attempt("refused", sets, ranks=ranks, **how), code, *fragments)
            self.assertFalse((self.dir / "refused").exists())

    def shoal(self, *arguments):
        return subprocess.run([SHOAL, *map(str, arguments)], env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=60, check=False)

    # ---- text ------------------------------------------------------------------------------------

    def tokenize(self, name):
        return self.shoal("tokenize", "--tokenizer", "bytes", "--out", self.dir / "no", name)

    def test_missing_text(self):
        self.refused(self.tokenize(self.dir / "absent.txt"), FILES, "absent.txt")

    def test_empty_text(self):
        (self.dir / "empty.txt").write_bytes(b"")
        done = self.tokenize(self.dir / "empty.txt")
        self.refused(done, done.returncode, "empty.txt")
        self.assertNotEqual(done.returncode, 0)

    # ---- shards ----------------------------------------------------------------------------------

    def shard_refused(self, name, *fragments, sets=()):
        self.train_refused(FILES, name, *fragments, sets=[f"data.train={self.dir / name}", *sets])

    def test_missing_shard(self):
        self.shard_refused("absent_*.bin", "data.train", "shoal tokenize")

    def test_token_out_of_vocabulary(self):
        tokens = [65] * 5000
        tokens[4321] = 300
        write_shard(self.dir / "high.bin", tokens)
        self.shard_refused("high.bin", "300", "4321", "256")

    def test_truncated_shard(self):
        write_shard(self.dir / "short.bin", [65] * 5000)
        whole = (self.dir / "short.bin").read_bytes()
        (self.dir / "short.bin").write_bytes(whole[:-100])
        self.shard_refused("short.bin", "5000", "truncated")

    def test_wrong_magic(self):
        (self.dir / "text.bin").write_bytes(b"plain text, no shard " * 100)
        self.shard_refused("text.bin", "magic", "20240520")

    def test_context_longer_than_shard(self):
        write_shard(self.dir / "small.bin", [65] * 1000)
        self.shard_refused("small.bin", "1000", "model.context", sets=["model.context=1024"])

    # ---- configuration ---------------------------------------------------------------------------

    def test_misspelt_key(self):
        self.train_refused(ARGUMENTS, "train.lrr", "train.lr", sets=["train.lrr=1"])

    def test_unknown_key_in_the_file(self):
        path = self.dir / "unknown.yaml"
        path.write_text(self.config.read_text() + "weather: fine\n")
        line = len(path.read_text().splitlines())
        self.refused(self.shoal("train", path), ARGUMENTS, f"unknown.yaml:{line}", "weather")

    def test_missing_configuration(self):
        self.refused(self.shoal("train", self.dir / "absent.yaml"), FILES, "absent.yaml")

    def test_width_not_divisible_by_heads(self):
        self.train_refused(ARGUMENTS, "model.width", "model.heads", sets=["model.heads=3"])

    def test_experts_not_dividing_layers(self):
        self.train_refused(ARGUMENTS, "population.experts", "model.layers",
                           sets=["population.experts=3"])

    def test_evaluations_between_judgings(self):
        self.train_refused(ARGUMENTS, "eval.every 30", "evolution.judge 20", "use 40",
                           sets=["eval.every=30"])

    def test_values_out_of_range(self):
        for key, value, fragment in (("train.skip", "-1", "0"), ("train.skip_window", "1", "2 to 1024"),
                                     ("train.wsd_decay", "1.5", "0 to 1"),
                                     ("eval.windows", "-1", "0")):
            self.train_refused(ARGUMENTS, key, value, fragment, sets=[f"{key}={value}"], on=(1,))

    def test_more_workers_than_experts(self):
        self.train_refused(ARGUMENTS, "5 workers", "4 experts", "population.experts", on=(6,))

    # ---- devices and transports ------------------------------------------------------------------

    def test_nccl_without_gpus(self):
        self.train_refused(ARGUMENTS, "transport nccl", "computes on the CPU", "use auto or mpi",
                           sets=["transport=nccl", "device=cpu"])

    def test_cuda_without_gpus(self):
        """Without CUDA in the build it is the configuration's fault, without a GPU the device's."""
        for ranks in (1, 3):
            done = self.attempt("cuda", ["device=cuda", "run.steps=0"], ranks=ranks)
            if done.returncode == 0:
                self.skipTest("there is a GPU")
            self.assertIn(done.returncode, (ARGUMENTS, DEVICE))
            self.refused(done, done.returncode, "cuda")
            self.assertFalse((self.dir / "cuda").exists())

    # ---- run directory ---------------------------------------------------------------------------

    def test_directory_not_writable(self):
        """A path below a plain file can be written by nobody, not even root."""
        for ranks in (1, 3):
            done = self.attempt("text.txt/run", ranks=ranks)
            self.refused(done, FILES, "text.txt")

    def test_already_a_run(self):
        self.train("taken", ["run.steps=0"])
        for ranks in (1, 3):
            done = self.attempt("taken", ranks=ranks)
            self.refused(done, ARGUMENTS, "taken is already a run", "--resume", "run.out")

    def test_resume_with_another_model(self):
        self.train("model", ["run.steps=20"])
        for ranks in (1, 3):
            done = self.attempt("model", ["model.width=64"], resume=True, ranks=ranks)
            self.refused(done, ARGUMENTS, "model.width", "64", "32")

    def test_resume_of_nothing(self):
        self.train_refused(FILES, "refused", "--resume", resume=True)

    # ---- snapshots -------------------------------------------------------------------------------

    def test_snapshot_that_is_not_one(self):
        data = f"{self.dir}/data/val_*.bin"
        for arguments in (["eval", self.config, "--data", data], ["inspect", self.config],
                          ["generate", self.config, "--prompt", "a"],
                          ["eval", self.dir / "data", "--data", data]):
            self.refused(self.shoal(*arguments), FILES, arguments[1])

    def test_snapshot_that_is_not_there(self):
        self.refused(self.shoal("inspect", self.dir / "nowhere"), FILES, "nowhere")


if __name__ == "__main__":
    unittest.main()
