/* sample.c - from logits to a token: temperature, top-k, one random number. Host only. */
#include <math.h>
#include <string.h>
#include "base/rng.h"
#include "model/decoder.h"

static int32_t likeliest(const float *logits, int vocab)
{
    int best = 0;
    for (int i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* The k-th largest of n values (k from 1), by quickselect; x is reordered. */
static float kth_largest(float *x, int n, int k)
{
    int low = 0, high = n - 1;
    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i <= j) {
                const float t = x[i];
                x[i++] = x[j];
                x[j--] = t;
            }
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
    return x[k - 1];
}

/* The first token at which the running sum of probabilities passes u of the total. */
static int32_t draw(const float *weight, int vocab, double u)
{
    double total = 0.0, sum = 0.0;
    int last = 0;
    for (int i = 0; i < vocab; i++)
        total += (double)weight[i];
    for (int i = 0; i < vocab; i++) {
        if (weight[i] <= 0.0f) continue;
        last = i; /* rounding must not lead to a token of probability zero */
        sum += (double)weight[i];
        if (sum > u * total) break;
    }
    return last;
}

enum shoal_status sample_token(const float *logits, int vocab, struct sampling s, uint64_t index,
                               float *scratch, int32_t *token)
{
    for (int i = 0; i < vocab; i++)
        SHOAL_CHECK(isfinite(logits[i]), SHOAL_ENUMERIC,
                    "generate: the model's output is not finite; its weights have diverged");
    const float highest = logits[likeliest(logits, vocab)];
    if (s.temperature <= 0.0f) {
        *token = likeliest(logits, vocab);
        return SHOAL_OK;
    }
    float threshold = -INFINITY;
    if (s.top_k > 0 && s.top_k < vocab) {
        memcpy(scratch, logits, (size_t)vocab * sizeof *scratch);
        threshold = kth_largest(scratch, vocab, s.top_k);
    }
    for (int i = 0; i < vocab; i++)
        scratch[i] = logits[i] >= threshold ? expf((logits[i] - highest) / s.temperature) : 0.0f;
    const struct rng_key key = {.seed = s.seed, .stream = RNG_SAMPLE};
    *token = draw(scratch, vocab, (double)rng_to_uniform(rng_bits(key, index)));
    return SHOAL_OK;
}
