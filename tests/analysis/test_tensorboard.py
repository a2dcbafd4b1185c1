"""`shoal report --tensorboard`: event files, taken apart by a decoder of the published formats alone."""
import json
import struct
import unittest

import numpy as np
from harness import events
from small import SmallRun


def crc32c(data):
    """Bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def unmask(masked):
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def records(data):
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        (of_length,) = struct.unpack("<I", data[8:12])
        body, (of_body,) = data[12:12 + length], struct.unpack("<I", data[12 + length:16 + length])
        assert unmask(of_length) == crc32c(data[:8]) and unmask(of_body) == crc32c(body), "checksum"
        yield body
        data = data[16 + length:]


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """{number: [value, ...]} of a protocol buffer message."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            size, code = {1: (8, "<d"), 5: (4, "<f")}[key & 7]
            (value,) = struct.unpack(code, data[at:at + size])
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found


class TensorBoard(SmallRun):
    def test_decoder(self):
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)   # the check value of CRC-32C's definition

    def test_values(self):
        path = self.small("run", ranks=3)
        told = json.loads(self.report(path, "--tensorboard", "logs", "--json"))
        (file,) = (self.dir / "logs").iterdir()
        self.assertTrue(file.name.startswith("events.out.tfevents."))
        first, *rest = [fields(r) for r in records(file.read_bytes())]
        self.assertEqual(first[3], [b"brain.Event:2"])
        self.assertEqual(len(rest), told["values"])
        found = {}
        for event in rest:
            value = fields(fields(event[5][0])[1][0])
            found[value[1][0].decode(), event[2][0]] = (value[2][0], event[1][0] - first[1][0])
        self.assertEqual(len(found), len(rest))
        for event in events(path):
            self.check(found, event)

    def check(self, found, event):
        names = {}
        if event["event"] == "step":
            names = {f"train/{k}/expert-{event['expert']:04}": event[k] for k in ("loss", "lr", "grad_norm")}
        elif event["event"] == "judge":
            names = {f"fitness/expert-{k:04}": v for k, v in enumerate(event["fitness"][:-1])}
            names["fitness/mean"] = event["fitness"][-1]
        elif event["event"] in ("round", "snapshot"):
            names = {f"{event['event']}/{k}": event[k] for k in ("seconds", "bytes")}
        for name, value in names.items():
            self.assertEqual(found[name, event["step"]][0], np.float32(value), name)
            self.assertAlmostEqual(found[name, event["step"]][1], event["time"], places=5)


if __name__ == "__main__":
    unittest.main()
