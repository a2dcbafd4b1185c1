/* flops.c - see flops.h. */
#include "model/flops.h"

double gpt_flops_per_token(const struct gpt_shape *s)
{
    const double C = s->width, L = s->layers, F = s->ffn;
    const double kv = C / s->heads * s->kv_heads;    /* width of keys, and of values */
    const double attention = 2 * C * C + 2 * C * kv; /* queries and output; keys, values */
    const double feed_forward = (s->arch == ARCH_LLAMA ? 3 : 2) * C * F; /* SwiGLU has a gate */
    const double head = C * s->vocab;
    return 6.0 * (L * (attention + feed_forward) + head) + 6.0 * L * C * s->context;
}
