"""Models that go to Hugging Face's transformers and come from there compute the same on both sides.

Usage: with_transformers.py SHOAL VOCAB. The environment variable SHOAL_TORCH_PYTHON names an
interpreter that can import torch and transformers; without one the exit code is 77 (skipped). This
script runs twice: in the interpreter that has h5py, where experts are trained and their logits
computed in numpy, and in the other one (--inside), where everything is compared."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

SKIPPED = 77
CONFIG = """
run: {name: trained, steps: 30}
model: {layers: 2, width: 36, heads: 3, context: 24, vocab: %s}
population: {experts: 1}
data: {train: "data/train_*.bin", val: "data/val_*.bin", tokenizer: bytes}
train: {batch: 4, precision: f32, lr: 0.01, warmup: 5}
evolution: {preset: none, every: 5, judge: 10, fitness_batches: 2}
threads: 1
"""
OF_ARCH = {"gpt2": "300", "llama": "256, arch: llama, kv_heads: 1, ffn: 50, rope_theta: 500"}
TEXT = " lower low, lowest  5 lows\n"


def shoal(*arguments):
    return subprocess.run([sys.argv[-2], *map(str, arguments)], check=True, capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout


def loss(path):
    return json.loads(shoal("eval", path, "--data", "data/val_*.bin", "--json"))["loss"]


# ---- with h5py -----------------------------------------------------------------------------------

def make_experts():
    import numpy_models  # pylint: disable=import-outside-toplevel
    numpy_models.make_text("text.txt")
    shoal("tokenize", "--tokenizer", "bytes", "--out", "data", "text.txt")
    windows = list(numpy_models.windows("data/val_000000.bin", 24))
    np.save("windows.npy", np.array([np.append(tokens, target[-1]) for tokens, target in windows]))
    for arch, more in OF_ARCH.items():
        pathlib.Path(f"{arch}.yaml").write_text(CONFIG % more)
        shoal("train", f"{arch}.yaml", "--set", f"run.out={arch}")
        shoal("export", arch, "--to", "hf", "--out", f"{arch}-hf")
        model = (numpy_models.GPT2 if arch == "gpt2" else numpy_models.Llama)(f"{arch}/best.h5")
        model.THETA = 500.0
        np.save(f"{arch}.npy", np.array([model.logits(tokens) for tokens, _ in windows[:20]]))


def make_tokenizer():
    pathlib.Path("low.txt").write_text(" lower" * 900 + " low" * 100)
    shoal("tokenize", "--tokenizer", "gpt2", "--vocab", sys.argv[-1], "--out", "low", "low.txt")
    vocab = len(json.loads(pathlib.Path(sys.argv[-1], "vocab.json").read_text()))
    pathlib.Path("low.yaml").write_text(CONFIG % vocab)
    shoal("train", "low.yaml", "--set", "run.out=low-run", "--set", "data.tokenizer=gpt2", "--set",
          "data.train=low/train_*.bin", "--set", "data.val=low/val_*.bin", "--set", "run.steps=0")
    shoal("export", "low-run", "--to", "hf", "--out", "low-hf")
    pathlib.Path("said.txt").write_text(20 * TEXT)
    shoal("tokenize", "--tokenizer", "gpt2", "--vocab", sys.argv[-1], "--out", "said",
          "said.txt")


# ---- with transformers ---------------------------------------------------------------------------

def torch_logits(model, windows):
    import torch  # pylint: disable=import-outside-toplevel,import-error
    with torch.no_grad():
        return model.float().eval()(torch.from_numpy(windows[:, :-1])).logits.double().numpy()


def torch_loss(model, windows):
    logits = torch_logits(model, windows)
    logits -= logits.max(-1, keepdims=True)
    targets = np.take_along_axis(logits, windows[:, 1:, None], -1)[..., 0]
    return np.mean(np.log(np.exp(logits).sum(-1)) - targets)


def compare_exported(arch, windows):
    """What shoal trained, in transformers: logits as in numpy, loss as in shoal eval."""
    from transformers import AutoModelForCausalLM  # pylint: disable=all
    model, report = AutoModelForCausalLM.from_pretrained(f"{arch}-hf", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    far = np.abs(torch_logits(model, windows[:20]) - np.load(f"{arch}.npy")).max()
    off = abs(torch_loss(model, windows) - loss(arch))
    print(f"{arch} to transformers: logits differ by {far:.1e}, losses by {off:.1e}")
    assert far < 1e-4 and off < 1e-5


def made_models():
    """Models made by transformers, with weights far from those of the beginning."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    torch.manual_seed(1)
    llama = {"num_hidden_layers": 2, "hidden_size": 36, "intermediate_size": 50, "vocab_size": 300,
             "max_position_embeddings": 24, "rms_norm_eps": 1e-5, "num_attention_heads": 3,
             "num_key_value_heads": 1}
    models = {
        "gpt2": GPT2LMHeadModel(GPT2Config(n_layer=3, n_head=3, n_embd=36, n_positions=24,
                                           vocab_size=300, bos_token_id=0, eos_token_id=0)),
        "llama": LlamaForCausalLM(LlamaConfig(**llama, rope_theta=777.0)),
        "llama-tied": LlamaForCausalLM(LlamaConfig(**llama, tie_word_embeddings=True))}
    for model in models.values():
        with torch.no_grad():
            for values in model.parameters():
                values.mul_(5 if values.dim() > 1 else 1).add_(torch.randn_like(values) * 0.1)
    return models


def compare_imported(name, model, windows):
    """As it is, in several files, and in bf16; and back."""
    import torch
    from transformers import AutoModelForCausalLM
    model.save_pretrained(f"{name}-made")
    model.save_pretrained(f"{name}-parts", max_shard_size="20KB")
    assert len(list(pathlib.Path(f"{name}-parts").glob("*.safetensors"))) > 1
    for kind in ("made", "parts"):
        shoal("import", f"{name}-{kind}", "--out", f"{name}-{kind}.h5")
        off = abs(torch_loss(model, windows) - loss(f"{name}-{kind}.h5"))
        print(f"{name}-{kind} from transformers: losses differ by {off:.1e}")
        assert off < 1e-5
    shoal("export", f"{name}-made.h5", "--to", "hf", "--out", f"{name}-again")
    again = AutoModelForCausalLM.from_pretrained(f"{name}-again").state_dict()
    for key, values in model.state_dict().items():
        assert torch.equal(values, again[key]), key
    model.to(torch.bfloat16).save_pretrained(f"{name}-bf16")
    half = AutoModelForCausalLM.from_pretrained(f"{name}-bf16", dtype=torch.float32)
    shoal("import", f"{name}-bf16", "--out", f"{name}-bf16.h5")
    off = abs(torch_loss(half, windows) - loss(f"{name}-bf16.h5"))
    print(f"{name}-bf16 from transformers: losses differ by {off:.1e}")
    assert off < 1e-5


def compare_tokenizer():
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained("gpt2-hf")
    text = "caf\u00e9 <s> \u0100 5  x\n\0"
    assert tokenizer(text)["input_ids"] == list(text.encode()), tokenizer(text)
    assert tokenizer.decode(list(text.encode())) == text
    tokenizer = AutoTokenizer.from_pretrained("low-hf")
    (shard,) = pathlib.Path("said").glob("train_*.bin")
    tokens = np.fromfile(shard, "<u2", offset=1024).tolist()
    found = [tokenizer.eos_token_id, *tokenizer(20 * TEXT)["input_ids"]]
    assert len(tokens) > 100 and found[:len(tokens)] == tokens, (tokens, found)
    assert (20 * TEXT).startswith(tokenizer.decode(tokens[1:]))


def inside():
    windows = np.load("windows.npy")
    for arch in OF_ARCH:
        compare_exported(arch, windows)
    for name, model in made_models().items():
        compare_imported(name, model, windows)
    compare_tokenizer()


def interpreter():
    """The interpreter with transformers; or None, said why."""
    python = os.environ.get("SHOAL_TORCH_PYTHON")
    if not python:
        print("no SHOAL_TORCH_PYTHON that names a Python with torch and transformers")
        return None
    done = subprocess.run([python, "-c", "import torch, transformers"], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        print(f"{python} cannot import torch and transformers")
        return None
    return python


def main():
    if "--inside" in sys.argv:
        inside()
        return
    python = interpreter()
    if not python:
        sys.exit(SKIPPED)
    arguments = [__file__, "--inside", *map(os.path.abspath, sys.argv[1:])]
    sys.argv[1:] = arguments[2:]
    with tempfile.TemporaryDirectory(prefix="shoal-test-") as scratch:
        arguments[0] = os.path.abspath(arguments[0])
        os.chdir(scratch)
        make_experts()
        make_tokenizer()
        subprocess.run([python, *arguments], check=True,
                       env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
                            "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
        os.chdir("/")


main()
