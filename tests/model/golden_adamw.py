#!/usr/bin/env python3
"""Write golden_adamw.bin: ten AdamW steps of a tiny GPT-2 in PyTorch, in double precision.

    python3 golden_adamw.py golden_adamw.bin        (needs torch and numpy; any version of 2024 or later)

The file, little-endian: int32 {magic, layers, heads, width, context, vocab, batch, steps};
float64 {lr, lr_final, warmup, decay, beta1, beta2, eps, clip}; the initial weights, float32; for every
step the learning rate, the loss before the step and the gradient norm before clipping, float64, then
tokens and targets (batch, context), int32; the final weights, float32. Weights are matrices first
(wte, wpe, then qkv, proj, fc, fcproj of each layer, all (out, in)), then vectors (gain and bias of
ln_1, biases of qkv and proj, gain and bias of ln_2, biases of fc and fcproj of each layer, gain and
bias of ln_f), without padding.
"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

MAGIC = 20260101
LAYERS, HEADS, WIDTH, CONTEXT, VOCAB, BATCH, STEPS = 2, 3, 24, 12, 65, 4, 10
LR, LR_FINAL, WARMUP, DECAY, BETA1, BETA2, EPS, CLIP = 6e-3, 0.1, 3, 0.1, 0.9, 0.95, 1e-8, 1.0


def matrix_shapes():
    block = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)]
    return [(VOCAB, WIDTH), (CONTEXT, WIDTH)] + block * LAYERS


def vector_sizes():
    block = [WIDTH, WIDTH, 3 * WIDTH, WIDTH, WIDTH, WIDTH, 4 * WIDTH, WIDTH]
    return block * LAYERS + [WIDTH, WIDTH]


def initial_weights():
    """Larger than GPT-2's, and gains and biases off 1 and 0, so that every term matters."""
    gains = {8 * layer + i for layer in range(LAYERS) for i in (0, 4)} | {8 * LAYERS}
    weights = [0.15 * torch.randn(shape) for shape in matrix_shapes()]
    for i, n in enumerate(vector_sizes()):
        weights.append((1.0 if i in gains else 0.0) + 0.1 * torch.randn(n))
    return [w.double().requires_grad_() for w in weights]


def norm(x, gain, bias):
    return F.layer_norm(x, (WIDTH,), gain, bias, eps=1e-5)


def attention(x, heads):
    batch, time, _ = x.shape
    q, k, v = (t.view(batch, time, heads, -1).transpose(1, 2) for t in x.split(WIDTH, dim=2))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, float("-inf")).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(batch, time, WIDTH)


def loss_of(weights, tokens, targets):
    """GPT-2: pre-norm blocks, learned positions, GELU in its tanh form, head tied to wte."""
    matrices, vectors = weights[: 2 + 4 * LAYERS], weights[2 + 4 * LAYERS :]
    wte, wpe = matrices[:2]
    x = wte[tokens] + wpe[: tokens.shape[1]]
    for layer in range(LAYERS):
        qkv, proj, fc, fcproj = matrices[2 + 4 * layer : 6 + 4 * layer]
        g1, b1, qkv_b, proj_b, g2, b2, fc_b, fcproj_b = vectors[8 * layer : 8 * layer + 8]
        x = x + F.linear(attention(F.linear(norm(x, g1, b1), qkv, qkv_b), HEADS), proj, proj_b)
        hidden = F.gelu(F.linear(norm(x, g2, b2), fc, fc_b), approximate="tanh")
        x = x + F.linear(hidden, fcproj, fcproj_b)
    logits = F.linear(norm(x, *vectors[-2:]), wte)
    return F.cross_entropy(logits.view(-1, VOCAB), targets.view(-1), ignore_index=-1)


def learning_rate(step):
    if step < WARMUP:
        return LR * step / WARMUP
    cosine = 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
    return LR * (LR_FINAL + (1 - LR_FINAL) * cosine)


def batch_of():
    text = torch.randint(0, VOCAB, (BATCH, CONTEXT + 1))
    tokens, targets = text[:, :-1].contiguous(), text[:, 1:].clone()
    targets[torch.rand(BATCH, CONTEXT) < 0.1] = -1
    return tokens, targets


def write_weights(out, weights):
    for w in weights:
        out.write(w.detach().numpy().astype("<f4").tobytes())


def main():
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    weights = initial_weights()
    optimiser = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.dim() == 2], "weight_decay": DECAY},
            {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
        ],
        lr=LR, betas=(BETA1, BETA2), eps=EPS,
    )
    with open(sys.argv[1], "wb") as out:
        out.write(np.array([MAGIC, LAYERS, HEADS, WIDTH, CONTEXT, VOCAB, BATCH, STEPS], "<i4").tobytes())
        out.write(np.array([LR, LR_FINAL, WARMUP, DECAY, BETA1, BETA2, EPS, CLIP], "<f8").tobytes())
        write_weights(out, weights)
        for step in range(1, STEPS + 1):
            tokens, targets = batch_of()
            loss = loss_of(weights, tokens, targets)
            optimiser.zero_grad()
            loss.backward()
            size = torch.nn.utils.clip_grad_norm_(weights, CLIP)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step)
            optimiser.step()
            print(f"step {step}: lr {learning_rate(step):.6f} loss {loss:.6f} norm {size:.4f}")
            out.write(np.array([learning_rate(step), loss.item(), size.item()], "<f8").tobytes())
            out.write(tokens.numpy().astype("<i4").tobytes())
            out.write(targets.numpy().astype("<i4").tobytes())
        write_weights(out, weights)


if __name__ == "__main__":
    main()
