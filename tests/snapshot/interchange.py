"""`shoal export` and `shoal import` seen by readers that know nothing of shoal. Arguments: the
shoal program, and the directory of a small vocabulary.

Experts are drawn here, tensor by tensor, so that the files can be checked by hand: numbers of every
kind, no two tensors alike, square matrices that are not symmetric."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np

import foreign_files as files
import numpy_models

SHOAL, VOCAB = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
CONFIG = """
run: {name: drawn, steps: 0}
model: {layers: %(layers)d, width: 36, heads: 3, context: 24, vocab: %(vocab)d%(more)s}
population: {experts: 1}
data: {train: "data/train_*.bin", val: "data/val_*.bin", tokenizer: bytes}
train: {batch: 4, precision: f32}
evolution: {preset: none, fitness_batches: 2}
threads: 1
"""
HF_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
MODELS = {  # no padding of the vocabulary in two of them
    "gpt2": {"layers": 3, "vocab": 300, "more": ""},
    "gpt2-full": {"layers": 2, "vocab": 256, "more": ""},
    "llama": {"layers": 2, "vocab": 256,
              "more": ", arch: llama, kv_heads: 1, ffn: 50, rope_theta: 500"},
    "llama-tied": {"layers": 2, "vocab": 300, "more": ", arch: llama, tied: true"}}


def shoal(*arguments, expect=0):
    done = subprocess.run([SHOAL, *map(str, arguments)], capture_output=True, text=True,
                          check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == expect, (arguments, done.returncode, done.stderr)
    return done.stdout if expect == 0 else done.stderr


def says(*arguments):
    return json.loads(shoal(*arguments, "--json"))


def refused(fragment, *arguments, code=3):
    told = shoal(*arguments, expect=code)
    assert told.startswith("shoal: error: ") and fragment in told, (fragment, told)


def byte_names():
    """The characters that stand for bytes in GPT-2's files: printable ones for themselves, the others
    from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable},
            **{chr(256 + i): byte for i, byte in enumerate(others)}}


def params(path):
    """{Hugging Face's name: array} of a shard."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[name.replace("/", ".")] = item[...]

    with h5py.File(path) as file:
        file["params"].visititems(take)
    return found


def read(path):
    return pathlib.Path(path).read_bytes()


def same(a, b):
    assert set(a) == set(b), set(a) ^ set(b)
    for name, values in a.items():
        x, y = (np.ascontiguousarray(v, "<f4").view("<u4") for v in (values, b[name]))
        assert x.shape == y.shape and (x == y).all(), name


def draw(path, seed):
    """Replace an expert's weights: an outlier, a zero with a sign and a denormal in each tensor."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "r+") as file:
        def change(_, item):
            if isinstance(item, h5py.Dataset):
                gain = item.name.endswith(("weight",)) and len(item.shape) == 1
                values = rng.normal(1.0 if gain else 0.0, 0.2, item.shape).astype("<f4")
                values.flat[:3] = -0.0, 1.5e-40, 0.75
                item[...] = values
        file["params"].visititems(change)


def make_expert(name):
    with open(f"{name}.yaml", "w") as file:
        file.write(CONFIG % MODELS[name])
    shoal("train", f"{name}.yaml", "--set", f"run.out={name}")
    shard = f"{name}/experts/0000/step-00000000.h5"
    os.remove(f"{name}/best.h5")
    draw(shard, len(name))
    return shard


def loss(path):
    return says("eval", path, "--data", "data/val_*.bin")["loss"]


# ---- what is written -----------------------------------------------------------------------------

def check_hf(name, shard):
    """The directory, tensor by tensor; import gives the shard back, and the same loss."""
    told = says("export", shard, "--to", "hf", "--out", f"{name}-hf")
    tensors, types = files.read_safetensors(f"{name}-hf/model.safetensors")
    prefix = "transformer." if name.startswith("gpt2") else ""
    expected = params(shard)
    same({prefix + key: values for key, values in expected.items()}, tensors)
    assert set(types.values()) == {"F32"}
    assert ("lm_head.weight" in tensors) == (name == "llama"), list(tensors)
    count = sum(values.size for values in expected.values())
    assert told["parameters"] == count and told["bytes"] == 4 * count and told["tokenizer"], told
    assert sorted(os.listdir(f"{name}-hf")) == HF_FILES
    assert json.load(open(f"{name}-hf/tokenizer.json"))["model"] == {
        "type": "BPE", "vocab": byte_names(), "merges": []}
    told = says("import", f"{name}-hf", "--out", f"{name}-back.h5")
    assert told["from"] == "Hugging Face" and told["tokenizer"] == "bytes", told
    assert told["parameters"] == count and told["layers"] == MODELS[name]["layers"], told
    same(expected, params(f"{name}-back.h5"))
    assert loss(f"{name}-back.h5") == loss(shard)


def check_config():
    gpt2, llama = (json.load(open(f"{name}-hf/config.json")) for name in ("gpt2", "llama"))
    for key, value in {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 3,
                       "n_head": 3, "n_embd": 36, "n_inner": 144, "n_positions": 24, "n_ctx": 24,
                       "vocab_size": 300, "activation_function": "gelu_new",
                       "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
                       "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32"}.items():
        assert gpt2[key] == value, (key, gpt2)
    for key, value in {"model_type": "llama", "architectures": ["LlamaForCausalLM"],
                       "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
                       "head_dim": 12, "hidden_size": 36, "intermediate_size": 50,
                       "max_position_embeddings": 24, "vocab_size": 256, "hidden_act": "silu",
                       "rms_norm_eps": 1e-5, "rope_theta": 500, "tie_word_embeddings": False,
                       "attention_bias": False, "mlp_bias": False}.items():
        assert llama[key] == value, (key, llama)
    assert json.load(open("llama-tied-hf/config.json"))["tie_word_embeddings"] is True


def check_llmc(name, shard):
    told = says("export", shard, "--to", "llmc", "--out", f"{name}.bin")
    tensors, words = files.read_llmc(f"{name}.bin")
    expected = params(shard)
    same(expected, tensors)
    sizes = MODELS[name]
    padded = (sizes["vocab"] + 127) // 128 * 128
    assert words[1:8] == (3, 24, sizes["vocab"], sizes["layers"], 3, 36, padded), words[:8]
    assert told["bytes"] == 4 * sum(values.size for values in expected.values())
    told = says("import", f"{name}.bin", "--out", f"{name}-llmc.h5", "--tokenizer", "bytes")
    assert told["from"] == "llm.c" and told["vocab"] == sizes["vocab"], told
    same(expected, params(f"{name}-llmc.h5"))
    assert loss(f"{name}-llmc.h5") == loss(shard)
    # What was imported is an expert like others.
    shoal("export", f"{name}-llmc.h5", "--to", "llmc", "--out", f"{name}-again.bin")
    assert read(f"{name}-again.bin") == read(f"{name}.bin")
    assert len(says("generate", f"{name}-llmc.h5", "--tokens", "5")["text"]) > 0
    assert says("inspect", f"{name}-llmc.h5")["step"] == 0


def check_bf16(shard):
    """Rounded as here; and what came from bf16 goes there unchanged."""
    shoal("export", shard, "--to", "hf", "--dtype", "bf16", "--out", "bf16-hf")
    shoal("export", shard, "--to", "llmc", "--dtype", "bf16", "--out", "bf16.bin")
    tensors, types = files.read_safetensors("bf16-hf/model.safetensors")
    rounded = {name: files.bf16_to_f32(files.f32_to_bf16(values)).reshape(values.shape)
               for name, values in params(shard).items()}
    same({"transformer." + name: values for name, values in rounded.items()}, tensors)
    assert set(types.values()) == {"BF16"}
    assert json.load(open("bf16-hf/config.json"))["torch_dtype"] == "bfloat16"
    tensors, words = files.read_llmc("bf16.bin")
    assert words[1] == 5
    same(rounded, tensors)
    for name in ("bf16-hf", "bf16.bin"):
        shoal("import", name, "--out", f"{name}.h5")
        same(rounded, params(f"{name}.h5"))
    shoal("export", "bf16.bin.h5", "--to", "llmc", "--dtype", "bf16", "--out", "bf16-2.bin")
    assert read("bf16-2.bin") == read("bf16.bin")


def check_numpy(name):
    """A model in numpy, of the exported tensors alone, has the loss of `shoal eval`."""
    class Exported:
        HEADS = 3

        def __init__(self, path, blocks):
            tensors, _ = files.read_safetensors(path)
            self.w = {key.removeprefix("transformer.").replace(".", "/"): value.astype(np.float64)
                      for key, value in tensors.items()}
            self.layers = 1 + max(int(key[len(blocks):].split("/")[0])
                                  for key in self.w if key.startswith(blocks))

    class GPT2(Exported, numpy_models.GPT2):
        def __init__(self, path):
            Exported.__init__(self, path, "h/")

    model = GPT2(f"{name}-hf/model.safetensors")
    found = np.mean([model.loss(*w) for w in numpy_models.windows("data/val_000000.bin", 24)])
    assert abs(found - loss(f"{name}-back.h5")) < 1e-4, (found, loss(f"{name}-back.h5"))


# ---- what is read --------------------------------------------------------------------------------

def make_dir(name, config, parts):
    """parts: {file: (tensors, types)}."""
    os.mkdir(name)
    with open(f"{name}/config.json", "w") as file:
        json.dump(config, file)
    for part, (tensors, types) in parts.items():
        files.write_safetensors(f"{name}/{part}", tensors, types)


def gpt2_dir(name, change=None, parts=None, **config):
    base = json.load(open("gpt2-hf/config.json"))
    base.update(config)
    tensors = params("gpt2-back.h5")
    if change:
        change(tensors)
    make_dir(name, base, parts or {"model.safetensors": (tensors, "F32")})
    return name


def check_published_forms():
    """OpenAI's names and masks, half precision, mixed types, several files, another order."""
    original = params("gpt2-back.h5")
    extra = {f"h.{i}.attn.bias": np.ones((1, 1, 24, 24)) for i in range(3)}
    extra["h.0.attn.masked_bias"] = np.array(1)
    tensors = {**original, **extra, "lm_head.weight": original["wte.weight"]}
    tensors = dict(reversed(tensors.items()))
    types = {key: "U8" if key in extra else "F32" for key in tensors}
    gpt2_dir("masks", parts={"model.safetensors": (tensors, types)})
    shoal("import", "masks/model.safetensors", "--out", "masks.h5")
    same(original, params("masks.h5"))

    rounded = {key: values.astype("<f2").astype("<f4") for key, values in original.items()}
    types = {key: ("F16", "F32")[i % 2] for i, key in enumerate(rounded)}
    gpt2_dir("halves", parts={"model.safetensors": (rounded, types)})
    shoal("import", "halves", "--out", "halves.h5")
    same(rounded, params("halves.h5"))

    names = sorted(original)
    parts = {f"model-{i + 1:05}-of-00003.safetensors":
             ({key: original[key] for key in names[i::3]}, "F32") for i in range(3)}
    gpt2_dir("sharded", parts=parts)
    index = {"metadata": {"total_size": 1}, "weight_map": {key: part for part, (tensors, _) in
                                                           parts.items() for key in tensors}}
    pathlib.Path("sharded/model.safetensors.index.json").write_text(json.dumps(index))
    shoal("import", "sharded", "--out", "sharded.h5")
    same(original, params("sharded.h5"))
    refused("is there already", "import", "sharded", "--out", "sharded.h5")
    for file, fragment in (("../sharded/model-00001-of-00003.safetensors", "is no file beside it"),
                           ("/etc/passwd", "is no file beside it"), (3, "is no file beside it"),
                           ("nothing.safetensors", "nothing.safetensors")):
        index["weight_map"]["wte.weight"] = file
        pathlib.Path("sharded/model.safetensors.index.json").write_text(json.dumps(index))
        refused(fragment, "import", "sharded", "--out", "no.h5")

    llama = params("llama-back.h5")
    config = json.load(open("llama-hf/config.json"))
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
    make_dir("llama-new", config, {"model.safetensors": (
        {key.removeprefix("model."): values for key, values in llama.items()}, "F32")})
    shoal("import", "llama-new", "--out", "llama-new.h5")
    same(llama, params("llama-new.h5"))
    assert loss("llama-new.h5") == loss("llama-back.h5")

    files.write_llmc("padded.bin", original, 3, 3, 1000)
    shoal("import", "padded.bin", "--out", "padded.h5")
    same(original, params("padded.h5"))


def check_refused_models():
    """Models that ours are not, and files that are not whole."""
    def without(key):
        return lambda tensors: tensors.pop(key)

    def renamed(tensors):
        tensors["h.0.attn.q_norm.weight"] = np.zeros(3)

    def turned(tensors):
        tensors["h.1.mlp.c_fc.weight"] = tensors["h.1.mlp.c_fc.weight"].T

    cases = [
        ("is missing", without("h.2.ln_2.bias"), {}), ("has no tensor", without("wte.weight"), {}),
        ("is no part of a gpt2 model", renamed, {}),
        ("has shape (144, 36), but config.json makes it (36, 144)", turned, {}),
        ("activation_function is 'relu', and shoal's models have gelu_new", None,
         {"activation_function": "relu"}),
        ("layer_norm_epsilon", None, {"layer_norm_epsilon": 1e-6}),
        ("scale_attn_by_inverse_layer_idx", None, {"scale_attn_by_inverse_layer_idx": True}),
        ("tie_word_embeddings", None, {"tie_word_embeddings": False}),
        ("model_type is 'gpt_neox'", None, {"model_type": "gpt_neox"}),
        ("has no model_type", None, {"model_type": None}),
        ("n_layer is '1e9', expected a size", None, {"n_layer": "1e9"}),
        ("n_layer is '-1', expected a size", None, {"n_layer": -1}),
        ("model.layers", None, {"n_layer": 2**31 - 1}), ("is missing", None, {"n_layer": 4}),
        ("is no part of", None, {"n_layer": 2}), ("model.width", None, {"n_head": 5}),
        ("model.vocab", None, {"vocab_size": 70000}),
        ("has shape", None, {"vocab_size": 301}), ("has shape", None, {"n_inner": 100})]
    for number, (fragment, change, config) in enumerate(cases):
        refused(fragment, "import", gpt2_dir(f"bad-{number}", change, **config), "--out", "no.h5")
    base = json.load(open("llama-hf/config.json"))
    for number, (key, value) in enumerate({
            "rms_norm_eps": 1e-6, "attention_bias": True, "hidden_act": "gelu", "head_dim": 16,
            "rope_scaling": {"type": "linear", "factor": 2.0}, "num_key_value_heads": 2,
            "rope_theta": "big", "mlp_bias": True}.items()):
        make_dir(f"bad-llama-{number}", {**base, key: value}, {
            "model.safetensors": (params("llama-back.h5"), "F32")})
        fragment = "kv_heads" if "key_value" in key else key
        refused(fragment, "import", f"bad-llama-{number}", "--out", "no.h5")
    pathlib.Path("torch.bin").write_bytes(b"PK\3\4" + bytes(100))
    refused("PyTorch file", "import", "torch.bin", "--out", "no.h5")
    os.mkdir("empty")
    refused("no model in 'empty'", "import", "empty", "--out", "no.h5")
    os.remove("bad-0/config.json")
    refused("'bad-0/config.json' is missing", "import", "bad-0", "--out", "no.h5")
    refused("shards are: use it as it is", "import", "gpt2-back.h5", "--out", "no.h5")
    assert not os.path.exists("no.h5")


# ---- the commands --------------------------------------------------------------------------------

def check_tokenizer():
    """gpt2 tokens: their vocabulary goes along, and is found again."""
    text = pathlib.Path("low.txt")
    text.write_text(" lower" * 900 + " low" * 100)
    shoal("tokenize", "--tokenizer", "gpt2", "--vocab", VOCAB, "--out", "low", text)
    tokens = len(json.loads((VOCAB / "vocab.json").read_text()))
    with open("low.yaml", "w") as file:
        file.write(CONFIG % {"layers": 1, "vocab": tokens, "more": ""})
    shoal("train", "low.yaml", "--set", "run.out=low-run", "--set", "data.tokenizer=gpt2",
          "--set", "data.train=low/train_*.bin", "--set", "data.val=low/val_*.bin")
    told = says("export", "low-run", "--to", "hf", "--out", "low-hf")
    assert told["tokenizer"] is True and told["step"] == 0, told
    assert sorted(os.listdir("low-hf")) == HF_FILES
    end = json.loads((VOCAB / "vocab.json").read_text())["<|endoftext|>"]
    assert json.load(open("low-hf/config.json"))["eos_token_id"] == end
    assert json.load(open("low-hf/tokenizer_config.json"))["eos_token"] == "<|endoftext|>"
    assert says("import", "low-hf", "--out", "low.h5")["tokenizer"] == "gpt2"
    first = says("generate", "low-run", "--tokens", "9", "--prompt", " low")
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    second = says("generate", "../low.h5", "--tokens", "9", "--prompt", " low")
    os.chdir("..")
    assert first["text"] == second["text"], (first, second)
    # Without a vocabulary beside the model, one beside the shard will do.
    os.makedirs("bare/shard")
    for file in ("config.json", "model.safetensors"):
        os.link(f"low-hf/{file}", f"bare/{file}")
    assert says("import", "bare", "--out", "bare/shard/low.h5")["tokenizer"] == "gpt2"
    refused("there is none beside it, in 'bare/shard'", "generate", "bare/shard/low.h5")
    os.link("low-hf/tokenizer.json", "bare/shard/tokenizer.json")
    third = says("generate", "bare/shard/low.h5", "--tokens", "9", "--prompt", " low")
    assert first["text"] == third["text"], (first, third)
    # A vocabulary that does not fit is not taken; one that was asked for is an error.
    gpt2_dir("other", vocab_size=300, shoal_tokenizer=None)
    pathlib.Path("other/tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    assert says("import", "other", "--out", "other.h5")["tokenizer"] == "none"
    refused("Unigram", "import", "other", "--out", "no.h5", "--vocab", "other")
    refused("leave one out", "import", "other", "--out", "no.h5", "--vocab", "other", "--tokenizer",
            "bytes", code=2)
    refused("--tokenizer words", "import", "other", "--out", "no.h5", "--tokenizer", "words",
            code=2)


def check_arguments():
    refused("give --to hf", "export", "gpt2", "--out", "no", code=2)
    refused("--to onnx is not known", "export", "gpt2", "--out", "no", "--to", "onnx", code=2)
    refused("--dtype f16", "export", "gpt2", "--out", "no", "--to", "hf", "--dtype", "f16", code=2)
    refused("give --out", "export", "gpt2", "--to", "hf", code=2)
    refused("give --out", "import", "gpt2-hf", code=2)
    refused("hold GPT-2 only", "export", "llama", "--to", "llmc", "--out", "no", code=2)
    refused("no such file", "export", "nowhere", "--to", "hf", "--out", "no")
    refused("'gpt2-hf' is there already", "export", "gpt2", "--to", "hf", "--out", "gpt2-hf")
    refused("'gpt2-hf/' is there already", "export", "gpt2", "--to", "hf", "--out", "gpt2-hf/")
    refused("'gpt2.bin' is there already", "export", "gpt2", "--to", "llmc", "--out", "gpt2.bin")
    refused("cannot make directory 'no/where'", "export", "gpt2", "--to", "hf", "--out", "no/where")
    refused("cannot write 'no/where'", "export", "gpt2", "--to", "llmc", "--out", "no/where")
    refused("no/where", "import", "gpt2-hf", "--out", "no/where")
    os.symlink("nowhere", "dangling")
    refused("'dangling' is there already", "export", "gpt2", "--to", "llmc", "--out", "dangling")
    shoal("export", "gpt2", "--to", "hf", "--out", "slash/")
    assert "model.safetensors" in os.listdir("slash")
    for command in ("export", "import"):
        told = shoal(command, "--help")
        assert "--out" in told and "--json" in told and "Examples:" in told, told
        assert max(map(len, told.splitlines())) <= 100, told
    assert "written to" in shoal("export", "gpt2", "--to", "llmc", "--out", "said.bin")
    assert "Try: shoal eval" in shoal("import", "said.bin", "--out", "said.h5")
    left = [name for name in os.listdir(".") if name.startswith(".tmp-")]
    assert not left and not os.path.exists("no"), left


def main():
    with tempfile.TemporaryDirectory(prefix="shoal-test-") as scratch:
        os.chdir(scratch)
        numpy_models.make_text("text.txt")
        shoal("tokenize", "--tokenizer", "bytes", "--out", "data", "text.txt")
        shards = {name: make_expert(name) for name in MODELS}
        for name, shard in shards.items():
            check_hf(name, shard)
        for name in ("gpt2", "gpt2-full"):
            check_llmc(name, shards[name])
            check_numpy(name)
        check_config()
        check_bf16(shards["gpt2"])
        check_published_forms()
        check_refused_models()
        check_tokenizer()
        check_arguments()
        os.chdir("/")
    print("ok")


main()
