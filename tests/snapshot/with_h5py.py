"""Open what `make_run` (argument 1) wrote with h5py, which knows nothing of shoal."""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

SHARD_ATTRIBUTES = {
    "format": str, "format_version": np.int64, "run_id": str, "expert": np.int64, "worker": np.int64,
    "step": np.int64, "tokens": np.int64, "fitness": np.float64, "parent": np.int64, "config": str,
    "created": str, "shoal_version": str, "text_checksum": np.int64}
INDEX_ATTRIBUTES = {
    "format": str, "format_version": np.int64, "run_id": str, "step": np.int64, "experts": np.int64,
    "members": np.int64, "workers": np.int64, "time_s": np.float64, "best": np.int64,
    "best_fitness": np.float64, "round_done": np.int64, "champion": np.int64,
    "champion_step": np.int64, "champion_fitness": np.float64, "config": str, "created": str,
    "shoal_version": str, "text_checksum": np.int64}


def check(condition, *what):
    if not condition:
        sys.exit("with_h5py.py: " + " ".join(str(w) for w in what))


def datasets(group):
    found = {}
    group.visititems(lambda name, item: found.update({name: item})
                     if isinstance(item, h5py.Dataset) else None)
    return found


def check_attributes(file, expected):
    check(set(file.attrs) == set(expected), "attributes are", sorted(file.attrs))
    for name, kind in expected.items():
        value = file.attrs[name]
        check(isinstance(value, kind), name, "is", type(value), "not", kind)


def check_datasets(file):
    """Every dataset can be verified and understood without us."""
    for name, data in datasets(file).items():
        check(data.fletcher32, name, "has no Fletcher32")
        check(data.chunks is not None, name, "is not chunked")
        check(np.prod(data.chunks) * data.dtype.itemsize <= 1 << 20, name, "has chunks", data.chunks)
        for i, dimension in enumerate(data.dims):
            check(dimension.label != "", name, "dimension", i, "has no label")


class Memory:
    """A slab as it was in memory, by tensor, in Hugging Face's shapes."""

    def __init__(self, run, name):
        self.slab = np.fromfile(f"{run}/expert2-{name}.bin", dtype="<f4")
        self.rows = [line.split() for line in open(f"{run}/tensors.txt")]

    def tensors(self):
        for name, *numbers, turned in self.rows:
            offset, rows, cols, real_rows = map(int, numbers)
            values = self.slab[offset:offset + max(rows, 1) * cols]
            if rows:
                values = values.reshape(rows, cols)[:real_rows]
            yield name.replace(".", "/"), values.T if int(turned) else values


def check_slab(run, group, name):
    expected = dict(Memory(run, name).tensors())
    found = datasets(group)
    check(set(found) == set(expected), group.name, "holds", sorted(found))
    for tensor, values in expected.items():
        data = found[tensor]
        check(data.shape == values.shape and data.dtype == "<f4", data.name, data.shape, data.dtype)
        same = data[...].view("<u4") == np.ascontiguousarray(values).view("<u4")
        check(same.all(), data.name, "differs from what was in memory")


def check_shard(run):
    with h5py.File(f"{run}/experts/0002/step-00000016.h5") as file:
        check_attributes(file, SHARD_ATTRIBUTES)
        check_datasets(file)
        check(file.attrs["format"] == "shoal-expert" and file.attrs["format_version"] == 1)
        check(file.attrs["expert"] == 2 and file.attrs["step"] == 16 and file.attrs["parent"] == 3)
        check(file.attrs["fitness"] == 4.5 and file.attrs["tokens"] == 5000000002)
        check("width: 20" in file.attrs["config"], "config is", file.attrs["config"])
        for group, name in [("params", "weights"), ("optim/m", "m"), ("optim/v", "v"),
                            ("evo/velocity", "velocity"), ("evo/own_best", "own_best")]:
            check_slab(run, file[group], name)
        weights = file["params"]
        check(weights["wte/weight"].shape == (61, 20), "wte keeps its padding")
        check(weights["h/0/attn/c_attn/weight"].shape == (20, 60), "c_attn is not (in, out)")
        check([d.label for d in weights["h/1/mlp/c_fc/weight"].dims] == ["width", "hidden"])
        state = dict(file["state"].attrs)
        check(state == {"step": 16, "position": 402, "tokens": 5000000002, "parent": 3,
                        "fitness": 4.5, "lr_scale": 1.25}, "state is", state)
        lineage = file["history/lineage"][...]
        check(lineage.dtype.names == ("step", "body", "io", "kind", "distance", "lr_scale"), lineage)
        check(lineage[1].tolist() == (100, 2, 3, 1, 0.125, 1.2), lineage)
        outlier = file["state/outlier"]
        check(dict(outlier.attrs) == {"skipped": 1234567890123, "in_a_row": 3}, dict(outlier.attrs))
        window = outlier["window"][...]
        check(window.dtype.names == ("loss", "grad_norm") and len(window) == 5, window)
        check(window["loss"][3] == 1 / 3 and window["grad_norm"][1] == 1e308, window)
        check(file["evo/own_best"].attrs["own_best_fitness"] == 1.25)
        history = file["history/judgings"][...]
        check(history.dtype.names == ("step", "fitness", "train_loss", "time_s"), history.dtype)
        check(list(history["step"]) == [0, 50, 100] and np.isnan(history["fitness"][1]))
    with h5py.File(f"{run}/experts/0000/step-00000016.h5") as file:
        check(list(file["evo"]) == [], "expert 0 has no velocity")


def check_best(run):
    with h5py.File(f"{run}/best.h5") as file:
        check_attributes(file, SHARD_ATTRIBUTES)
        check_datasets(file)
        check(list(file) == ["params"], "best.h5 holds", list(file))
        check_slab(run, file["params"], "weights")


def check_index(run):
    check(os.readlink(f"{run}/latest") == "snapshots/step-00000016.h5", "latest")
    for path in [f"{run}/latest", f"{run}/snapshots/step-00000016.h5"]:
        with h5py.File(path) as file:
            check_attributes(file, INDEX_ATTRIBUTES)
            check_datasets(file["ledger"])
            check(file.attrs["format"] == "shoal-snapshot" and file.attrs["champion"] == 2)
            judgings, fitness = file["ledger/judgings"][...], file["ledger/fitness"]
            check(list(judgings["best"]) == [3, -1, 2], judgings)
            check(list(judgings["best_fitness"][::2]) == [5.0, 2.0], judgings)
            check(list(judgings["spread"]) == [0.5, 0.0, 0.5], judgings)
            check(fitness.shape == (3, 4) and fitness.dtype == "<f8", fitness)
            check([d.label for d in fitness.dims] == ["judging", "member"])
            check(fitness[2, 2] == 2.0 and np.isnan(fitness[2, 1]))
            check(list(file["ledger/live"]) == [1, 0, 1])
            for k in range(3):
                link = file.get(f"experts/{k:04}", getlink=True)
                check(link.filename == f"../experts/{k:04}/step-00000016.h5", link.filename)
                check(file[f"experts/{k:04}"].attrs["expert"] == k, "link", k)
            check(file["experts/0002/params/wte/weight"].shape == (61, 20))


def main():
    with tempfile.TemporaryDirectory(prefix="shoal-test-") as scratch:
        run, moved = f"{scratch}/run", f"{scratch}/elsewhere/moved"
        subprocess.run([sys.argv[1], run], check=True)
        check_shard(run)
        check_best(run)
        check_index(run)
        os.makedirs(f"{scratch}/elsewhere")
        os.rename(run, moved)
        check_index(moved)


main()
