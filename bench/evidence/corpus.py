"""The text of the comparison: three sets of shards that share no document.

train is learnt, fitness judges members while they train, test is read once, after everything has been
chosen. Without a file of the user's own the text is the C headers that ./quickstart learns from. A
document goes to the set that the digest of its name says, so that the split does not depend on order;
a single file is cut into blocks, which are dealt out the same way.
"""
from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
from typing import Iterable

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETS = ("train", "fitness", "test")
# Of 100 documents so many go to fitness and to test.
HELD_OUT = {"fitness": 5, "test": 5}
BLOCKS, LEAST_BYTES = 200, 20000
MAGIC, VERSION, HEADER_INTS = 20240520, 1, 256
BEGIN_DOCUMENT = 0

Document = tuple[str, bytes]


def digest_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def set_of(name: str) -> str:
    """Which of SETS the document of that name belongs to."""
    ticket = int.from_bytes(digest_of(name)[:8], "big") % 100
    if ticket < HELD_OUT["fitness"]:
        return "fitness"
    return "test" if ticket < HELD_OUT["fitness"] + HELD_OUT["test"] else "train"


def headers() -> list[Document]:
    """The C headers that ./quickstart learns from."""
    script = "source scripts/common.sh; source scripts/corpus.sh; header_files"
    listed = subprocess.run(["bash", "-c", script], cwd=ROOT, check=True, capture_output=True)
    names = listed.stdout.decode().splitlines()
    if not names:
        raise SystemExit("no C headers under /usr/include: give a text with --text")
    return [(name, pathlib.Path(name).read_bytes()) for name in names]


def blocks(path: pathlib.Path) -> list[Document]:
    """A single text as pieces of equal length."""
    text = path.read_bytes()
    if len(text) < LEAST_BYTES:
        raise SystemExit(f"{path}: {len(text)} bytes are too few: {LEAST_BYTES} are needed")
    size = -(-len(text) // BLOCKS)
    return [(f"block {at // size}", text[at:at + size]) for at in range(0, len(text), size)]


def write_shard(path: pathlib.Path, documents: Iterable[bytes]) -> int:
    """Documents as one shard of bytes, in llm.c's format. Returns the number of tokens. The file is replaced
    whole: runs that another process has begun may have the old one mapped."""
    marked = b"".join(bytes([BEGIN_DOCUMENT]) + text for text in documents)
    header = np.zeros(HEADER_INTS, "<i4")
    header[:3] = MAGIC, VERSION, len(marked)
    tokens = np.frombuffer(marked, np.uint8).astype("<u2")
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(header.tobytes() + tokens.tobytes())
    temporary.replace(path)
    return len(marked)


def prepare(folder: pathlib.Path, text: pathlib.Path | None) -> dict[str, object]:
    """Shards FOLDER/train.bin, fitness.bin and test.bin. Returns what identifies the text."""
    documents = sorted(blocks(text) if text else headers(), key=lambda d: digest_of(d[0]))
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for _, content in documents:
        digest.update(hashlib.sha256(content).digest())
    tokens = {}
    for kind in SETS:
        chosen = [content for name, content in documents if set_of(name) == kind]
        tokens[kind] = write_shard(folder / f"{kind}.bin", chosen)
    about: dict[str, object] = {"name": text.stem if text else "headers", "documents": len(documents),
                                "sha256": digest.hexdigest()[:16], "tokens": tokens}
    (folder / "about.json").write_text(json.dumps(about) + "\n")
    return about
