/* test_interchange.c - models in the formats of others: they come back bit for bit, and whatever a
 * file claims, the answer is a message. Other readers' view of the files: interchange.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/output.h"
#include "base/rng.h"
#include "snapshot/interchange.h"
#include "snapshot/number.h"
#include "snapshot/world.h"

/* A model in files, and what is in it. */
struct model {
    struct world world; /* with this model's table; all else is shared */
    struct expert *e;
    char dir[SHOAL_MAX_PATH]; /* hf */
    char file[SHOAL_MAX_PATH], config[SHOAL_MAX_PATH], llmc[SHOAL_MAX_PATH];
};

static const struct gpt_shape gpt2_shape = {.layers = 2,
                                            .heads = 2,
                                            .width = 20,
                                            .context = 11,
                                            .vocab = 61,
                                            .vocab_pad = 128,
                                            .arch = ARCH_GPT2,
                                            .kv_heads = 2,
                                            .ffn = 80,
                                            .tied = true,
                                            .rope_theta = 10000};
static const struct gpt_shape llama_shape = {.layers = 2,
                                             .heads = 6,
                                             .width = 36,
                                             .context = 11,
                                             .vocab = 128,
                                             .vocab_pad = 128,
                                             .arch = ARCH_LLAMA,
                                             .kv_heads = 2,
                                             .ffn = 50,
                                             .rope_theta = 1234.5f};
static const struct export_text no_text = {"none", -1};

static struct model model_make(const struct world *w, const struct gpt_shape *shape)
{
    static int number;
    struct model m = {.world = *w};
    assert_int_equal(param_table_create(shape, &m.world.table), SHOAL_OK);
    m.e = expert_make(&m.world, 0, false, 3);
    assert_int_equal(path_format(m.dir, "%s/model-%d", w->scratch.dir, ++number), SHOAL_OK);
    assert_int_equal(path_format(m.file, "%s/model.safetensors", m.dir), SHOAL_OK);
    assert_int_equal(path_format(m.config, "%s/config.json", m.dir), SHOAL_OK);
    assert_int_equal(path_format(m.llmc, "%s/model.bin", m.dir), SHOAL_OK);
    assert_int_equal(dir_make(m.dir), SHOAL_OK);
    return m;
}

static void model_free(struct model *m)
{
    expert_destroy(&m->e);
    param_table_destroy(&m->world.table);
}

static void write_hf(const struct model *m, enum number type)
{
    assert_int_equal(hf_write(m->dir, m->world.table, m->world.dev, m->e->weights, type, &no_text),
                     SHOAL_OK);
}

static void write_llmc(const struct model *m, enum number type)
{
    assert_int_equal(llmc_write(m->llmc, m->world.table, m->world.dev, m->e->weights, type),
                     SHOAL_OK);
}

static bool same_shape(const struct gpt_shape *a, const struct gpt_shape *b)
{
    return a->layers == b->layers && a->heads == b->heads && a->width == b->width &&
           a->context == b->context && a->vocab == b->vocab && a->vocab_pad == b->vocab_pad &&
           a->arch == b->arch && a->kv_heads == b->kv_heads && a->ffn == b->ffn &&
           a->tied == b->tied && a->rope_theta == b->rope_theta;
}

/* Import into `back`, a slab of the model's table; with another shape nothing is read. */
static enum shoal_status read_model(const struct model *m, const char *path, float *back)
{
    struct foreign *f = NULL;
    struct param_table *table = NULL;
    float *weights = NULL;
    enum shoal_status st;
    SHOAL_GOTO(foreign_open(path, &f));
    const struct gpt_shape shape = config_shape(foreign_config(f));
    SHOAL_GOTO(param_table_create(&shape, &table));
    SHOAL_GOTO(mem_alloc((size_t)table->n_params * sizeof(float), "weights", &weights));
    memset(weights, 0x55, (size_t)table->n_params * sizeof(float)); /* padding must become 0 */
    SHOAL_GOTO(foreign_read(f, table, m->world.dev, weights));
    if (same_shape(&shape, &m->world.table->shape))
        memcpy(back, weights, (size_t)table->n_params * sizeof(float));
done:
    mem_free(weights);
    param_table_destroy(&table);
    foreign_close(&f);
    return st;
}

static float *slab_make(const struct model *m)
{
    float *slab = calloc((size_t)m->world.table->n_params, sizeof *slab);
    assert_non_null(slab);
    return slab;
}

static void expect_same(const struct model *m, const char *path)
{
    float *back = slab_make(m);
    if (read_model(m, path, back) != SHOAL_OK) fail_msg("%s", shoal_failure_text());
    assert_memory_equal(back, m->e->weights, (size_t)m->world.table->n_params * sizeof(float));
    free(back);
}

static void expect_refused(const struct model *m, const char *path, const char *says)
{
    float *back = slab_make(m);
    const enum shoal_status st = read_model(m, path, back);
    if (st != SHOAL_EFORMAT) fail_msg("status %d, expected '%s'", st, says);
    assert_failure_says(says);
    free(back);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Every half there is, by the definition of the format. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 1 << 16; half++) {
        const unsigned char raw[2] = {(unsigned char)half, (unsigned char)(half >> 8)};
        const int exponent = half >> 10 & 31, fraction = half & 1023;
        float found, expected = ldexpf((float)fraction, -24);
        if (exponent > 0) expected = ldexpf(1024.0f + (float)fraction, exponent - 25);
        if (exponent == 31) expected = fraction ? NAN : INFINITY;
        if (half >> 15) expected = -expected;
        number_decode(&found, raw, 1, NUMBER_F16);
        if (isnan(expected))
            assert_true(isnan(found));
        else
            assert_true(found == expected && signbit(found) == signbit(expected));
    }
}

static void test_bf16(void **state)
{
    (void)state;
    static const uint32_t cases[][2] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82},
        {0x3f807fff, 0x3f80}, {0x80000000, 0x8000}, {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80},
        {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1}, {0x00000001, 0x0000}, {0x00018000, 0x0002}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char raw[2];
        float value, back;
        memcpy(&value, &cases[i][0], sizeof value);
        number_encode(raw, &value, 1, NUMBER_BF16);
        assert_int_equal(raw[0] | raw[1] << 8, cases[i][1]);
        number_decode(&back, raw, 1, NUMBER_BF16);
        uint32_t bits;
        memcpy(&bits, &back, sizeof bits);
        assert_int_equal(bits, cases[i][1] << 16);
    }
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void test_round_trips(void **state)
{
    struct gpt_shape full = gpt2_shape, tied = llama_shape;
    full.vocab = 128; /* no padding */
    tied.tied = true;
    tied.vocab = 77;
    const struct gpt_shape *const shapes[] = {&gpt2_shape, &full, &llama_shape, &tied};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct model m = model_make(*state, shapes[i]);
        write_hf(&m, NUMBER_F32);
        expect_same(&m, m.dir);
        expect_same(&m, m.file);
        if (i < 2) {
            write_llmc(&m, NUMBER_F32);
            expect_same(&m, m.llmc);
        }
        model_free(&m);
    }
}

/* In bf16 a model changes once: what came from bf16 goes there unchanged. */
static void test_bf16_round_trips(void **state)
{
    struct model m = model_make(*state, &gpt2_shape);
    const size_t bytes = (size_t)m.world.table->n_params * sizeof(float);
    float *back = slab_make(&m);
    write_hf(&m, NUMBER_BF16);
    assert_int_equal(read_model(&m, m.dir, back), SHOAL_OK);
    assert_memory_not_equal(back, m.e->weights, bytes);
    memcpy(m.e->weights, back, bytes);
    write_llmc(&m, NUMBER_BF16);
    expect_same(&m, m.llmc);
    write_hf(&m, NUMBER_BF16);
    expect_same(&m, m.dir);
    free(back);
    model_free(&m);
}

static void test_config(void **state)
{
    struct model m = model_make(*state, &llama_shape);
    struct foreign *f;
    const struct export_text text = {"bytes", 0};
    struct gpt_shape shape;
    assert_int_equal(hf_write(m.dir, m.world.table, m.world.dev, m.e->weights, NUMBER_F32, &text),
                     SHOAL_OK);
    assert_int_equal(foreign_open(m.dir, &f), SHOAL_OK);
    shape = config_shape(foreign_config(f));
    assert_true(same_shape(&shape, &llama_shape));
    assert_string_equal(foreign_config(f)->data.tokenizer, "none"); /* 128 tokens are no bytes */
    assert_string_equal(foreign_kind(f), "Hugging Face");
    foreign_close(&f);
    assert_int_equal(llmc_write(m.llmc, m.world.table, m.world.dev, m.e->weights, NUMBER_F32),
                     SHOAL_ENOTSUP);
    assert_failure_says("--to hf");
    assert_false(path_exists(m.llmc));
    model_free(&m);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void try_bytes(const struct model *m, const char *file, const char *path, const void *data,
                      size_t bytes, int *refused)
{
    float *back = slab_make(m);
    write_bytes(file, data, bytes);
    const enum shoal_status st = read_model(m, path, back);
    if (st != SHOAL_OK && st != SHOAL_EFORMAT) fail_msg("status %d: %s", st, shoal_failure_text());
    *refused += st != SHOAL_OK;
    free(back);
}

/* Cut after every byte of the header and at a few places of the data: always refused. Then with
 * bits flipped in the header: refused, or taken for the model it then is. */
static void damage(const struct model *m, const char *file, const char *path, size_t header,
                   uint64_t seed)
{
    enum { FLIPS = 600 };
    const struct rng_key key = {.seed = seed, .stream = RNG_INIT};
    size_t bytes;
    int refused = 0, tried = 0;
    char *data = (char *)read_bytes(file, &bytes), *copy = malloc(bytes + 1);
    assert_true(header <= bytes && copy);
    for (size_t end = 0; end < bytes; end += end < header ? 1 : bytes / 20 + 1, tried++)
        try_bytes(m, file, path, data, end, &refused);
    assert_int_equal(refused, tried);
    memcpy(copy, data, bytes);
    copy[bytes] = ' ';
    try_bytes(m, file, path, copy, bytes + 1, &refused); /* JSON may end in a space */
    for (uint64_t i = 0; i < FLIPS; i++) {
        const uint32_t bits = rng_bits(key, 2 * i), more = rng_bits(key, 2 * i + 1);
        memcpy(copy, data, bytes);
        copy[bits % header] ^= (char)(1 << more % 8);
        if (more & 0x100) copy[(more >> 9) % header] = (char)(bits >> 24);
        try_bytes(m, file, path, copy, bytes, &refused);
    }
    assert_true(refused > tried + FLIPS / 4); /* the check checks something */
    write_bytes(file, data, bytes);
    expect_same(m, path);
    free(copy);
    free(data);
}

static size_t safetensors_header(const char *file)
{
    size_t n;
    uint8_t *raw = read_bytes(file, &n);
    const size_t header = 8 + raw[0] + 256u * raw[1];
    free(raw);
    return header;
}

static void test_damaged_safetensors(void **state)
{
    struct model m = model_make(*state, &gpt2_shape);
    write_hf(&m, NUMBER_F32);
    damage(&m, m.file, m.dir, safetensors_header(m.file), 1);
    model_free(&m);
}

static void test_damaged_llama(void **state)
{
    struct model m = model_make(*state, &llama_shape);
    write_hf(&m, NUMBER_BF16);
    float *back = slab_make(&m);
    assert_int_equal(read_model(&m, m.dir, back), SHOAL_OK);
    memcpy(m.e->weights, back, (size_t)m.world.table->n_params * sizeof *back);
    damage(&m, m.file, m.dir, safetensors_header(m.file), 2);
    free(back);
    model_free(&m);
}

static void test_damaged_config(void **state)
{
    struct model m = model_make(*state, &llama_shape);
    struct stat info;
    write_hf(&m, NUMBER_F32);
    assert_int_equal(stat(m.config, &info), 0);
    damage(&m, m.config, m.dir, (size_t)info.st_size - 2, 3); /* without "}\n" */
    model_free(&m);
}

static void test_damaged_llmc(void **state)
{
    struct model m = model_make(*state, &gpt2_shape);
    write_llmc(&m, NUMBER_F32);
    damage(&m, m.llmc, m.llmc, 32, 4); /* the words that mean something */
    model_free(&m);
}

/* ---- absurd sizes ---------------------------------------------------------------------------- */

static void put_word(const char *path, int word, uint32_t value)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4L * word, SEEK_SET), 0);
    for (int i = 0; i < 4; i++)
        assert_true(fputc((int)(value >> 8 * i & 255), file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_absurd_llmc(void **state)
{
    static const struct {
        int word;
        uint32_t value;
        const char *says;
    } cases[] = {{1, 1, "version 1"},
                 {1, 4, "version 4"},
                 {1, 5, "the model in its header takes"},
                 {2, 0, "model.context"},
                 {2, 65536, "the model in its header takes"},
                 {3, 0x80000000u, "model.vocab"},
                 {3, 129, "padded"},
                 {4, 0, "0 layers"},
                 {4, 0x7fffffff, "model.layers"},
                 {4, 4096, "the model in its header takes"},
                 {5, 3, "model.width 20 must be a multiple of model.heads 3"},
                 {5, 0xffffffffu, "model.heads"},
                 {6, 0x7ffffffe, "model.width"},
                 {6, 65536, "the model in its header takes"},
                 {7, 0x7fffffff, "padded"},
                 {7, 256, "the model in its header takes"}};
    struct model m = model_make(*state, &gpt2_shape);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_llmc(&m, NUMBER_F32);
        put_word(m.llmc, cases[i].word, cases[i].value);
        expect_refused(&m, m.llmc, cases[i].says);
        assert_failure_says(m.llmc);
    }
    model_free(&m);
}

/* A file of this header and so many bytes of data. */
static void write_safetensors(const char *path, uint64_t length, const char *header, size_t data)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        assert_true(fputc((int)(length >> 8 * i & 255), file) >= 0);
    assert_true(fputs(header, file) >= 0);
    for (size_t i = 0; i < data; i++)
        assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
}

#define ENTRY(shape, offsets) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(shape, offsets)   "{\"wte.weight\":" ENTRY(shape, offsets) "}"

static void test_absurd_safetensors(void **state)
{
    static const struct {
        const char *header;
        int64_t more; /* added to the length */
        const char *says;
    } cases[] = {
        {ONE("[2,2]", "[0,16]"), INT64_MAX, "its header would have"},
        {ONE("[2,2]", "[0,16]"), -200, "its header would have 1844"},
        {ONE("[2,2]", "[0,16]"), 17, "its header would have"},
        {ONE("[2,2]", "[0,16]"), 2, "is not JSON"}, /* data taken for header */
        {ONE("[2,2]", "[0,16]"), -4, "ends in the middle"},
        {ONE("[2,2]", "[0,17]"), 0, "does not lie in the 16 bytes"},
        {ONE("[2,2]", "[-16,0]"), 0, "does not lie in"},
        {ONE("[2,2]", "[16,0]"), 0, "does not lie in"},
        {ONE("[2,2]", "[0.0,16]"), 0, "does not lie in"},
        {ONE("[2,2]", "[0,16,16]"), 0, "does not lie in"},
        {ONE("[2,2]", "[0,99999999999999999999999]"), 0, "does not lie in"},
        {ONE("[2,3]", "[0,16]"), 0, "asks for more than the file has"},
        {ONE("[2,1]", "[0,16]"), 0, "has 16 bytes, its shape needs 8"},
        {ONE("[4294967296,4294967296]", "[0,16]"), 0, "asks for more than the file has"},
        {ONE("[2305843009213693952,8]", "[0,0]"), 0, "asks for more than the file has"},
        {ONE("[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0, "belong to no tensor"},
        {ONE("[2,-2]", "[0,16]"), 0, "is not a size"},
        {ONE("[1,1,1,1,1,1,1,1,4]", "[0,16]"), 0, "at most 8 dimensions"},
        {ONE("4", "[0,16]"), 0, "at most 8 dimensions"},
        {ONE("[2]", "[0,8]"), 0, "8 bytes at its end belong to no tensor"},
        {ONE("[2]", "[8,16]"), 0, "there is a gap before it"},
        {"{\"a\":" ENTRY("[4]", "[0,16]") ",\"b\":" ENTRY("[4]", "[0,16]") "}", 0, "overlaps"},
        {"{\"a\":" ENTRY("[3]", "[0,12]") ",\"b\":" ENTRY("[2]", "[8,16]") "}", 0, "overlaps"},
        {"{\"a\":7}", 0, "says nothing about tensor 'a'"},
        {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[4],\"data_offsets\":[0,16]}}", 0, "('Q4')"},
        {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", 0, "('none')"},
        {"{\"a\":" ENTRY("[4]", "[0,16]") "}", 0, "has no tensor 'transformer.wte.weight'"},
        {ONE("[4]", "[0,16]"), 0, "has shape (4), but config.json makes it (61, 20)"},
        {ONE("[2,2]", "[0,16]") "   ", 0, "has shape (2, 2), but config.json makes it (61, 20)"},
        {"{}", 0, "16 bytes at its end belong to no tensor"}};
    struct model m = model_make(*state, &gpt2_shape);
    write_hf(&m, NUMBER_F32); /* for config.json */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t length = strlen(cases[i].header) + (uint64_t)cases[i].more;
        write_safetensors(m.file, length, cases[i].header, 16);
        expect_refused(&m, m.dir, cases[i].says);
        assert_failure_says(m.file);
    }
    model_free(&m);
}

/* A header as long as memory could bear, in a file that is there only by name. */
static void test_long_header(void **state)
{
    struct model m = model_make(*state, &gpt2_shape);
    write_hf(&m, NUMBER_F32);
    write_safetensors(m.file, INT64_C(40) << 20, "{", 0);
    assert_int_equal(truncate(m.file, INT64_C(64) << 20), 0);
    expect_refused(&m, m.dir, "its header would have 41943040 bytes");
    model_free(&m);
}

/* Nested without end. */
static void test_deep_json(void **state)
{
    struct model m = model_make(*state, &gpt2_shape);
    char header[4001] = "";
    write_hf(&m, NUMBER_F32);
    for (size_t i = 0; i + 1 < sizeof header; i++)
        header[i] = "{\"a\":"[i % 5];
    write_safetensors(m.file, strlen(header), header, 0);
    expect_refused(&m, m.dir, "nesting too deep");
    write_hf(&m, NUMBER_F32);
    write_text(m.config, header);
    expect_refused(&m, m.dir, "nesting too deep");
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_bf16_round_trips),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_damaged_safetensors),
        cmocka_unit_test(test_damaged_llama),
        cmocka_unit_test(test_damaged_config),
        cmocka_unit_test(test_damaged_llmc),
        cmocka_unit_test(test_absurd_llmc),
        cmocka_unit_test(test_absurd_safetensors),
        cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_deep_json),
    };
    return cmocka_run_group_tests_name("interchange", tests, world_open, world_close);
}
