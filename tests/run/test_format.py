"""The session of docs/SNAPSHOT.md, and HDF5's own tools, on a fresh run."""

import doctest
import os
import pathlib
import shutil
import subprocess
import unittest

from harness import RunTest, shard_path

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/SNAPSHOT.md"


class Format(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.dir / "runs").mkdir()
        cls.run_dir = cls().train("runs/tiny")

    def runTest(self):
        pass

    def test_the_session_of_the_page(self):
        parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
        test = parser.get_doctest(PAGE.read_text(), {}, "SNAPSHOT.md", str(PAGE), 0)
        self.assertGreater(len(test.examples), 12)
        before = os.getcwd()
        os.chdir(self.dir)
        try:
            self.assertEqual(runner.run(test).failed, 0)
        finally:
            os.chdir(before)

    def tool(self, *line):
        if not shutil.which(line[0]):
            self.skipTest(f"{line[0]} is not installed")
        done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_h5ls(self):
        self.assertIn("wte", self.tool("h5ls", "-r", shard_path(self.run_dir, 0, 60)))
        self.assertIn("judgings", self.tool("h5ls", "-r", self.run_dir / "latest"))

    def test_h5dump(self):
        self.assertIn("H5T_IEEE_F32LE", self.tool("h5dump", "-H", self.run_dir / "best.h5"))
        self.assertIn("COMPOUND", self.tool("h5dump", "-d", "/ledger/judgings",
                                            self.run_dir / "latest"))


if __name__ == "__main__":
    unittest.main()
