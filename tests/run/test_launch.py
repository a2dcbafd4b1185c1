"""What ranks must agree on before they train, and what is said of them."""

import os
import shutil
import subprocess
import unittest

from harness import ENVIRONMENT, MPIEXEC, RunTest, SHOAL, command


class Launch(RunTest):
    def together(self, *lines, before=()):
        """Ranks started with different command lines; n of each: [(n, directory, line)]."""
        job = [MPIEXEC]
        for n, directory, line in lines:
            job += [*([":"] if len(job) > 1 else []), "-n", str(n), "-wdir", str(directory),
                    *before, *line]
        return subprocess.run(job, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
                              check=False)

    def line(self, out, *sets, program=SHOAL):
        return [program, *command(self.config, out, ["run.steps=0", *sets])[1:]]

    def refused(self, done, *fragments):
        told = [line for line in done.stderr.splitlines() if "error: " in line]
        self.assertEqual((done.returncode, len(told)), (2, 1), done.stderr)
        for fragment in fragments:
            self.assertIn(fragment, told[0])

    def test_another_configuration(self):
        run = self.dir / "configuration"
        done = self.together((2, self.dir, self.line(run)),
                             (2, self.dir, self.line(run, "train.lr=0.5", "train.clip=3")))
        self.refused(done, "configuration differs", "on ranks 2, 3 (", "train.lr is '0.5', on rank 0 '0.003'",
                     "1 more option")
        self.assertFalse(run.exists())

    def test_what_may_be_another(self):
        run = self.dir / "another"
        done = self.together((1, self.dir, self.line(run)), (2, self.dir, self.line(run, "threads=2")))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_another_program(self):
        """One byte more at its end does not change what it does."""
        run = self.dir / "program"
        other = self.dir / "other"
        shutil.copy(SHOAL, other)
        with other.open("ab") as file:
            file.write(b"\0")
        done = self.together((2, self.dir, self.line(run)), (1, self.dir, self.line(run, program=str(other))))
        self.refused(done, "program differs", "on rank 2 (", "build ")
        self.assertFalse(run.exists())

    def test_private_run_directories(self):
        """The same relative path in different places, as on machines without a shared file system."""
        places = [self.dir / name for name in ("here", "there")]
        for place in places:
            place.mkdir()
        jobs = [(1, places[0], self.line("run")), (2, places[1], self.line("run"))]
        self.refused(self.together(*jobs), "run directory is not shared", "on ranks 1, 2 (", "run.out")
        self.assertEqual([os.listdir(place) for place in places], [[], []])

    def test_run_directories_of_other_names(self):
        """Where the first directory that exists is the same, but not what is below it."""
        done = self.together((2, self.dir, self.line("c/run")), (1, self.dir, self.line("d/run")))
        self.refused(done, "run directory is not shared", "on rank 2 (", "d/run")
        self.assertFalse((self.dir / "c").exists() or (self.dir / "d").exists())

    def test_shared_under_another_name(self):
        """Ranks may reach the same place on other ways, and the run is where all see it."""
        (self.dir / "place").mkdir()
        (self.dir / "way").symlink_to("place")
        done = self.together((2, self.dir, self.line("place/deep/run")),
                             (1, self.dir, self.line(f"{self.dir}/way/deep/run")))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(os.listdir(self.dir / "place/deep")), ["run"])
        self.assertEqual(os.listdir(self.dir / "place"), ["deep"])

    def test_who_runs_where(self):
        done = self.attempt("where", ["run.steps=0"], ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        host = os.uname().nodename
        self.assertIn("shoal: 3 ranks on 1 machine; weights travel by MPI from host memory\n", done.stderr)
        self.assertIn(f"shoal:   {host}: coordinator (rank 0) and 2 workers (ranks 1, 2) on ", done.stderr)
        done = self.attempt("alone", ["run.steps=0"])
        self.assertIn(f"shoal: one process on {host}; ", done.stderr)

    def test_crowded(self):
        """A thread more than there are cores."""
        cores = len(os.sched_getaffinity(0))
        done = self.attempt("crowded", ["run.steps=0", f"threads={cores // 2 + 1}"], ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"2 workers with {2 * (cores // 2 + 1)} threads in all on {cores} core", done.stderr)


if __name__ == "__main__":
    unittest.main()
