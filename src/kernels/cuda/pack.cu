/* pack.cu - numbers packed for the wire, and back (packing.h). A warp takes a block at a time, a
 * lane numbers l and l + 32 of it. Bound by memory. Compiled without contraction: the CPU backend's
 * bits. */
#include "kernels/cuda/device.cuh"

/* Numbers `lane` and `lane` + 32 of a block. */
struct two {
    float v[2];
};

DEVICE_FN float magnitude(float x)
{
    return bits_to_float(float_to_bits(x) & 0x7fffffffu);
}

/* Of all lanes. */
DEVICE_FN uint32_t warp_max_bits(uint32_t x)
{
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        const uint32_t other = __shfl_xor_sync(WHOLE_WARP, x, mask);
        x = other > x ? other : x;
    }
    return x;
}
DEVICE_FN uint32_t warp_or(uint32_t x)
{
    for (int mask = WARP / 2; mask > 0; mask /= 2)
        x |= __shfl_xor_sync(WHOLE_WARP, x, mask);
    return x;
}

/* The scale's bits; the same in all lanes. */
DEVICE_FN uint16_t scale_of(struct two d, int count, enum packing p)
{
    const float a = magnitude(d.v[0]), b = magnitude(d.v[1]);
    const uint32_t a_bits = float_to_bits(a), b_bits = float_to_bits(b);
    const float s = p == PACK_INT1
                        ? warp_sum(a + b) / (float)count
                        : bits_to_float(warp_max_bits(a_bits > b_bits ? a_bits : b_bits)) /
                              (float)pack_levels(p);
    const uint16_t bits = bf16_from_f32(s);
    const float scale = bf16_to_f32(bits);
    if (!(scale - scale == 0.0f)) return (uint16_t)PACK_NAN;
    return scale < PACK_LEAST_SCALE ? (uint16_t)0 : bits;
}

DEVICE_FN int code_of(float d, uint16_t scale, enum packing p)
{
    const int levels = pack_levels(p);
    if (scale == 0 || scale == PACK_NAN) return 0;
    const int q = (int)rintf(d * (1.0f / bf16_to_f32(scale)));
    return q < -levels ? -levels : q > levels ? levels : q;
}

/* Write the codes; what they say of this lane's two numbers. */
DEVICE_FN struct two put_codes(uint8_t *to, struct two d, uint16_t scale, int lane, enum packing p)
{
    const float unit = bf16_to_f32(scale);
    struct two said;
    if (p == PACK_INT1) {
        const uint32_t low = warp_or((uint32_t)(d.v[0] < 0.0f) << lane);
        const uint32_t high = warp_or((uint32_t)(d.v[1] < 0.0f) << lane);
        const uint32_t word = lane < 2 ? low : high;
        if (lane < 4) ((uint16_t *)(void *)to)[lane] = (uint16_t)(word >> (lane % 2 * 16));
        for (int k = 0; k < 2; k++)
            said.v[k] = d.v[k] < 0.0f ? -unit : unit;
        return said;
    }
    const int a = code_of(d.v[0], scale, p), b = code_of(d.v[1], scale, p);
    if (p == PACK_INT8) {
        to[lane] = (uint8_t)a;
        to[lane + PACK_HALF] = (uint8_t)b;
    } else {
        to[lane] = (uint8_t)((a & 15) | (uint32_t)b << 4);
    }
    said.v[0] = unit * (float)a;
    said.v[1] = unit * (float)b;
    return said;
}

DEVICE_FN struct two pack_block(uint8_t *to, struct two d, int count, int lane, enum packing p)
{
    struct two said;
    if (p == PACK_BF16) {
        for (int k = 0; k < 2; k++) {
            const uint16_t half = bf16_from_f32(d.v[k]);
            ((uint16_t *)(void *)to)[lane + k * PACK_HALF] = half;
            said.v[k] = bf16_to_f32(half);
        }
        return said;
    }
    const uint16_t scale = scale_of(d, count, p);
    if (lane == 0) *(uint16_t *)(void *)to = scale;
    return put_codes(to + PACK_SCALE, d, scale, lane, p);
}

static __global__ void pack_k(uint8_t *packed, float *lost, const float *x, const float *base,
                              int64_t n, enum packing p)
{
    const int lane = (int)threadIdx.x % WARP;
    for (int64_t k = flat_begin() / WARP; k * PACK_BLOCK < n; k += flat_stride() / WARP) {
        const int64_t at = k * PACK_BLOCK + lane, left = n - k * PACK_BLOCK;
        struct two d;
        for (int h = 0; h < 2; h++) {
            const int64_t i = at + h * PACK_HALF;
            d.v[h] = 0.0f;
            if (i >= n) continue;
            d.v[h] = base ? x[i] - base[i] : x[i];
            if (lost) d.v[h] += lost[i];
        }
        const int count = left < PACK_BLOCK ? (int)left : (int)PACK_BLOCK;
        const struct two said = pack_block(packed + k * pack_block_bytes(p), d, count, lane, p);
        for (int h = 0; lost && h < 2; h++) {
            const float rest = d.v[h] - said.v[h];
            if (at + h * PACK_HALF < n)
                lost[at + h * PACK_HALF] = rest - rest == 0.0f ? rest : 0.0f;
        }
    }
}

/* Number i of a block, i = lane + 32 h. */
DEVICE_FN float value_of(const uint8_t *from, int lane, int h, enum packing p)
{
    const uint16_t *const halves = (const uint16_t *)(const void *)from;
    const uint8_t *const code = from + PACK_SCALE;
    const int i = lane + h * PACK_HALF;
    if (p == PACK_BF16) return bf16_to_f32(halves[i]);
    const float scale = bf16_to_f32(halves[0]);
    if (p == PACK_INT1) return code[i / 8] >> i % 8 & 1 ? -scale : scale;
    if (p == PACK_INT8) return scale * (float)(int8_t)code[i];
    const int nibble = code[lane] >> 4 * h & 15;
    return scale * (float)(nibble - 2 * (nibble & 8));
}

static __global__ void unpack_k(float *out, const uint8_t *packed, int64_t n, enum packing p,
                                float alpha, float beta)
{
    const int lane = (int)threadIdx.x % WARP;
    for (int64_t k = flat_begin() / WARP; k * PACK_BLOCK < n; k += flat_stride() / WARP) {
        const uint8_t *const from = packed + k * pack_block_bytes(p);
        for (int h = 0; h < 2; h++) {
            const int64_t i = k * PACK_BLOCK + lane + h * PACK_HALF;
            if (i >= n) continue;
            const float value = alpha * value_of(from, lane, h, p);
            out[i] = beta == 0.0f ? value : value + beta * out[i];
        }
    }
}

/* ---- kernels.h ------------------------------------------------------------------------------- */

/* A warp for each block, as far as there are any. */
static struct grid grid_of_blocks(int64_t n)
{
    const int64_t blocks = parts_of(pack_blocks(n), FLAT_THREADS / WARP);
    return grid_of(dim3((unsigned)at_most(blocks, FLAT_MAX_BLOCKS)), dim3(FLAT_THREADS));
}

enum shoal_status cuda_pack(struct device *dev, void *packed, float *lost, const float *x,
                            const float *base, int64_t n, enum packing p)
{
    return launch(dev, grid_of_blocks(n), pack_k, (uint8_t *)packed, lost, x, base, n, p);
}

enum shoal_status cuda_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                              enum packing p, float alpha, float beta)
{
    return launch(dev, grid_of_blocks(n), unpack_k, out, (const uint8_t *)packed, n, p, alpha,
                  beta);
}
