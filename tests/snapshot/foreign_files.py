"""Hugging Face's and llm.c's model files, read and written after their descriptions: numpy, json
and struct, and nothing of shoal."""
import json
import pathlib
import struct

import numpy as np

LLMC_MAGIC, LLMC_VERSIONS = 20240326, {3: "F32", 5: "BF16"}
# Tensors of a checkpoint in order: Hugging Face's name (* stands for the layer), and the shape as
# stored, in widths C, layers' inner width F = 4 C, padded vocabulary V and context T.
LLMC_TENSORS = [
    ("wte.weight", "VC"), ("wpe.weight", "TC"), ("h.*.ln_1.weight", "C"), ("h.*.ln_1.bias", "C"),
    ("h.*.attn.c_attn.weight", "3C"), ("h.*.attn.c_attn.bias", "3"),
    ("h.*.attn.c_proj.weight", "CC"), ("h.*.attn.c_proj.bias", "C"),
    ("h.*.ln_2.weight", "C"), ("h.*.ln_2.bias", "C"), ("h.*.mlp.c_fc.weight", "FC"),
    ("h.*.mlp.c_fc.bias", "F"), ("h.*.mlp.c_proj.weight", "CF"), ("h.*.mlp.c_proj.bias", "C"),
    ("ln_f.weight", "C"), ("ln_f.bias", "C")]


def bf16_to_f32(raw):
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")


def f32_to_bf16(values):
    """Round to nearest, ties to even; finite numbers only."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


DECODE = {"F32": lambda raw: np.frombuffer(raw, "<f4"), "BF16": bf16_to_f32,
          "F16": lambda raw: np.frombuffer(raw, "<f2").astype("<f4")}
ENCODE = {"F32": lambda v: np.ascontiguousarray(v, "<f4").tobytes(), "BF16": f32_to_bf16,
          "F16": lambda v: np.ascontiguousarray(v, "<f2").tobytes(),
          "U8": lambda v: np.ascontiguousarray(v, "u1").tobytes()}


def read_safetensors(path):
    """({name: float32 array}, {name: dtype}); checks what the format demands."""
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    assert (8 + length) % 8 == 0, length
    assert header.pop("__metadata__") == {"format": "pt"}
    tensors, types, end = {}, {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        assert set(entry) == {"dtype", "shape", "data_offsets"}, entry
        begin, stop = entry["data_offsets"]
        assert begin == end, (name, begin, end)
        end = stop
        types[name] = entry["dtype"]
        tensors[name] = DECODE[entry["dtype"]](data[begin:stop]).reshape(entry["shape"])
    assert end == len(data), (end, len(data))
    return tensors, types


def write_safetensors(path, tensors, types):
    """types: the dtype of all, or {name: dtype}."""
    header, data = {}, b""
    for name, values in tensors.items():
        dtype = types if isinstance(types, str) else types[name]
        raw = ENCODE[dtype](values)
        header[name] = {"dtype": dtype, "shape": list(np.shape(values)),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def llmc_shapes(words):
    context, _, layers, _, width, padded = words[2:8]
    size = {"V": padded, "T": context, "C": width, "3": 3 * width, "F": 4 * width}
    for name, dims in LLMC_TENSORS:
        shape = tuple(size[d] for d in dims)
        for layer in range(layers if "*" in name else 1):
            yield name, layer, shape


def read_llmc(path):
    """({name: float32 array in Hugging Face's shape}, header); layers of a kind lie together."""
    raw = pathlib.Path(path).read_bytes()
    words = struct.unpack("<256i", raw[:1024])
    assert words[0] == LLMC_MAGIC and not any(words[8:]), words[:16]
    dtype = LLMC_VERSIONS[words[1]]
    values, at, tensors = DECODE[dtype](raw[1024:]), 0, {}
    for name, layer, shape in llmc_shapes(words):
        count = int(np.prod(shape))
        part = values[at:at + count].reshape(shape)
        at += count
        if name == "wte.weight":
            assert not part[words[3]:].any(), "padding is not zero"
            part = part[:words[3]]
        if name.startswith("h.*") and len(shape) == 2:  # (out, in) to (in, out)
            part = part.T
        tensors[name.replace("*", str(layer))] = part
    assert at == len(values), (at, len(values))
    return tensors, words


def write_llmc(path, tensors, version, heads, padded):
    """tensors as read_llmc gives them."""
    vocab, width = tensors["wte.weight"].shape
    layers = sum(name.endswith("ln_1.bias") for name in tensors)
    words = [LLMC_MAGIC, version, len(tensors["wpe.weight"]), vocab, layers, heads, width, padded]
    data = struct.pack("<256i", *words, *[0] * 248)
    for name, layer, shape in llmc_shapes(words):
        part = tensors[name.replace("*", str(layer))]
        if name == "wte.weight":
            part = np.concatenate([part, np.zeros((padded - vocab, width), "<f4")])
        if name.startswith("h.*") and len(shape) == 2:
            part = part.T
        data += ENCODE[LLMC_VERSIONS[version]](part)
    pathlib.Path(path).write_bytes(data)
