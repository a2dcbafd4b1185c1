#!/usr/bin/env python3
"""Write golden_curve.bin: the losses of 200 training steps of a small GPT-2 in PyTorch, in float32.

    python3 golden_curve.py golden_curve.bin        (needs torch and numpy; any version of 2024 or later)

The text is golden_curve.text, byte by byte. Weights and places in the text come from formulas that
test_curve.c repeats, so the file holds only numbers to compare with: int32 {magic, steps}; then the
loss of every step, float64. Little-endian.
"""
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

MAGIC = 20260102
LAYERS, HEADS, WIDTH, CONTEXT, VOCAB, BATCH, STEPS = 4, 4, 128, 64, 128, 8, 200
LR, LR_FINAL, WARMUP, DECAY, BETA1, BETA2, EPS, CLIP = 1e-3, 0.1, 20, 0.1, 0.9, 0.95, 1e-8, 1.0


def mix(i):
    """A 32-bit hash of 32-bit numbers (Wellons' lowbias32)."""
    i = i.astype(np.uint64)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        i = (i ^ (i >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return i


def uniform(tensor, shape, deviation):
    """Uniform numbers of this standard deviation; tensor: its number, in the order below."""
    n = math.prod(shape)
    u = mix(np.arange(n, dtype=np.uint64) + np.uint64(tensor << 20)).astype(np.float64) / 2.0**32
    values = ((u - 0.5) * math.sqrt(12.0) * deviation).astype(np.float32)
    return torch.from_numpy(values.reshape(shape)).requires_grad_()


def constant(n, value):
    return torch.full((n,), value).requires_grad_()


class GPT:
    """GPT-2: pre-norm blocks, learned positions, GELU in its tanh form, head tied to wte."""

    def __init__(self):
        residual = 0.02 / math.sqrt(2 * LAYERS)
        self.wte = uniform(0, (VOCAB, WIDTH), 0.02)
        self.wpe = uniform(1, (CONTEXT, WIDTH), 0.02)
        self.blocks = [
            (uniform(2 + 4 * l, (3 * WIDTH, WIDTH), 0.02), uniform(3 + 4 * l, (WIDTH, WIDTH), residual),
             uniform(4 + 4 * l, (4 * WIDTH, WIDTH), 0.02),
             uniform(5 + 4 * l, (WIDTH, 4 * WIDTH), residual),
             constant(WIDTH, 1.0), constant(WIDTH, 0.0), constant(3 * WIDTH, 0.0), constant(WIDTH, 0.0),
             constant(WIDTH, 1.0), constant(WIDTH, 0.0), constant(4 * WIDTH, 0.0), constant(WIDTH, 0.0))
            for l in range(LAYERS)]
        self.lnf = (constant(WIDTH, 1.0), constant(WIDTH, 0.0))

    def parameters(self):
        return [self.wte, self.wpe, *(p for block in self.blocks for p in block), *self.lnf]

    def loss(self, tokens, targets):
        shape = (BATCH, CONTEXT, HEADS, WIDTH // HEADS)
        x = self.wte[tokens] + self.wpe
        for qkv, proj, fc, fcproj, g1, b1, qkv_b, proj_b, g2, b2, fc_b, fcproj_b in self.blocks:
            y = F.linear(F.layer_norm(x, (WIDTH,), g1, b1), qkv, qkv_b)
            q, k, v = (t.view(shape).transpose(1, 2) for t in y.split(WIDTH, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(x.shape), proj, proj_b)
            y = F.gelu(F.linear(F.layer_norm(x, (WIDTH,), g2, b2), fc, fc_b), approximate="tanh")
            x = x + F.linear(y, fcproj, fcproj_b)
        logits = F.linear(F.layer_norm(x, (WIDTH,), *self.lnf), self.wte)
        return F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))


def learning_rate(step):
    if step < WARMUP:
        return LR * step / WARMUP
    cosine = 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
    return LR * (LR_FINAL + (1 - LR_FINAL) * cosine)


def batch_of(text, step):
    """Sequence b of step s begins at a hash of its number."""
    numbers = np.arange(BATCH, dtype=np.uint64) + np.uint64(step * BATCH)
    begins = mix(numbers).astype(np.int64) % (len(text) - CONTEXT - 1)
    rows = torch.tensor(np.stack([text[b: b + CONTEXT + 1] for b in begins]), dtype=torch.long)
    return rows[:, :-1], rows[:, 1:]


def main():
    torch.use_deterministic_algorithms(True)
    text = np.frombuffer(pathlib.Path(__file__).with_suffix(".text").read_bytes(), np.uint8)
    model = GPT()
    parameters = model.parameters()
    optimiser = torch.optim.AdamW(
        [{"params": [p for p in parameters if p.dim() == 2], "weight_decay": DECAY},
         {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}],
        lr=LR, betas=(BETA1, BETA2), eps=EPS)
    losses = []
    for step in range(1, STEPS + 1):
        loss = model.loss(*batch_of(text, step))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step)
        optimiser.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
    with open(sys.argv[1], "wb") as out:
        out.write(np.array([MAGIC, STEPS], "<i4").tobytes())
        out.write(np.array(losses, "<f8").tobytes())


if __name__ == "__main__":
    main()
