"""`shoal inspect` (argument 1 is the program) on what `make_run` (argument 2) wrote."""
import json
import os
import subprocess
import sys
import tempfile

SHOAL, MAKE_RUN = map(os.path.abspath, sys.argv[1:])


def inspect(*arguments, expect=0):
    done = subprocess.run([SHOAL, "inspect", *arguments], capture_output=True, text=True)
    check(done.returncode == expect, arguments, "returned", done.returncode, done.stderr)
    return done.stdout if expect == 0 else done.stderr


def check(condition, *what):
    if not condition:
        sys.exit("inspect_command.py: " + " ".join(str(w) for w in what))


def check_run(run):
    seen = json.loads(inspect(run, "--json"))
    check(seen["step"] == 16 and seen["experts"] == 3 and seen["workers"] == 2, seen)
    board = [(row["member"], row["fitness"]) for row in seen["leaderboard"]]
    check(board == [(2, 2.0), ("mean", 2.5), (0, 2.5), (1, None)], board)
    check(seen["leaderboard"][0]["parent"] == "mean", seen["leaderboard"][0])
    check([row["step"] for row in seen["judgings"]] == [0, 8, 15], seen["judgings"])
    files = [f"{run}/experts/{k:04}/step-00000016.h5" for k in range(3)]
    files.append(f"{run}/snapshots/step-00000016.h5")
    check(seen["snapshots"] == [{"step": 16, "bytes": sum(map(os.path.getsize, files))}], seen)

    lines = inspect(run + "/").splitlines()
    check(lines[0].endswith("step 16 of 1000"), lines[0])
    at = next(i for i, line in enumerate(lines) if "perplexity" in line and "rank" in line)
    board = [line.split() for line in lines[at + 1:at + 5]]
    check([row[:2] for row in board] == [["*", "1"], ["2", "mean"], ["3", "#0"], ["4", "#1"]], board)
    check(all(line == line.rstrip() for line in lines), "blanks at the end of a line")


def check_parts(run):
    one = json.loads(inspect(f"{run}/latest", "--json"))
    check(one["leaderboard"][0]["member"] == 2 and one["snapshots"] == [], one)
    shard = json.loads(inspect(f"{run}/experts/0002/step-00000016.h5", "--json"))
    check(shard["expert"] == 2 and shard["tokens"] == 5000000002, shard)
    check(shard["tensors"][0]["shape"] == [61, 20], shard["tensors"][0])
    check(sum(t["count"] for t in shard["tensors"]) == 4 + 2 * 12, shard["tensors"])
    check("h.*.attn.c_attn.weight" in inspect(f"{run}/best.h5"), "no tensors of best.h5")


def check_errors(run, scratch):
    check("shoal: error: " in inspect(scratch, expect=3) and
          "not a run directory" in inspect(scratch, expect=3), "a directory")
    check("not an HDF5 file" in inspect(sys.argv[0], expect=3), "a text file")
    check("no such file" in inspect(f"{scratch}/nothing", expect=3), "nothing")
    inspect(expect=2)
    os.remove(f"{run}/experts/0001/step-00000016.h5")
    check("none of its snapshots" in inspect(run, expect=3), "a run without a good snapshot")
    check("experts/0001" in inspect(f"{run}/latest", expect=3), "a snapshot without a shard")


def main():
    with tempfile.TemporaryDirectory(prefix="shoal-test-") as scratch:
        run = f"{scratch}/run"
        subprocess.run([MAKE_RUN, run], check=True)
        check_run(run)
        check_parts(run)
        check_errors(run, scratch)


main()
