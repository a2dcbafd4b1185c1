#!/usr/bin/env python3
"""Inputs to begin with, in the forms that the targets describe. Usage: seeds.py ROOT OUT"""
import json
import pathlib
import random
import struct
import sys

ROOT, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
WIDTH, CONTEXT, VOCAB, FFN = 4, 2, 3, 6  # of the models


def put(target, name, data):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def dump(value):
    return json.dumps(value, separators=(",", ":")).encode()


def configurations():
    for path in (ROOT / "configs").glob("*.yaml"):
        put("config", path.stem, path.read_bytes())
    put("config", "overrides",
        b"model:\n  layers: 4\n  width: 16\n  heads: 2\n  arch: llama\n"
        b"\0evolution.preset=eoe\0train.lr=1e-3\0data.train=t.bin\0data.val=v.bin"
        b"\0evolution.every=auto\0run.seed=77")
    put("config", "data-parallel",
        b"population: {experts: 2, layers_per_expert: 1, mode: data_parallel}\n"
        b"train: {schedule: wsd, skip: 6}\0evolution.io.attractor=none\0threads=2")


def token_shard(tokens):
    header = struct.pack("<3i", 20240520, 1, len(tokens))
    return header + bytes(1024 - len(header)) + struct.pack(f"<{len(tokens)}H", *tokens)


def tokens():
    first, second = token_shard(range(40)), token_shard([5, 6, 7, 250] * 10)
    for context, flags, vocab in (3, 1, 255), (7, 0, 300), (15, 1, 65533):
        head = struct.pack("<BBHH", context, flags, vocab, len(first))
        put("tokens", f"context-{context}", head + first + second)


def vocabularies():
    folder = ROOT / "tests/data/small_vocab"
    vocab, merges = (folder / "vocab.json").read_bytes(), (folder / "merges.txt").read_bytes()
    text = "Hello the world  there 123 \xfcn\xef \n\t the\xff".encode("latin-1")
    put("tokenizer", "pair", b"\0" + vocab + b"\0" + merges + b"\0" + text)
    numbers, end = json.loads(vocab), "<|endoftext|>"
    pairs = [line for line in merges.decode().split("\n")[1:] if line]
    for name, merged in ("text", pairs), ("lists", [pair.split(" ") for pair in pairs]):
        whole = {"version": "1.0",
                 "added_tokens": [{"id": numbers[end], "content": end, "special": True}],
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
                 "model": {"type": "BPE", "dropout": None, "vocab": numbers, "merges": merged}}
        put("tokenizer", name, b"\1" + dump(whole) + b"\0" + text)


def objects():
    put("json", "object", b'{"a":[1,-2.5e3,null,true,"x\\u00e9\\n"],"b":{"a":"t","c":{}},'
                          b'"d":9223372036854775807}')
    put("json", "deep", b'{"a":' * 20 + b"1" + b"}" * 20)


def gpt2(prefix):
    block, w, f = prefix + "h.0.", WIDTH, 4 * WIDTH
    return [(prefix + "wte.weight", [VOCAB, w]), (prefix + "wpe.weight", [CONTEXT, w]),
            (block + "ln_1.weight", [w]), (block + "ln_1.bias", [w]),
            (block + "attn.c_attn.weight", [w, 3 * w]), (block + "attn.c_attn.bias", [3 * w]),
            (block + "attn.c_proj.weight", [w, w]), (block + "attn.c_proj.bias", [w]),
            (block + "ln_2.weight", [w]), (block + "ln_2.bias", [w]),
            (block + "mlp.c_fc.weight", [w, f]), (block + "mlp.c_fc.bias", [f]),
            (block + "mlp.c_proj.weight", [f, w]), (block + "mlp.c_proj.bias", [w]),
            (prefix + "ln_f.weight", [w]), (prefix + "ln_f.bias", [w])]


def llama():
    block, w = "model.layers.0.", WIDTH
    return [("model.embed_tokens.weight", [VOCAB, w]), (block + "input_layernorm.weight", [w]),
            *((f"{block}self_attn.{p}_proj.weight", [w, w]) for p in "qkvo"),
            (block + "post_attention_layernorm.weight", [w]),
            (block + "mlp.gate_proj.weight", [FFN, w]), (block + "mlp.up_proj.weight", [FFN, w]),
            (block + "mlp.down_proj.weight", [w, FFN]), ("model.norm.weight", [w]),
            ("lm_head.weight", [VOCAB, w])]


GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1, "n_head": 1,
        "n_embd": WIDTH, "n_positions": CONTEXT, "vocab_size": VOCAB,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1,
         "num_attention_heads": 1, "hidden_size": WIDTH, "intermediate_size": FFN,
         "max_position_embeddings": CONTEXT, "vocab_size": VOCAB, "hidden_act": "silu",
         "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False}


def header(tensors, dtype, item_bytes, ignored=""):
    """And a tensor that is ignored up to the next 4096 bytes, which the target puts there itself."""
    out, at = {}, 0
    for name, shape in tensors:
        end = at + item_bytes
        for size in shape:
            end += (end - at) * (size - 1)
        out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    if ignored:
        rest = 4096 - at % 4096
        out[ignored] = {"dtype": "U8", "shape": [rest], "data_offsets": [at, at + rest]}
    return out, at


def models():
    raw, no_model, by_index, padded = 1, 2, 4, 16  # of fuzz_foreign.c

    def write(name, flags, config, head, index=b"", numbers=b""):
        put("foreign", name, b"\0".join([bytes([flags]) + dump(config), dump(head), index, numbers]))

    mask, frequencies = "h.0.attn.bias", "x.rotary_emb.inv_freq"
    write("gpt2", padded, GPT2, header(gpt2("transformer."), "F32", 4, mask)[0])
    head, size = header(gpt2(""), "BF16", 2)
    write("gpt2-bf16", 0, GPT2, head, numbers=(bytes(range(256)) * size)[:size])
    write("llama-f16", padded, LLAMA, header(llama(), "F16", 2, frequencies)[0])
    names = [name for name, _ in gpt2("")]
    listed = dump({"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors")})
    write("index", padded | no_model, GPT2, header(gpt2(""), "F32", 4, mask)[0], listed)
    for i, name in enumerate(["../../etc/passwd", "/etc/passwd", "..", "model-1.safetensors/../x"]):
        write(f"escape-{i}", by_index, GPT2, head, dump({"weight_map": {"wte.weight": name}}))
    put("foreign", "length", bytes([raw]) + dump(GPT2) + b"\0" + b"\1" * 8 + dump(head) + b"\0\0")


def checkpoints():
    for version, name in (3, "f32"), (5, "bf16"):
        words = struct.pack("<8i", 20240326, version, CONTEXT, VOCAB, 1, 1, WIDTH, 128)
        put("llmc", name, b"\0" + words + bytes(range(1, 200)))
        put("llmc", name + "-as-it-is", b"\1" + words)


def edits():
    """For each of the ways in which a file is read: no edit, one of each kind, other configurations."""
    draw = random.Random(1)
    for target in "shard", "index":
        for way in range(4):
            put(target, f"way-{way}", bytes([way]))
            for kind in range(8):
                more = bytes(draw.randrange(256) for _ in range(60))
                put(target, f"edit-{way}-{kind}", bytes([way, kind]) + more)
            for width in 2, 4096:
                text = f"model: {{layers: 2, width: {width}, heads: 1, context: 1, vocab: 3}}\n"
                put(target, f"width-{way}-{width}",
                    bytes([way, 4]) + text.encode() + b"population: {experts: 2}\n")


configurations()
tokens()
vocabularies()
objects()
models()
checkpoints()
edits()
