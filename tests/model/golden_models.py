"""GPT-2 and Llama in plain PyTorch, for the files of numbers that tests compare with.

Weights are lists: matrices first (embeddings, untied head, then those of each layer), then vectors
(those of each layer, then the last norm's). Matrices are (out, in). This is the order of a slab,
without its padding.
"""
import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass
class Shape:
    arch: str
    layers: int
    heads: int
    kv_heads: int
    width: int
    ffn: int
    tied: bool
    context: int
    vocab: int
    theta: float = 10000.0


SHAPES = {
    "gpt2": Shape("gpt2", 2, 3, 3, 24, 96, True, 12, 65),
    "llama": Shape("llama", 2, 4, 2, 32, 48, False, 12, 65),
    "llama-tied": Shape("llama", 2, 4, 2, 32, 48, True, 12, 65),
}


def causal_attention(q, k, v):
    """q, k, v: (batch, heads, time, size)."""
    time = q.shape[2]
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ v


def cross_entropy(x, head, targets):
    return F.cross_entropy(F.linear(x, head).flatten(0, 1), targets.flatten(), ignore_index=-1)


class GPT2:
    """Radford et al. 2019: layer norm, learned positions, GELU (tanh), biases, tied head."""

    def __init__(self, shape):
        self.shape, c, f = shape, shape.width, shape.ffn
        self.matrices = [(shape.vocab, c), (shape.context, c)]
        self.matrices += [(3 * c, c), (c, c), (f, c), (c, f)] * shape.layers
        self.vectors = [c, c, 3 * c, c, c, c, f, c] * shape.layers + [c, c]
        self.gains = {8 * layer + i for layer in range(shape.layers) for i in (0, 4)} | {8 * shape.layers}

    def norm(self, x, gain, bias):
        return F.layer_norm(x, (self.shape.width,), gain, bias, eps=1e-5)

    def attention(self, x):
        batch, time, _ = x.shape
        q, k, v = (t.view(batch, time, self.shape.heads, -1).transpose(1, 2)
                   for t in x.split(self.shape.width, dim=2))
        return causal_attention(q, k, v).transpose(1, 2).reshape(batch, time, -1)

    def loss(self, weights, tokens, targets):
        matrices, vectors = weights[: len(self.matrices)], weights[len(self.matrices):]
        wte, wpe = matrices[:2]
        x = wte[tokens] + wpe[: tokens.shape[1]]
        for layer in range(self.shape.layers):
            qkv, proj, fc, fcproj = matrices[2 + 4 * layer: 6 + 4 * layer]
            g1, b1, qkv_b, proj_b, g2, b2, fc_b, fcproj_b = vectors[8 * layer: 8 * layer + 8]
            x = x + F.linear(self.attention(F.linear(self.norm(x, g1, b1), qkv, qkv_b)), proj, proj_b)
            hidden = F.gelu(F.linear(self.norm(x, g2, b2), fc, fc_b), approximate="tanh")
            x = x + F.linear(hidden, fcproj, fcproj_b)
        return cross_entropy(self.norm(x, *vectors[-2:]), wte, targets)


class Llama:
    """Touvron et al. 2023 as Hugging Face's LlamaForCausalLM computes it: RMSNorm, rotary positions
    that pair element i of a head with i + size / 2, SwiGLU, grouped-query attention, no biases."""

    def __init__(self, shape):
        self.shape, c, f = shape, shape.width, shape.ffn
        kv = shape.kv_heads * (c // shape.heads)
        self.outside = 1 if shape.tied else 2
        self.matrices = [(shape.vocab, c)] * self.outside
        self.matrices += [(c, c), (kv, c), (kv, c), (c, c), (f, c), (f, c), (c, f)] * shape.layers
        self.vectors = [c, c] * shape.layers + [c]
        self.gains = set(range(len(self.vectors)))

    @staticmethod
    def norm(x, gain):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain

    def turn(self, x):
        """x: (batch, heads, time, size)."""
        time, size = x.shape[2:]
        frequency = self.shape.theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angle = torch.outer(torch.arange(time, dtype=torch.float64), frequency)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def attention(self, x, wq, wk, wv):
        batch, time, _ = x.shape
        q, k, v = (F.linear(x, w).view(batch, time, heads, -1).transpose(1, 2)
                   for w, heads in ((wq, self.shape.heads), (wk, self.shape.kv_heads),
                                    (wv, self.shape.kv_heads)))
        sharing = self.shape.heads // self.shape.kv_heads
        k, v = (t.repeat_interleave(sharing, dim=1) for t in (self.turn(k), v))
        return causal_attention(self.turn(q), k, v).transpose(1, 2).reshape(batch, time, -1)

    def loss(self, weights, tokens, targets):
        matrices, vectors = weights[: len(self.matrices)], weights[len(self.matrices):]
        x = matrices[0][tokens]
        for layer in range(self.shape.layers):
            begin = self.outside + 7 * layer
            wq, wk, wv, wo, gate, up, down = matrices[begin: begin + 7]
            g1, g2 = vectors[2 * layer: 2 * layer + 2]
            x = x + F.linear(self.attention(self.norm(x, g1), wq, wk, wv), wo)
            y = self.norm(x, g2)
            x = x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)
        return cross_entropy(self.norm(x, vectors[-1]), matrices[self.outside - 1], targets)


def make(name):
    shape = SHAPES[name]
    return GPT2(shape) if shape.arch == "gpt2" else Llama(shape)


def initial_weights(model):
    """Larger than usual, and gains and biases off 1 and 0, so that every term matters. Float32."""
    weights = [0.15 * torch.randn(shape) for shape in model.matrices]
    for i, n in enumerate(model.vectors):
        weights.append((1.0 if i in model.gains else 0.0) + 0.1 * torch.randn(n))
    return weights
