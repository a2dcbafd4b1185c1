/* Numbers packed for the wire: against a reference in double precision that knows the formats from
 * packing.h alone, and that what is lost is said in the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"
#include "kernels/tensor.h"

static const char *const names[PACKINGS] = {"bf16", "int8", "int4", "int1"};

/* To eight significant bits, ties to even, by way of the C library. */
static double rounded(double x)
{
    int exponent;
    const double mantissa = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

/* A scale must be of float32's arithmetic: a quotient rounded to it first. */
static double ref_scale(const double *d, int n, enum packing p)
{
    double top = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        top = fmax(top, fabs(d[i]));
        sum += fabs(d[i]);
    }
    if (p == PACK_INT1) return sum / n;
    return rounded((double)(float)(top / (p == PACK_INT8 ? 127 : 7)));
}

/* said = what n <= 64 packed numbers mean when d is packed. */
static void ref_block(double *said, const double *d, int n, enum packing p)
{
    const double scale = p == PACK_BF16 ? 0 : ref_scale(d, n, p);
    const double levels = p == PACK_INT8 ? 127 : 7;
    for (int i = 0; i < n; i++) {
        if (p == PACK_BF16)
            said[i] = rounded(d[i]);
        else if (p == PACK_INT1)
            said[i] = d[i] < 0 ? -scale : scale;
        else
            said[i] = scale * fmax(-levels, fmin(levels, nearbyint(d[i] / scale)));
    }
}

static double *ref_pack(const double *d, int64_t n, enum packing p)
{
    double *const said = doubles(n);
    for (int64_t at = 0; at < n; at += 64)
        ref_block(said + at, d + at, n - at < 64 ? (int)(n - at) : 64, p);
    return said;
}

static void *bytes_for(enum packing p, int64_t n)
{
    void *const packed = calloc(1, (size_t)pack_bytes(p, n) + 2);
    assert_non_null(packed);
    ((uint8_t *)packed)[pack_bytes(p, n)] = 0x5a;
    return packed;
}

static void sizes(void **state)
{
    (void)state;
    const int64_t want[PACKINGS] = {128, 66, 34, 10};
    for (int p = 0; p < PACKINGS; p++) {
        assert_int_equal(pack_bytes(p, 0), 0);
        assert_int_equal(pack_bytes(p, 1), want[p]);
        assert_int_equal(pack_bytes(p, 64), want[p]);
        assert_int_equal(pack_bytes(p, 65), 2 * want[p]);
    }
}

/* Lengths around a block, and one that several threads share. A scale of int1 is a float32 sum, so
 * its last bit may differ from the reference; and where a quotient is near a tie, a code may. */
static void means(void **state)
{
    const int64_t counts[] = {1, 31, 32, 33, 63, 64, 65, 1023, 1025, 40007};
    for (int p = 0; p < PACKINGS; p++)
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            const int64_t n = counts[c];
            struct tensor x = tensor_random(DTYPE_F32, 1, n, 0.02, 1),
                          base = tensor_random(DTYPE_F32, 1, n, 0.02, 2),
                          lost = tensor_random(DTYPE_F32, 1, n, 0.005, 3),
                          out = tensor_random(DTYPE_F32, 1, n, 1.0, 4);
            void *const packed = bytes_for(p, n);
            double *const d = doubles(n);
            int64_t off = 0;
            for (int64_t i = 0; i < n; i++)
                d[i] = (double)((float)(x.exact[i] - base.exact[i]) + (float)lost.exact[i]);
            double *const said = ref_pack(d, n, p);
            OK(kernel_pack(*state, packed, lost.view.data, x.view.data, base.view.data, n, p));
            OK(kernel_unpack(*state, out.view.data, packed, n, p, 1.0f, 0.0f));
            assert_int_equal(((uint8_t *)packed)[pack_bytes(p, n)], 0x5a);
            for (int64_t i = 0; i < n; i++) {
                const double got = tensor_get(&out, i), kept = tensor_get(&lost, i);
                off += fabs(got - said[i]) > (p == PACK_INT1 ? 0.005 : 1e-7) * fabs(said[i]);
                assert_true(fabs(got + kept - d[i]) <= 1e-7 * (fabs(got) + fabs(d[i])));
            }
            if (off > n / 2000)
                fail_msg("%s of %lld: %lld differ", names[p], (long long)n, (long long)off);
            struct tensor *const all[] = {&x, &base, &lost, &out};
            for (int t = 0; t < 4; t++)
                tensor_free(all[t]);
            free(said);
            free(d);
            free(packed);
        }
}

/* Without a base and without feedback; unpacked as part of a weighted sum. */
static void plain(void **state)
{
    enum { N = 777 };
    for (int p = 0; p < PACKINGS; p++) {
        struct tensor x = tensor_random(DTYPE_F32, 1, N, 1.0, 1),
                      once = tensor_zero(DTYPE_F32, 1, N),
                      sum = tensor_random(DTYPE_F32, 1, N, 1.0, 2);
        void *const packed = bytes_for(p, N);
        double *const want = doubles(N);
        OK(kernel_pack(*state, packed, NULL, x.view.data, NULL, N, p));
        ((float *)once.view.data)[5] = NAN; /* with beta 0, out is not read */
        OK(kernel_unpack(*state, once.view.data, packed, N, p, 1.0f, 0.0f));
        for (int i = 0; i < N; i++)
            want[i] = 0.25 * tensor_get(&once, i) + 0.75 * sum.exact[i];
        OK(kernel_unpack(*state, sum.view.data, packed, N, p, 0.25f, 0.75f));
        assert_true(tensor_close(names[p], &sum, want, tolerance_for(DTYPE_F32)));
        struct tensor *const all[] = {&x, &once, &sum};
        for (int t = 0; t < 3; t++)
            tensor_free(all[t]);
        free(want);
        free(packed);
    }
}

/* Error feedback: what is said of the same number often enough is that number on average, but for
 * what is still to be said. Signs take longest: a number far above the mean magnitude waits until
 * that has grown. */
static void said_in_the_end(void **state)
{
    enum { N = 200, TIMES = 400 };
    for (int p = PACK_INT8; p < PACKINGS; p++) {
        struct tensor x = tensor_random(DTYPE_F32, 1, N, 1.0, 1),
                      lost = tensor_zero(DTYPE_F32, 1, N), sum = tensor_zero(DTYPE_F32, 1, N);
        void *const packed = bytes_for(p, N);
        for (int k = 0; k < TIMES; k++) {
            OK(kernel_pack(*state, packed, lost.view.data, x.view.data, NULL, N, p));
            OK(kernel_unpack(*state, sum.view.data, packed, N, p, 1.0f / TIMES, 1.0f));
        }
        for (int i = 0; i < N; i++) {
            const double kept = tensor_get(&lost, i) / TIMES, got = tensor_get(&sum, i);
            assert_true(fabs(got + kept - x.exact[i]) < 1e-4);
            assert_true(fabs(kept) < (p == PACK_INT1 ? 0.3 : 0.002));
        }
        tensor_free(&x);
        tensor_free(&lost);
        tensor_free(&sum);
        free(packed);
    }
}

/* Zeros, numbers below any scale, the largest ones, and what is not finite: that spoils its own
 * block, as it would the mean of float32, and leaves nothing behind. */
static void extremes(void **state)
{
    enum { N = 4 * 64, ZERO = 0, TINY = 64, HUGE_ONES = 128, BROKEN = 192 };
    for (int p = 0; p < PACKINGS; p++) {
        struct tensor x = tensor_zero(DTYPE_F32, 1, N), lost = tensor_zero(DTYPE_F32, 1, N),
                      out = tensor_zero(DTYPE_F32, 1, N);
        float *const v = x.view.data;
        void *const packed = bytes_for(p, N);
        for (int i = 0; i < 64; i++) {
            v[TINY + i] = (i % 2 ? -1e-39f : 1e-39f);
            v[HUGE_ONES + i] = i % 2 ? -3e38f : 3e38f;
            v[BROKEN + i] = 1.0f;
        }
        v[BROKEN + 7] = p % 2 ? INFINITY : NAN;
        ((float *)lost.view.data)[BROKEN + 9] = 0.5f;
        OK(kernel_pack(*state, packed, lost.view.data, v, NULL, N, p));
        OK(kernel_unpack(*state, out.view.data, packed, N, p, 1.0f, 0.0f));
        for (int i = 0; i < N; i++) {
            const double got = tensor_get(&out, i), kept = tensor_get(&lost, i);
            const bool spoilt = p == PACK_BF16 ? i == BROKEN + 7 : i >= BROKEN;
            assert_true(isfinite(kept));
            if (i < TINY) assert_true(got == 0 && kept == 0);
            if (i < BROKEN && p != PACK_INT1)
                assert_true(fabs(got - (double)v[i]) <= 0.003 * fabs((double)v[i]) + 1e-39);
            if (i < HUGE_ONES) assert_true(got + kept == (double)v[i]);
            if (i >= BROKEN) assert_true(spoilt ? !isfinite(got) : isfinite(got));
            if (spoilt) assert_true(kept == 0);
        }
        tensor_free(&x);
        tensor_free(&lost);
        tensor_free(&out);
        free(packed);
    }
}

static void mistakes(void **state)
{
    float x[64] = {0};
    assert_int_equal(kernel_pack(*state, NULL, NULL, x, NULL, 64, PACK_INT4), SHOAL_EARG);
    assert_int_equal(kernel_pack(*state, x, NULL, x, NULL, 64, PACKINGS), SHOAL_EARG);
    assert_non_null(strstr(shoal_failure_text(), "pack: no packing 4"));
    assert_int_equal(kernel_unpack(*state, x, NULL, 64, PACK_INT4, 1.0f, 0.0f), SHOAL_EARG);
    OK(kernel_pack(*state, NULL, NULL, NULL, NULL, 0, PACK_INT4));
    OK(kernel_unpack(*state, NULL, NULL, 0, PACK_INT4, 1.0f, 0.0f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),           cmocka_unit_test(means),    cmocka_unit_test(plain),
        cmocka_unit_test(said_in_the_end), cmocka_unit_test(extremes), cmocka_unit_test(mistakes),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
