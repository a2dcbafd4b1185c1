/* bench/peaks - what this machine can do at most, whatever program runs on it.
 *
 *   build/bench/bench_peaks THREADS SECONDS
 *
 * Prints one line of JSON: operations a second of the fastest matrix product in f32 and in bf16,
 * bytes a second of a copy. Each case is repeated for SECONDS and its best time counts, since other
 * work on the machine only adds.
 *
 * Products are oneDNN's, not ours, and square, in layouts of oneDNN's choosing: a training step has
 * less even shapes and has to take its operands as they come, so what it reaches is a share of
 * this. Several sizes are tried because which one suits depends on the caches. A type that oneDNN
 * cannot multiply here is null. The copy is larger than caches and counts bytes read and bytes
 * written. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/openmp_wait.h"
#include "kernels/cpu/dnnl_api.h"

static const int64_t sizes[] = {512, 768, 1024, 2048};
static const size_t copy_bytes = (size_t)256 << 20;

#define TRY_DNNL(call)                                                                             \
    do {                                                                                           \
        const dnnl_status_t dnnl_result = (call);                                                  \
        SHOAL_CHECK(dnnl_result == dnnl_success, SHOAL_EDEVICE,                                    \
                    "oneDNN returned status %d for %s", (int)dnnl_result, #call);                  \
    } while (0)

struct operand {
    dnnl_memory_t memory;
    uint32_t *values; /* owned */
};

/* c = a b, all N x N and of the same type. */
struct square {
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t product;
    struct operand a, b, c;
};

static void operand_free(struct operand *o)
{
    if (o->memory) (void)dnnl_memory_destroy(o->memory);
    mem_free(o->values);
}

static void square_free(struct square *s)
{
    operand_free(&s->a);
    operand_free(&s->b);
    operand_free(&s->c);
    if (s->product) (void)dnnl_primitive_destroy(s->product);
    if (s->desc) (void)dnnl_primitive_desc_destroy(s->desc);
}

/* An N x N matrix in whatever layout oneDNN likes best. */
static dnnl_status_t any_square(dnnl_memory_desc_t *md, dnnl_data_type_t type, int64_t N)
{
    const dnnl_dims_t dims = {N, N};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(md, 2, dims, type, dnnl_format_tag_any);
#else
    return dnnl_memory_desc_init_by_tag(md, 2, dims, type, dnnl_format_tag_any);
#endif
}

/* The memory that operand `what` of the product asks for. Its values are between 1 and 2 in
 * magnitude, of either sign, as f32 and as pairs of bf16. */
static enum shoal_status operand_make(struct operand *o, dnnl_engine_t engine,
                                      const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
#if DNNL_VERSION_MAJOR >= 3
    const_dnnl_memory_desc_t chosen = dnnl_primitive_desc_query_md(desc, what, 0);
#else
    const dnnl_memory_desc_t *chosen = dnnl_primitive_desc_query_md(desc, what, 0);
#endif
    const size_t bytes = dnnl_memory_desc_get_size(chosen);
    SHOAL_TRY(mem_alloc(bytes, "an operand", &o->values));
    for (size_t i = 0; i < bytes / sizeof *o->values; i++)
        o->values[i] = 0x3f803f80u ^ ((uint32_t)i * 2654435761u & 0x807f807fu);
    TRY_DNNL(dnnl_memory_create(&o->memory, chosen, engine, o->values));
    return SHOAL_OK;
}

/* Leaves s->desc NULL where oneDNN has no product of this type. */
static enum shoal_status square_make(struct square *s, dnnl_engine_t engine, dnnl_data_type_t type,
                                     int64_t N)
{
    dnnl_memory_desc_t md;
    TRY_DNNL(any_square(&md, type, N));
    const dnnl_status_t made = api_matmul(&s->desc, engine, &md, &md, NULL, &md, NULL);
    api_matrix_free(&md);
    if (made == dnnl_unimplemented) return SHOAL_OK;
    TRY_DNNL(made);
    TRY_DNNL(dnnl_primitive_create(&s->product, s->desc));
    SHOAL_TRY(operand_make(&s->a, engine, s->desc, dnnl_query_src_md));
    SHOAL_TRY(operand_make(&s->b, engine, s->desc, dnnl_query_weights_md));
    return operand_make(&s->c, engine, s->desc, dnnl_query_dst_md);
}

static enum shoal_status square_time(const struct square *s, dnnl_engine_t engine, double seconds,
                                     double *best_s)
{
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, s->a.memory}, {DNNL_ARG_WEIGHTS, s->b.memory}, {DNNL_ARG_DST, s->c.memory}};
    const double end_s = clock_now_s() + seconds;
    dnnl_stream_t stream;
    dnnl_status_t ran = dnnl_success;
    *best_s = INFINITY;
    TRY_DNNL(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    for (int i = 0; ran == dnnl_success && (i < 3 || clock_now_s() < end_s); i++) {
        const double start_s = clock_now_s();
        ran = dnnl_primitive_execute(s->product, stream, 3, args);
        if (ran == dnnl_success) ran = dnnl_stream_wait(stream);
        *best_s = fmin(*best_s, clock_now_s() - start_s);
    }
    (void)dnnl_stream_destroy(stream);
    TRY_DNNL(ran);
    return SHOAL_OK;
}

/* Operations a second of the fastest product; NAN where there is none. */
static enum shoal_status product_peak(dnnl_engine_t engine, dnnl_data_type_t type, double seconds,
                                      double *per_s)
{
    *per_s = NAN;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const double N = (double)sizes[i];
        struct square s = {0};
        double best_s = NAN;
        enum shoal_status st = square_make(&s, engine, type, sizes[i]);
        if (st == SHOAL_OK && s.desc) st = square_time(&s, engine, seconds, &best_s);
        square_free(&s);
        SHOAL_TRY(st);
        *per_s = fmax(*per_s, 2.0 * N * N * N / best_s);
    }
    return SHOAL_OK;
}

/* Every thread copies one piece, and has touched it first so that it lies in that thread's memory.
 */
static double copy_best_s(char *to, char *from, double seconds)
{
    const size_t piece = copy_bytes / (size_t)omp_get_max_threads();
    const double end_s = clock_now_s() + seconds;
    double best_s = INFINITY;
#pragma omp parallel
    {
        memset(to + (size_t)omp_get_thread_num() * piece, 1, piece);
        memset(from + (size_t)omp_get_thread_num() * piece, 2, piece);
    }
    for (int i = 0; i < 3 || clock_now_s() < end_s; i++) {
        const double start_s = clock_now_s();
#pragma omp parallel
        {
            const size_t at = (size_t)omp_get_thread_num() * piece;
            memcpy(to + at, from + at, piece);
        }
        best_s = fmin(best_s, clock_now_s() - start_s);
    }
    return best_s;
}

static enum shoal_status copy_peak(double seconds, double *per_s)
{
    char *const to = malloc(copy_bytes), *const from = malloc(copy_bytes);
    const bool made = to && from;
    if (made) *per_s = 2.0 * (double)copy_bytes / copy_best_s(to, from, seconds);
    free(to);
    free(from);
    SHOAL_CHECK(made, SHOAL_ENOMEM, "no memory to copy");
    return SHOAL_OK;
}

static enum shoal_status measure(int threads, double seconds)
{
    dnnl_engine_t engine;
    double f32, bf16, copy = NAN;
    struct json j;
    omp_set_num_threads(threads);
    TRY_DNNL(dnnl_engine_create(&engine, dnnl_cpu, 0));
    enum shoal_status st = product_peak(engine, dnnl_f32, seconds, &f32);
    if (st == SHOAL_OK) st = product_peak(engine, dnnl_bf16, seconds, &bf16);
    (void)dnnl_engine_destroy(engine);
    SHOAL_TRY(st);
    SHOAL_TRY(copy_peak(seconds, &copy));
    json_begin(&j);
    json_number(&j, "f32_flops_per_s", f32);
    json_number(&j, "bf16_flops_per_s", bf16);
    json_number(&j, "copy_bytes_per_s", copy);
    return json_end(&j, stdout);
}

int main(int argc, char **argv)
{
    openmp_wait_briefly(argv);
    const int threads = argc == 3 ? atoi(argv[1]) : 0;
    const double seconds = argc == 3 ? atof(argv[2]) : 0.0;
    const enum shoal_status st = threads > 0 && seconds > 0.0
                                     ? measure(threads, seconds)
                                     : SHOAL_FAIL(SHOAL_EARG, "give THREADS SECONDS");
    if (st != SHOAL_OK) log_error(shoal_failure_text());
    return shoal_exit_code(st);
}
