"""bench/evidence: a small comparison from text to table, and the figures against others' arithmetic."""
import json
import math
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest

EVIDENCE = pathlib.Path(os.environ["BENCH"]) / "evidence"
SHOAL = pathlib.Path(os.environ["BENCH_BUILD"]) / "shoal"
sys.path.insert(0, str(EVIDENCE))
import corpus  # noqa: E402
import matrix  # noqa: E402
import run as runner  # noqa: E402
import summarise  # noqa: E402
import summary  # noqa: E402
import tables  # noqa: E402

SMALL = {"run.steps": 8, "evolution.every": 2, "evolution.judge": 4, "model.width": 64, "model.context": 16, "train.batch": 2,
         "population.layers_per_expert": 1, "evolution.fitness_batches": 1, "train.warmup": 2}


def call(*words):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)


def result(cell, seed, loss, experts=4, sent=0.0, **more):
    return {"cell": cell, "seed": seed, "status": "ok", "test": loss, "experts": experts,
            "volume": {"bytes": sent, "parallel_bytes": 1000.0}, **more}


class Matrix(unittest.TestCase):
    def test_names_are_unique_and_files(self):
        names = [cell.name for cell in matrix.cells()]
        self.assertEqual(len(names), len(set(names)))
        for name in names:
            self.assertRegex(name, r"^[a-z0-9.-]+$")

    def test_all_seeds_of_the_first_come_first(self):
        order = [seed for _, seed in runner.jobs_of(matrix.cells(), 9)]
        self.assertEqual(order, sorted(order))

    def test_judgings_are_at_rounds(self):
        for cell in matrix.cells():
            if "evolution.judge" in cell.options:
                every = int(cell.options["evolution.every"])
                self.assertEqual(int(cell.options["evolution.judge"]) % every, 0, cell.name)


class Corpus(unittest.TestCase):
    def test_the_sets_are_the_text_without_overlap(self):
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder) / "text"
            text.write_bytes(b"".join(struct.pack("<I", i) for i in range(1, 10001)))
            about = corpus.prepare(pathlib.Path(folder), text)
            found = {}
            for kind in corpus.SETS:
                raw = (pathlib.Path(folder) / f"{kind}.bin").read_bytes()
                magic, version, tokens = struct.unpack("<3i", raw[:12])
                self.assertEqual((magic, version, tokens * 2 + 1024), (20240520, 1, len(raw)))
                self.assertEqual(about["tokens"][kind], tokens)
                content = bytes(struct.unpack(f"<{tokens}H", raw[1024:]))
                # 200 pieces of 50 numbers, each after the token 0
                pieces = [content[at:at + 201] for at in range(0, len(content), 201)]
                self.assertTrue(all(piece[0] == 0 for piece in pieces))
                found[kind] = [struct.unpack("<50I", piece[1:]) for piece in pieces]
            self.assertEqual(sorted(n for pieces in found.values() for piece in pieces for n in piece),
                             list(range(1, 10001)))
            self.assertTrue(all(2 <= len(found[kind]) <= 25 for kind in ("fitness", "test")))


class Figures(unittest.TestCase):
    """Numbers that were worked out by hand."""
    results = {
        "none": {1: result("none", 1, 2.9, test_of_experts=[2.9, 3.0, 3.1, 3.0]),
                 2: result("none", 2, 3.1, test_of_experts=[3.1, 3.2, 3.3, 3.2])},
        "parallel": {1: result("parallel", 1, 2.0, sent=1000.0), 2: result("parallel", 2, 2.2, sent=1000.0)},
        "shoal-10": {1: result("shoal-10", 1, 2.5, sent=100.0), 2: result("shoal-10", 2, 2.6, sent=100.0)},
        "shoal-50-of-8": {1: result("shoal-50-of-8", 1, 2.4, experts=8, sent=20.0)},
        "none-of-8": {1: result("none-of-8", 1, 2.8, experts=8)},
        "parallel-of-8": {1: result("parallel-of-8", 1, 1.8, experts=8)},
    }

    def test_gap_and_gain(self):
        gap = summary.gap(self.results, "shoal-10")  # (3 - 2.5) / (3 - 2), (3.2 - 2.6) / (3.2 - 2.2)
        self.assertAlmostEqual(gap.mean, 0.55)
        self.assertAlmostEqual(gap.deviation, math.sqrt(0.005))
        self.assertAlmostEqual(summary.gain(self.results, "shoal-10").mean, 0.45)

    def test_each_population_has_its_own_yardsticks(self):
        self.assertAlmostEqual(summary.gap(self.results, "shoal-50-of-8").mean, 0.6 / 1.2)
        self.assertAlmostEqual(summary.gain(self.results, "shoal-50-of-8").mean, 0.4)

    def test_what_is_missing_is_a_dash(self):
        line = tables.line({"shoal-10": self.results["shoal-10"]}, self.cell("shoal-10"))
        self.assertEqual([cell.strip() for cell in line.split("|")][4:6], ["-", "-"])

    @staticmethod
    def cell(name):
        return next(cell for cell in matrix.cells() if cell.name == name)

    def test_a_document_is_filled_and_stays_so(self):
        text = "It closes <!-- gap shoal-10 -->?<!-- end --> of it.\n<!-- table cadence --><!-- end -->\n"
        filled = summarise.fill(text, {"headers": self.results})
        self.assertIn("closes <!-- gap shoal-10 -->55 ± 7 %<!-- end --> of", filled)
        self.assertIn("| `shoal-10` | 2 | 2.5500 ± 0.0707 | 0.4500 ± 0.0707 | 55 ± 7 % | 10 % |", filled)
        self.assertEqual(summarise.fill(filled, {"headers": self.results}), filled)
        with self.assertRaisesRegex(SystemExit, "unknown marker 'gpa x'"):
            summarise.fill("<!-- gpa x --><!-- end -->", {})


class Document(unittest.TestCase):
    def test_it_says_what_the_results_say(self):
        done = call(EVIDENCE / "summarise.py", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)


class WholeWay(unittest.TestCase):
    """Two cells of a few steps: run, continue, fail, summarise."""
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.base = pathlib.Path(cls.folder.name)
        words = random.Random(1)
        (cls.base / "text.txt").write_text(
            " ".join(words.choice(("if", "while", "int", "return", "x", "y")) for _ in range(12000)))
        cls.first = cls.run_cells()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def run_cells(cls, *more):
        return call(EVIDENCE / "run.py", "--only", "none", "--only", "shoal-2", "--seeds", 2, "--jobs", 2,
                    "--shoal", SHOAL, "--text", cls.base / "text.txt", "--results", cls.base / "results",
                    "--work", cls.base / "work", "--sequences", 50,
                    *(word for item in SMALL.items() for word in ("--set", "=".join(map(str, item)))), *more)

    def result(self, name):
        return json.loads((self.base / "results" / "text" / f"{name}.json").read_text())

    def test_results_say_what_was_run(self):
        self.assertEqual(self.first.returncode, 0, self.first.stderr)
        self.assertIn("4 runs to do, 0 done", self.first.stdout)
        made = self.result("shoal-2-seed2")
        self.assertEqual((made["status"], made["seed"], made["experts"], made["steps"]), ("ok", 2, 4, 8))
        self.assertEqual(made["tokens"], 4 * 8 * 2 * 16)
        self.assertEqual([j["step"] for j in made["judgings"]], [0, 4, 8])
        self.assertEqual(made["rounds"], 4)
        self.assertTrue(1 < made["test"] < math.log(256) + 0.1)
        self.assertEqual(made["text"]["name"], "text")
        self.assertEqual(list((self.base / "work").glob("shoal-2*")), [])

    def test_volume_is_that_of_means_by_ring(self):
        made = self.result("shoal-2-seed1")
        mean = 2 * 3 * 4 * made["parameters"]
        # Three judgings need a mean each, and two of the four rounds are between judgings. Where an
        # expert leads, it is sent instead, once, and also in the round after the judging.
        sent = 3 * mean
        for judged in made["judgings"][:2]:
            sent += mean if judged["best"] == "mean" else 2 * mean / 2
        self.assertEqual(made["volume"]["bytes"], sent)
        self.assertEqual(made["volume"]["parallel_bytes"], 8 * mean)
        self.assertEqual(self.result("none-seed1")["volume"]["bytes"], 0)

    def test_the_table_holds_means_over_seeds(self):
        said = call(EVIDENCE / "summarise.py", "--results", self.base / "results", "--print").stdout
        row = re.search(r"\| `shoal-2` \|(.*)\|", said).group(1).split("|")
        a, b = (self.result(f"shoal-2-seed{seed}")["test"] for seed in (1, 2))
        self.assertEqual(row[1].strip(), f"{(a + b) / 2:.4f} ± {abs(a - b) / math.sqrt(2):.4f}")
        alone = [loss for seed in (1, 2) for loss in self.result(f"none-seed{seed}")["test_of_experts"]]
        self.assertEqual(len(alone), 8)
        self.assertIn(f"| one expert | 2 | {sum(alone) / 8:.4f} ±", said)

    def test_what_is_there_is_not_repeated_and_failures_show(self):
        self.assertIn("0 runs to do, 4 done", self.run_cells().stdout)
        bad = self.run_cells("--again", "--set", "train.lr=-1", "--results", self.base / "bad")
        self.assertEqual(bad.returncode, 1)
        self.assertIn("4 runs failed", bad.stderr)
        made = json.loads((self.base / "bad" / "text" / "none-seed1.json").read_text())
        self.assertEqual(made["status"], "failed")
        self.assertIn("train.lr", made["error"])
        said = call(EVIDENCE / "summarise.py", "--results", self.base / "bad", "--print")
        self.assertIn("failed: none seed 1", said.stderr)


if __name__ == "__main__":
    unittest.main()
