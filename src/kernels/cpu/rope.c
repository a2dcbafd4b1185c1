/* rope.c - rotary positions.
 *
 * Sines and cosines of a call's positions are computed first, in double precision: at position
 * 60,000 a float angle would be off by a thousandth. Q and K heads lie side by side in a row of
 * qkv, so they are turned alike. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

/* cosine (half), then sine (half), of one position. */
static void fill_angles(float *table, int64_t position, int64_t half, float theta, bool back)
{
    for (int64_t i = 0; i < half; i++) {
        const double power = -(double)i / (double)half;
        const double angle = (double)position * pow((double)theta, power);
        table[i] = (float)cos(angle);
        table[half + i] = (float)(back ? -sin(angle) : sin(angle));
    }
}

SPECIALISED void turn(void *head, const float *table, int64_t half, bool is16)
{
    void *const second = element_at(head, half, is16);
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float x = element_get(head, i, is16), y = element_get(second, i, is16);
        element_put(head, i, is16, x * table[i] - y * table[half + i]);
        element_put(second, i, is16, y * table[i] + x * table[half + i]);
    }
}

enum shoal_status cpu_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                           int64_t first, float theta, bool back)
{
    const int64_t context = qkv.dim[1], width = qkv.dim[2], rows = qkv.dim[0] * context;
    const int64_t turned = shape.heads + shape.kv_heads, size = width / (turned + shape.kv_heads);
    const int64_t half = size / 2;
    const bool is16 = qkv.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, rows * turned * size);
    float *tables;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(context * size) * sizeof *tables, &tables));
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < context; t++)
            fill_angles(tables + t * size, first + t, half, theta, back);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t h = 0; h < turned; h++) {
                void *const head = element_at(qkv.data, r * width + h * size, is16);
                if (is16)
                    turn(head, tables + r % context * size, half, true);
                else
                    turn(head, tables + r % context * size, half, false);
            }
    }
    return SHOAL_OK;
}
