#!/usr/bin/env python3
"""The training step of bench/step.c in PyTorch: GPT-2 with fused attention, clipping and fused AdamW.

  pytorch_step.py LAYERS WIDTH HEADS CONTEXT VOCAB BATCH f32|bf16 THREADS STEPS eager|compile [cpu|cuda]

Prints one line of JSON with the same keys as bench_step. bf16 means autocast over float32 weights.
"""
import json
import math
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

WARM_STEPS = 2


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, context, width = x.shape
        shape = (batch, context, self.heads, width // self.heads)
        q, k, v = (t.view(shape).transpose(1, 2)
                   for t in self.c_attn(self.ln_1(x)).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(batch, context, width))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, width, heads, context, vocab):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("c_proj.weight", "c_out.weight"))
                nn.init.normal_(parameter, 0, 0.02 / (math.sqrt(2 * layers) if residual else 1))

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), targets.view(-1))


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def main():
    layers, width, heads, context, vocab, batch = map(int, sys.argv[1:7])
    bf16, threads, steps, mode = sys.argv[7] == "bf16", *map(int, sys.argv[8:10]), sys.argv[10]
    device = sys.argv[11] if len(sys.argv) > 11 else "cpu"
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    model = GPT(layers, width, heads, context, vocab).to(device)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
    forward = torch.compile(model) if mode == "compile" else model
    tokens, targets = (torch.randint(vocab, (batch, context), device=device) for _ in range(2))
    seconds = []
    for _ in range(WARM_STEPS + steps):
        start = time.monotonic()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        wait(device)
        seconds.append(time.monotonic() - start)
    seconds = seconds[WARM_STEPS:]
    median = statistics.median(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = torch.cuda.max_memory_reserved() if device == "cuda" else 0
    print(json.dumps({"device_bytes": held, "seconds": seconds, "median_s": median,
                      "tokens_per_s": batch * context / median, "peak_rss_bytes": peak,
                      "device": f"pytorch {torch.__version__}, {threads} threads, {mode}"}))


if __name__ == "__main__":
    main()
