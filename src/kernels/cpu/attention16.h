/* attention16.h - attention on tile16.h, for bf16 where the processor multiplies it. */
#pragma once
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"

/* Whether attention16_* may be called: qkv is bf16, the processor can (cpu_device.vectors16), and
 * heads are of an even size. */
bool attention16_covers(const struct device *dev, const struct heads *h);
/* As kernel_attention and kernel_attention_grad. */
enum shoal_status attention16(struct device *dev, const struct heads *h, struct view out,
                              struct view stats, struct view qkv);
enum shoal_status attention16_grad(struct device *dev, const struct heads *h, struct view dqkv,
                                   struct view dout, struct view out, struct view stats,
                                   struct view qkv);
