#!/usr/bin/env python3
"""Write golden_adamw_NAME.bin, ten AdamW steps of a tiny model in PyTorch in double precision, and
golden_gradients_NAME.bin, the gradients of the first step in float32.

    python3 golden_adamw.py gpt2|llama|llama-tied FOLDER      (needs torch and numpy; any version of 2024 or later)

Both little-endian. golden_adamw: int32 {magic, is llama, layers, heads, kv_heads, width, ffn, tied,
context, vocab, batch, steps}; float64 {lr, lr_final, warmup, decay, beta1, beta2, eps, clip, theta};
the initial weights, float32; for every step the learning rate, the loss before the step and the
gradient norm before clipping, float64, then tokens and targets (batch, context), int32; the final
weights, float32. golden_gradients: int32 magic; the loss, float64; the gradients, float32. The order
of weights and gradients is golden_models.py's.
"""
import math
import pathlib
import sys

import numpy as np
import torch

import golden_models

MAGIC = 20260103
BATCH, STEPS = 4, 10
LR, LR_FINAL, WARMUP, DECAY, BETA1, BETA2, EPS, CLIP = 6e-3, 0.1, 3, 0.1, 0.9, 0.95, 1e-8, 1.0


def learning_rate(step):
    if step < WARMUP:
        return LR * step / WARMUP
    cosine = 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
    return LR * (LR_FINAL + (1 - LR_FINAL) * cosine)


def batch_of(shape):
    text = torch.randint(0, shape.vocab, (BATCH, shape.context + 1))
    tokens, targets = text[:, :-1].contiguous(), text[:, 1:].clone()
    targets[torch.rand(BATCH, shape.context) < 0.1] = -1
    return tokens, targets


def write(out, tensors, dtype):
    for t in tensors:
        out.write(t.detach().numpy().astype(dtype).tobytes())


def write_gradients(path, model, weights, tokens, targets):
    weights = [w.detach().float().requires_grad_() for w in weights]
    loss = model.loss(weights, tokens, targets)
    loss.backward()
    with open(path, "wb") as out:
        out.write(np.array([MAGIC], "<i4").tobytes())
        out.write(np.array([loss.item()], "<f8").tobytes())
        write(out, [w.grad for w in weights], "<f4")


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    model = golden_models.make(name)
    s = model.shape
    weights = [w.double().requires_grad_() for w in golden_models.initial_weights(model)]
    optimiser = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.dim() == 2], "weight_decay": DECAY},
            {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
        ],
        lr=LR, betas=(BETA1, BETA2), eps=EPS,
    )
    with open(folder / f"golden_adamw_{name}.bin", "wb") as out:
        out.write(np.array([MAGIC, s.arch == "llama", s.layers, s.heads, s.kv_heads, s.width, s.ffn,
                            s.tied, s.context, s.vocab, BATCH, STEPS], "<i4").tobytes())
        out.write(np.array([LR, LR_FINAL, WARMUP, DECAY, BETA1, BETA2, EPS, CLIP, s.theta],
                           "<f8").tobytes())
        write(out, weights, "<f4")
        for step in range(1, STEPS + 1):
            tokens, targets = batch_of(s)
            if step == 1:
                write_gradients(folder / f"golden_gradients_{name}.bin", model, weights, tokens, targets)
            loss = model.loss(weights, tokens, targets)
            optimiser.zero_grad()
            loss.backward()
            size = torch.nn.utils.clip_grad_norm_(weights, CLIP)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step)
            optimiser.step()
            print(f"step {step}: lr {learning_rate(step):.6f} loss {loss:.6f} norm {size:.4f}")
            out.write(np.array([learning_rate(step), loss.item(), size.item()], "<f8").tobytes())
            write(out, [tokens, targets], "<i4")
        write(out, weights, "<f4")


if __name__ == "__main__":
    main()
