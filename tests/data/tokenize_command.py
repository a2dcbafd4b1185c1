#!/usr/bin/env python3
"""`shoal tokenize` from outside: what it writes, prints and refuses. Usage: tokenize_command.py SHOAL
VOCAB, a directory with vocab.json and merges.txt"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

SHOAL, VOCAB = sys.argv[1], pathlib.Path(sys.argv[2])


def shoal(*args, stdin=""):
    return subprocess.run([SHOAL, "tokenize", *map(str, args)], input=stdin, text=True,
                          capture_output=True, check=False)


def read_shard(path):
    raw = path.read_bytes()
    header = np.frombuffer(raw[:1024], "<i4")
    tokens = np.frombuffer(raw[1024:], "<u2")
    assert list(header[:3]) == [20240520, 1, len(tokens)] and not header[3:].any(), path
    return tokens


def expect_failure(code, fragment, *args, stdin=""):
    result = shoal(*args, stdin=stdin)
    assert result.returncode == code, (args, result)
    assert result.stderr.startswith("shoal: error: ") and fragment in result.stderr, result.stderr
    assert result.stdout == "", result.stdout


def make_texts(folder):
    paths = []
    for i in range(40):
        path = folder / f"text {i}.txt"
        path.write_bytes(bytes(range(256)) * (i + 1))
        paths.append(path)
    return paths


def check_output(folder, paths):
    out = folder / "out"
    base = ["--tokenizer", "bytes", "--out", out]
    result = shoal(*base, "--json", *paths)
    assert result.returncode == 0 and result.stderr == "", result
    said = json.loads(result.stdout)
    train, val = read_shard(out / "train_000000.bin"), read_shard(out / "val_000000.bin")
    assert said["documents"] == 40 and said["train_shards"] == 1, said
    assert said["train_tokens"] == len(train) and said["val_tokens"] == len(val), said
    total = sum(p.stat().st_size for p in paths)
    assert len(train) + len(val) == total + 40
    assert 0.05 * total < len(val) < 0.11 * total, len(val)
    assert np.bincount(np.concatenate([train, val]), minlength=256)[1:].tolist() == [820] * 255

    plain = shoal(*base, *paths)
    assert plain.returncode == 0 and "40 documents" in plain.stdout, plain
    assert str(len(train)) in plain.stdout and str(len(val)) in plain.stdout, plain.stdout

    names = "".join(f"{p}\n" for p in paths)
    before = (out / "train_000000.bin").read_bytes()
    for stdin, source in ((names, "-"), ("", folder / "list")):
        (folder / "list").write_text(names + "\n")
        (out / "train_000000.bin").unlink()
        assert shoal(*base, "--files-from", source, stdin=stdin).returncode == 0
        assert (out / "train_000000.bin").read_bytes() == before


def check_refusals(folder, paths):
    out = folder / "refused"
    base = ["--tokenizer", "bytes", "--out", out]
    expect_failure(2, "--tokenizer", "--out", out, paths[0])
    expect_failure(2, "--out", "--tokenizer", "bytes", paths[0])
    expect_failure(2, "unknown tokenizer 'words'", "--tokenizer", "words", "--out", out, paths[0])
    expect_failure(2, "no text files given", *base)
    expect_failure(2, "no text files given", *base, "--files-from", "-", stdin="\n\n")
    expect_failure(2, "not 0.9", *base, "--val", "0.9", paths[0])
    expect_failure(2, "--vall", *base, "--vall", "0.1", paths[0])
    expect_failure(3, "nowhere.txt: cannot be read", *base, folder / "nowhere.txt")
    expect_failure(3, "is a directory", *base, folder)
    expect_failure(3, "nolist: cannot be opened", *base, "--files-from", folder / "nolist")
    (folder / "empty.txt").touch()
    expect_failure(3, "empty.txt: is empty", *base, paths[0], folder / "empty.txt")
    assert not out.exists()
    (folder / "file").write_text("in the way")
    expect_failure(3, "file", "--tokenizer", "bytes", "--out", folder / "file" / "out", *paths)


def check_gpt2(folder):
    text = folder / "low.txt"
    text.write_text(" lower" * 90 + " low" * 10)
    out = folder / "gpt2"
    result = shoal("--tokenizer", "gpt2", "--vocab", VOCAB, "--out", out, text)
    assert result.returncode == 0 and result.stderr == "", result
    names = json.loads((VOCAB / "vocab.json").read_text())
    train = read_shard(out / "train_000000.bin")
    assert list(train[:3]) == [names["<|endoftext|>"], names["\u0120lower"], names["\u0120lower"]]
    assert json.loads((out / "tokenizer.json").read_text())["model"]["vocab"] == names
    for line in ("model:", f"  vocab: {len(names)}", "data:", f'  train: "{out}/train_*.bin"',
                 f'  val: "{out}/val_*.bin"', "  tokenizer: gpt2", f'  vocab: "{out}"'):
        assert line in result.stdout.splitlines(), (line, result.stdout)
    again = shoal("--tokenizer", "gpt2", "--vocab", out, "--out", folder / "again", "--json", text)
    assert json.loads(again.stdout)["vocab"] == len(names), again
    for name in ("train_000000.bin", "val_000000.bin", "tokenizer.json"):
        assert (out / name).read_bytes() == (folder / "again" / name).read_bytes(), name


def check_gpt2_refusals(folder):
    text = folder / "low.txt"
    out = folder / "refused"
    base = ["--out", out, text, "--tokenizer"]
    expect_failure(2, "give --vocab DIR", *base, "gpt2")
    expect_failure(2, "'bytes' has no vocabulary files", *base, "bytes", "--vocab", VOCAB)
    expect_failure(3, "'/nowhere' does not exist", *base, "gpt2", "--vocab", "/nowhere")
    (folder / "half").mkdir()
    expect_failure(3, "no vocabulary in '", *base, "gpt2", "--vocab", folder / "half")
    (folder / "half" / "vocab.json").write_text((VOCAB / "vocab.json").read_text()[:1000])
    expect_failure(3, "merges.txt', which belongs to it, is not; GPT-2's are published with the model "
                   "openai-community/gpt2 on the Hugging Face hub", *base, "gpt2", "--vocab",
                   folder / "half")
    (folder / "half" / "merges.txt").write_text("#version: 0.2\n")
    expect_failure(3, "vocab.json: ends in the middle of its JSON", *base, "gpt2", "--vocab",
                   folder / "half" / "merges.txt")
    assert not out.exists()


def check_help():
    result = shoal("--help")
    assert result.returncode == 0, result
    for word in ("--files-from", "--vocab PATH", "openai-community/gpt2", "not UTF-8"):
        assert word in result.stdout, (word, result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 100, result.stdout


with tempfile.TemporaryDirectory() as name:
    texts = make_texts(pathlib.Path(name))
    check_output(pathlib.Path(name), texts)
    check_refusals(pathlib.Path(name), texts)
    check_gpt2(pathlib.Path(name))
    check_gpt2_refusals(pathlib.Path(name))
    check_help()
print("ok")
