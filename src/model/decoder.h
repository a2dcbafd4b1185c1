/* decoder.h - generating text token by token with a key/value cache, float32. */
#pragma once
#include <stdint.h>
#include "kernels/kernels.h"
#include "model/params.h"

struct decoder;

/* weights: n_params f32 on the device, borrowed for the decoder's life. */
enum shoal_status decoder_create(struct device *dev, const struct param_table *table,
                                 const float *weights, struct decoder **out);
void decoder_destroy(struct decoder **d);
/* Forget everything; the next token is at position 0. */
void decoder_reset(struct decoder *d);
/* Feed one token; *logits: vocab floats on the host, owned by the decoder, for the next one.
 * SHOAL_EARG when the context is full. */
enum shoal_status decoder_step(struct decoder *d, int32_t token, const float **logits);
int decoder_position(const struct decoder *d); /* tokens fed since reset */

struct sampling {
    float temperature; /* 0: the likeliest token */
    int top_k;         /* 0: all */
    uint64_t seed;
};
/* Draw a token from logits; `index` numbers the draw (same seed and index, same token). scratch:
 * vocab floats. Not finite logits are SHOAL_ENUMERIC. */
enum shoal_status sample_token(const float *logits, int vocab, struct sampling s, uint64_t index,
                               float *scratch, int32_t *token);
