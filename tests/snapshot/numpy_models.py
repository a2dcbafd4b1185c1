"""A GPT-2 and a Llama in numpy, from best.h5 and nothing else, give the loss that `shoal eval` gives.

Argument 1 is the shoal program, argument 2 gpt2 or llama. It makes a text, trains two tiny experts on
it, stopping once in between, and evaluates the best; then the weights are read with h5py under
Hugging Face's names and shapes, and the loss on the same windows is computed here in double
precision, after Radford et al. 2019 and Touvron et al. 2023.
"""
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

CONFIG = """
run: {name: numpy, steps: 30, out: run, seed: 3}
model: {layers: 4, width: 36, heads: 3, context: 24, vocab: 256%s}
population: {experts: 2}
data: {train: "data/train_*.bin", val: "data/val_*.bin", tokenizer: bytes}
train: {batch: 4, precision: f32, lr: 0.01, warmup: 5}
evolution: {every: 5, judge: 10, fitness_batches: 2}
snapshot: {every: 0}
threads: 1
"""
OF_ARCH = {"gpt2": "", "llama": ", arch: llama, kv_heads: 1, ffn: 50"}
TOLERANCE = 1e-4


class Weights:
    def __init__(self, path, blocks):
        self.w = {}
        with h5py.File(path) as file:
            file["params"].visititems(self.take)
        self.layers = 1 + max(int(name[len(blocks):].split("/")[0])
                              for name in self.w if name.startswith(blocks))

    def loss(self, tokens, targets):  # mean nats per token of one sequence
        return cross_entropy(self.logits(tokens), targets)

    def take(self, name, item):
        if isinstance(item, h5py.Dataset):
            self.w[name] = item[...].astype(np.float64)


def attend(q, k, v):  # (heads, T, size)
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    scores += np.triu(np.full(scores.shape[1:], -np.inf), 1)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    out = (scores / scores.sum(-1, keepdims=True)) @ v
    return out.swapaxes(0, 1).reshape(q.shape[1], -1)


def cross_entropy(logits, targets):
    logits = logits - logits.max(-1, keepdims=True)
    return np.mean(np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(targets)), targets])


class GPT2(Weights):
    HEADS = 3

    def __init__(self, path):
        super().__init__(path, "h/")

    def linear(self, x, name):  # Hugging Face's Conv1D: weights are (in, out)
        return x @ self.w[name + "/weight"] + self.w[name + "/bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return x * self.w[name + "/weight"] + self.w[name + "/bias"]

    def attention(self, x, name):  # x: (T, C)
        q, k, v = (part.reshape(len(x), self.HEADS, -1).swapaxes(0, 1)
                   for part in np.split(self.linear(x, name + "/c_attn"), 3, axis=-1))
        return self.linear(attend(q, k, v), name + "/c_proj")

    def mlp(self, x, name):
        x = self.linear(x, name + "/c_fc")
        x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return self.linear(x, name + "/c_proj")

    def logits(self, tokens):  # of one sequence
        x = self.w["wte/weight"][tokens] + self.w["wpe/weight"][:len(tokens)]
        for layer in range(self.layers):
            x = x + self.attention(self.norm(x, f"h/{layer}/ln_1"), f"h/{layer}/attn")
            x = x + self.mlp(self.norm(x, f"h/{layer}/ln_2"), f"h/{layer}/mlp")
        return self.norm(x, "ln_f") @ self.w["wte/weight"].T


class Llama(Weights):
    HEADS, KV_HEADS = 3, 1
    THETA = 10000.0

    def __init__(self, path):
        super().__init__(path, "model/layers/")

    def linear(self, x, name):
        return x @ self.w[name + "/weight"].T

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * self.w[name + "/weight"]

    def turn(self, x):  # (heads, T, size): element i with i + size / 2, as complex numbers
        half = x.shape[-1] // 2
        angle = np.outer(np.arange(x.shape[1]), self.THETA ** (-np.arange(half) / half))
        turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def attention(self, x, name):
        q, k, v = (self.linear(x, f"{name}/{part}_proj").reshape(len(x), heads, -1).swapaxes(0, 1)
                   for part, heads in (("q", self.HEADS), ("k", self.KV_HEADS), ("v", self.KV_HEADS)))
        k, v = (np.repeat(part, self.HEADS // self.KV_HEADS, axis=0) for part in (self.turn(k), v))
        return self.linear(attend(self.turn(q), k, v), name + "/o_proj")

    def mlp(self, x, name):
        gate = self.linear(x, name + "/gate_proj")
        return self.linear(gate / (1 + np.exp(-gate)) * self.linear(x, name + "/up_proj"),
                           name + "/down_proj")

    def logits(self, tokens):
        x = self.w["model/embed_tokens/weight"][tokens]
        for layer in range(self.layers):
            block = f"model/layers/{layer}"
            x = x + self.attention(self.norm(x, block + "/input_layernorm"), block + "/self_attn")
            x = x + self.mlp(self.norm(x, block + "/post_attention_layernorm"), block + "/mlp")
        return self.linear(self.norm(x, "model/norm"), "lm_head")


def windows(path, context):
    """Token shards as llm.c writes them: 256 int32 of header, then uint16 tokens."""
    tokens = np.fromfile(path, dtype="<u2", offset=1024).astype(np.int64)
    for start in range(0, len(tokens) - context, context):
        piece = tokens[start:start + context + 1]
        yield piece[:-1], piece[1:]


def make_text(path):
    words = "the shoal turns as one, no fish leads; each follows its neighbour and the best water"
    words, state = words.split(), 1
    with open(path, "w") as file:
        for _ in range(3000):
            state = (state * 1103515245 + 12345) % 2**31
            file.write(words[state // 65536 % len(words)] + ("\n" if state % 11 == 0 else " "))


def main():
    shoal, arch = os.path.abspath(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory(prefix="shoal-test-") as scratch:
        os.chdir(scratch)
        make_text("text.txt")
        with open("config.yaml", "w") as file:
            file.write(CONFIG % OF_ARCH[arch])

        def run(*arguments):
            return subprocess.run([shoal, *arguments], check=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL).stdout

        run("tokenize", "--tokenizer", "bytes", "--out", "data", "text.txt")
        run("train", "config.yaml", "--set", "run.steps=20")
        run("train", "config.yaml", "--resume")
        said = json.loads(run("eval", "run", "--data", "data/val_*.bin", "--json"))["loss"]
        gpt = (GPT2 if arch == "gpt2" else Llama)("run/best.h5")
        losses = [gpt.loss(*window) for window in windows("data/val_000000.bin", 24)]
        print(f"shoal eval {said:.8f}, numpy {np.mean(losses):.8f} on {len(losses)} windows")
        if len(losses) < 20 or not 0.5 < said < 5:
            sys.exit("numpy_models.py: the run is not one to compare on")
        if not abs(said - np.mean(losses)) < TOLERANCE:
            sys.exit(f"numpy_models.py: the losses differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
