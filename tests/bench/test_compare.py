"""bench/compare.py: its figures, llm.c's input files and output, and what takes part in which case."""
import array
import json
import math
import os
import pathlib
import stat
import statistics
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.path.insert(0, os.environ["BENCH"])
import compare  # noqa: E402
import figures  # noqa: E402
import llmc  # noqa: E402

BUILD = pathlib.Path(os.environ["BENCH_BUILD"])
PEAKS = [{"bf16_flops_per_s": 900.0, "f32_flops_per_s": 400.0, "copy_bytes_per_s": 30.0},
         {"bf16_flops_per_s": None, "f32_flops_per_s": 500.0, "copy_bytes_per_s": 20.0}]

# Prints as C programs do, whatever PYTHONUNBUFFERED says, and never flushes by itself.
TRAINER = f"""#!{sys.executable} -E
import ctypes, os, time
say = ctypes.CDLL(None).puts
say(b"step 0: (took %d ms)" % (500 if os.path.exists("train_gpt2") else -1))
say(b"step 1: (took %s000 ms)" % os.environb[b"OMP_NUM_THREADS"])
time.sleep(5)
os._exit(0)
"""


def run_of(seconds, memory=1, others=0.0, **more):
    return {"seconds": seconds, "peak_rss_bytes": memory, "others_share": others, **more}


class Figures(unittest.TestCase):
    def test_steps_of_all_rounds_are_one_sample(self):
        made = figures.summary([run_of([1.0, 4.0], 7, 0.2), run_of([2.0], 9, 0.1)], tokens=10)
        self.assertEqual(made, {"tokens_per_s": 5.0, "median_s": 2.0, "fastest_s": 1.0,
                                "slowest_s": 4.0, "spread": 1.5, "others_share": 0.2,
                                "peak_rss_bytes": 9})

    def test_a_missing_value_makes_no_quotient(self):
        self.assertEqual(figures.quotient(3, 2), 1.5)
        self.assertIsNone(figures.quotient(None, 2))
        self.assertIsNone(figures.quotient(3, None))

    def test_the_highest_peak_counts(self):
        self.assertEqual(figures.peak(PEAKS, "f32_flops_per_s"), 500)
        self.assertEqual(figures.peak(PEAKS, "bf16_flops_per_s"), 900)
        self.assertIsNone(figures.peak(PEAKS[1:], "bf16_flops_per_s"))

    def test_ratios_are_to_the_faster_pytorch(self):
        # shoal: 10 tokens/s and 2 operations a token; PyTorch: 4 and 5 tokens/s; llm.c: 1.
        runs = {"shoal": [run_of([1.0], flops_per_s=20.0, tokens_per_s=10.0)],
                "eager": [run_of([2.5])], "compile": [run_of([2.0])], "llmc": [run_of([10.0])]}
        made = figures.row("case", "f32", runs, 10, PEAKS)
        self.assertEqual((made["ratio"], made["ratio_llmc"]), (2, 10))
        self.assertEqual((made["shoal_share"], made["pytorch_share"]), (20 / 500, 10 / 500))
        self.assertEqual(made["ceiling"], 50)
        self.assertAlmostEqual(made["ratio"] / made["shoal_share"], made["ceiling"])

    def test_what_was_not_measured_is_a_dash(self):
        runs = {"shoal": [run_of([1.0], 2e9, flops_per_s=20.0, tokens_per_s=10.0)]}
        made = figures.row("alone", "bf16", runs, 10, PEAKS[1:])
        for key in "ratio", "ratio_llmc", "ceiling", "shoal_share", "pytorch_share":
            self.assertIsNone(made[key])
        line = figures.table_line(made).split()
        self.assertEqual(line, "alone bf16 10 - - - - - - - - 0% 2.00 - - -".split())
        text = figures.table([made], PEAKS[1:])
        self.assertIn("product peak bf16: not on this machine", text)


class LlmcFiles(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "file"

    def read(self, code, skip=0):
        values = array.array(code)
        values.frombytes(self.path.read_bytes()[skip:])
        return values

    def test_parameters_are_those_of_gpt2_124m(self):
        self.assertEqual(sum(count for count, _ in llmc.tensors()), 124475904)
        self.assertEqual(len(llmc.tensors()), 16)
        self.assertEqual(llmc.tensors()[0], (50304 * 768, "normal"))

    def test_checkpoint_has_every_value(self):
        llmc.write_checkpoint(self.path, [(1500000, "normal"), (70000, "one"), (5, "zero")])
        self.assertEqual(self.read("i")[:9].tolist(),
                         [20240326, 3, 1024, 50257, 12, 12, 768, 50304, 0])
        values = self.read("f", 1024)
        self.assertEqual(len(values), 1570005)
        self.assertAlmostEqual(statistics.pstdev(values[:100000]), 0.02, places=3)
        self.assertEqual(set(values[1500000:1570000]), {1.0})
        self.assertEqual(set(values[1570000:]), {0.0})

    def test_shard_holds_tokens_of_the_vocabulary(self):
        llmc.write_shard(self.path, 3000)
        self.assertEqual(self.read("i")[:3].tolist(), [20240520, 1, 3000])
        tokens = self.read("H", 1024)
        self.assertEqual(len(tokens), 3000)
        self.assertLess(max(tokens), 50257)
        self.assertGreater(len(set(tokens)), 2500)


class LlmcOutput(unittest.TestCase):
    RIGHT = f"train dataset num_batches: {llmc.TOKENS // (4 * 256)}\n"

    @staticmethod
    def step(number, ms):
        return f"step {number}: train loss 10.9{number} (took {ms} ms)\n"

    def test_only_steps_have_times(self):
        self.assertAlmostEqual(llmc.step_seconds(self.step(0, "12345.6")), 12.3456)
        for line in "val loss 5.3\n", "step 3 of many\n", "said (took 3 ms)\n", "":
            self.assertIsNone(llmc.step_seconds(line))

    def test_the_first_step_is_left_out(self):
        lines = iter([self.RIGHT, "val loss 11\n", *(self.step(i, 1000 + i) for i in range(9))])
        self.assertEqual(llmc.collect(lines, 256, 2), [1.001, 1.002])
        self.assertEqual(next(lines), self.step(3, 1003))

    def test_a_long_first_step_is_enough(self):
        self.assertEqual(llmc.collect([self.RIGHT, self.step(0, 61000.0)], 256, 2), [61])

    def test_an_early_end_is_an_error_that_says_what_was_said(self):
        with self.assertRaisesRegex(RuntimeError, "Bad magic"):
            llmc.collect([self.RIGHT, self.step(0, 9), self.step(1, 9), "Bad magic\n"], 256, 2)

    def test_another_context_is_an_error(self):
        with self.assertRaisesRegex(RuntimeError, "not built for 4 x 1024"):
            llmc.collect([self.RIGHT, self.step(0, 9), self.step(1, 9)], 1024, 1)

    def test_the_program_runs_in_the_folder_until_it_has_told_enough(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "train_gpt2"
            program.write_text(TRAINER)
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            run = llmc.measure(program, folder, 256, threads=3, steps=1)
            program.write_text("#!/bin/sh\necho 'no such file' >&2\n")
            with self.assertRaisesRegex(SystemExit, "no such file"):
                llmc.measure(program, folder, 256, threads=3, steps=1)
        self.assertEqual(run["seconds"], [3])
        self.assertGreater(run["peak_rss_bytes"], 1000000)


class Contestants(unittest.TestCase):
    def of(self, name, python="python3", contexts=(256,)):
        args = types.SimpleNamespace(python=python, precisions=["bf16", "f32"],
                                     llmc={context: "train_gpt2" for context in contexts})
        return compare.contestants(args, name)

    def test_llmc_takes_part_only_in_what_it_was_built_for(self):
        self.assertIn(("f32", "llmc"), self.of("gpt2-256"))
        self.assertNotIn(("f32", "llmc"), self.of("gpt2-1024"))
        self.assertNotIn(("f32", "llmc"), self.of("char"))

    def test_what_is_not_given_is_left_out(self):
        self.assertEqual(self.of("gpt2-256", python=None, contexts=()),
                         [("bf16", "shoal"), ("f32", "shoal")])

    def test_llmc_is_in_the_rows_of_both_types(self):
        shoal = run_of([1.0], flops_per_s=20.0, tokens_per_s=10.0)
        measured = {"gpt2-256": {("bf16", "shoal"): [shoal], ("f32", "shoal"): [shoal],
                                 ("f32", "llmc"): [run_of([8.0])]}}
        args = types.SimpleNamespace(precisions=["bf16", "f32"])
        rows = compare.rows_of(args, measured, PEAKS)
        self.assertEqual([(r["precision"], r["ratio_llmc"]) for r in rows], [("bf16", 8), ("f32", 8)])


class Others(unittest.TestCase):
    @mock.patch.object(compare, "start", return_value={"seconds": [1.0]})
    @mock.patch.object(compare, "children_ticks", side_effect=[10, 50])
    @mock.patch.object(compare, "processor_ticks", side_effect=[(100, 200), (160, 300)])
    def test_the_run_itself_is_no_other(self, *_):
        self.assertEqual(compare.measure("what"), {"seconds": [1.0], "others_share": 0.2})

    def test_ticks_are_of_this_machine(self):
        used, passed = compare.processor_ticks()
        self.assertTrue(0 < used <= passed)


class Peaks(unittest.TestCase):
    def test_program_measures_all_three(self):
        done = subprocess.run([BUILD / "bench" / "bench_peaks", "1", "0.01"],
                              stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
        self.assertEqual(set(found), set(PEAKS[0]))
        for key, value in found.items():
            if key != "bf16_flops_per_s" or value is not None:
                self.assertTrue(math.isfinite(value) and value > 1e6, f"{key}: {value}")

    def test_arguments_are_needed(self):
        done = subprocess.run([BUILD / "bench" / "bench_peaks"], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("give THREADS SECONDS", done.stderr)


if __name__ == "__main__":
    unittest.main()
