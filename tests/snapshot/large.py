"""Shards beyond every 2 GiB and 4 GiB limit: written, read back, verified, and opened with h5py.

Usage: large.py WRITE_LARGE [CASE]. 77: no room here."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np

COMMON = ["data.train=t", "data.val=v", "data.tokenizer=none", "population.experts=1",
          "evolution.recombine=false", "evolution.preset=none", "train.batch=1"]
# Name: options, parameters, and the tensor that is looked at.
CASES = {
    # All 48 layers of GPT-2 XL as one expert: 18.7 GB with moments.
    "whole": (["model.preset=gpt2-xl"], 1_557_611_200, "h.47.mlp.c_proj.weight"),
    # Embeddings of more than 2^31 bytes in one dataset.
    "tensor": (["model.layers=1", "model.width=8448", "model.heads=64", "model.vocab=65536",
                "model.context=8"], 1_410_266_880, "wte.weight"),
}
GIB = 1 << 30


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def available():
    """Bytes of memory."""
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def look(path, parameters, name):
    """With h5py alone: all tensors are there, and the last rows of a large one are what was written."""
    with h5py.File(path, "r") as file:
        for slab in ("params", "optim/m", "optim/v"):
            sizes = []
            file[slab].visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset)
                                  else None)
            assert sum(sizes) == parameters, (slab, sum(sizes))
        tensor = file["optim/v/" + name.replace(".", "/")]
        if name == "wte.weight":  # the first tensor of a slab: element i holds i, modulo a prime
            assert tensor.size * 4 > 2**31, tensor.shape
            rows, columns = tensor.shape
            first = (rows - 2) * columns
            want = (np.arange(first, rows * columns) % 16777213).astype(np.float32)
            assert (tensor[-2:].ravel() == want).all()
        else:
            assert np.isfinite(tensor[-2:]).all() and len(np.unique(tensor[-2:])) > 1000


def main():
    program, wanted = sys.argv[1], sys.argv[2:] or CASES
    for case in wanted:
        sets, parameters, name = CASES[case]
        with tempfile.TemporaryDirectory(prefix="shoal-large-") as place:
            file_bytes = 12 * parameters
            if shutil.disk_usage(place).free < file_bytes + 2 * GIB:
                skip(f"{place} has no room for {file_bytes / 1e9:.1f} GB")
            if available() < 4 * parameters + 4 * GIB:
                skip(f"less than {4 * parameters / 1e9 + 4:.1f} GB of memory is available")
            path = pathlib.Path(place) / "shard.h5"
            done = subprocess.run([program, path, *COMMON, *sets], check=True, capture_output=True, text=True)
            told = json.loads(done.stdout)
            assert told["parameters"] == parameters, told
            assert told["bytes"] == os.stat(path).st_size > file_bytes, told
            look(path, parameters, name)
            print(f"{case}: {told['bytes'] / 1e9:.2f} GB, written in {told['write_s']:.1f} s, read in "
                  f"{told['read_s']:.1f} s, verified in {told['verify_s']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
