"""metrics.jsonl as TensorBoard's event files, written without TensorBoard.

A file is a row of records: length (uint64), its checksum, data, its checksum, all little-endian; the checksum
is CRC-32C, rotated by 15 bits plus a constant. The data is a protocol buffer, message Event of tensorflow/core/
util/event.proto: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5, which holds
values = 1 with tag = 1 (string) and simple_value = 2 (float).
"""
from __future__ import annotations

import math
import os
import pathlib
import struct
import tempfile
from datetime import datetime, timezone
from typing import BinaryIO, Iterator, List, Tuple

from .metrics import integer, number
from .run import Run

Scalar = Tuple[float, int, str, float]   # run time in s, step, tag, value


def _crc_table() -> List[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)   # Castagnoli's polynomial, reflected
        table.append(byte)
    return table


_TABLE = _crc_table()


def masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1   # int64 as protocol buffers write negative ones
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def _bytes_field(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def scalar_event(wall_s: float, step: int, tag: str, value: float) -> bytes:
    entry = _bytes_field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    return (b"\x09" + struct.pack("<d", wall_s) + b"\x10" + _varint(step)
            + _bytes_field(5, _bytes_field(1, entry)))


def version_event(wall_s: float) -> bytes:
    return b"\x09" + struct.pack("<d", wall_s) + _bytes_field(3, b"brain.Event:2")


def write_record(file: BinaryIO, data: bytes) -> None:
    length = struct.pack("<Q", len(data))
    file.write(length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data)))


# ---- what is written -----------------------------------------------------------------------------

_OF_EXPERT = ("loss", "lr", "grad_norm", "tokens_per_s", "mfu")
_OTHERS = {"eval": ("loss", "perplexity", "seconds"), "round": ("seconds", "bytes"),
           "snapshot": ("seconds", "stall_s", "bytes"), "judge": ("best_fitness", "spread")}


def scalars(run: Run) -> Iterator[Scalar]:
    """Every finite number of every record: train/loss/expert-0003, fitness/mean, round/seconds, ..."""
    for event in run.metrics.of("step"):
        for key in _OF_EXPERT:
            yield (number(event, "time"), integer(event, "step", 0),
                   f"train/{key}/expert-{integer(event, 'expert'):04}", number(event, key))
    for kind, keys in _OTHERS.items():
        for event in run.metrics.of(kind):
            for key in keys:
                yield number(event, "time"), integer(event, "step", 0), f"{kind}/{key}", number(event, key)
    judgings = run.judgings
    for row in range(len(judgings)):
        for member, value in enumerate(judgings.fitness[row]):
            name = "mean" if member >= run.n_experts else f"expert-{member:04}"
            yield float(judgings.time[row]), int(judgings.step[row]), f"fitness/{name}", float(value)


def started(run: Run) -> float:
    """When the run began, in seconds since 1970: told by the newest snapshot, else by the files' times."""
    for snapshot in reversed(run.snapshots):
        try:
            made = datetime.strptime(str(snapshot.attributes.get("created")), "%Y-%m-%dT%H:%M:%SZ")
            return made.replace(tzinfo=timezone.utc).timestamp() - snapshot.time_s
        except ValueError:
            continue
    metrics = run.path / "metrics.jsonl"
    return (metrics if metrics.exists() else run.path).stat().st_mtime - run.time_s


def export(run: Run, folder: pathlib.Path) -> int:
    """Write one event file; returns how many values it holds. An earlier export of this run is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    begin, count = started(run), 0
    rows = [s for s in scalars(run) if math.isfinite(s[3]) and math.isfinite(s[0])]
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            write_record(file, version_event(begin))
            for time_s, step, tag, value in sorted(rows, key=lambda s: (s[0], s[1])):
                write_record(file, scalar_event(begin + time_s, step, tag, value))
                count += 1
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / f"events.out.tfevents.{int(begin):010}.{run.name}")
    except BaseException:
        os.unlink(temporary)
        raise
    return count
