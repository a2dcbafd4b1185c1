/* llmc.c - checkpoints of llm.c: 256 int32 of header, then all layers of one kind of tensor after
 * the other, everything (out, in) as in a slab, the token embedding padded. All of one type. */
#include <string.h>
#include "base/memory.h"
#include "snapshot/foreign.h"
#include "snapshot/number.h"
#include "snapshot/tensors.h"

enum { MAGIC = 20240326, WORDS = 256, HEADER_BYTES = 4 * WORDS, VERSION_F32 = 3, VERSION_BF16 = 5 };
/* Places in the header. */
enum { AT_MAGIC, AT_VERSION, AT_CONTEXT, AT_VOCAB, AT_LAYERS, AT_HEADS, AT_WIDTH, AT_VOCAB_PAD };
enum { MAX_VOCAB_PAD = 1 << 20, GPT2_VOCAB = 50257 };

static const enum param order[] = {PARAM_WTE,      PARAM_WPE,      PARAM_LN1_G,  PARAM_LN1_B,
                                   PARAM_QKV_W,    PARAM_QKV_B,    PARAM_PROJ_W, PARAM_PROJ_B,
                                   PARAM_LN2_G,    PARAM_LN2_B,    PARAM_FC_W,   PARAM_FC_B,
                                   PARAM_FCPROJ_W, PARAM_FCPROJ_B, PARAM_LNF_G,  PARAM_LNF_B};
enum { KINDS = sizeof order / sizeof order[0] };

/* Where everything lies in a file. */
struct layout {
    const struct param_table *table;
    int64_t vocab_pad; /* of the file */
    enum number type;
};

/* Numbers in one tensor of the file. */
static int64_t count_of(const struct layout *l, const struct param_tensor *t)
{
    return (t->which == PARAM_WTE ? l->vocab_pad : t->rows) * t->cols;
}

/* Numbers before those of a kind; with KINDS, all. */
static int64_t count_before(const struct layout *l, int kind)
{
    int64_t n = 0;
    for (int i = 0; i < kind; i++) {
        const struct param_tensor *t = param_get(l->table, order[i], 0);
        n += count_of(l, t) * (t->group == GROUP_BODY ? l->table->shape.layers : 1);
    }
    return n;
}

static int64_t offset_of(const struct layout *l, const struct param_tensor *t)
{
    int kind = 0;
    while (order[kind] != t->which)
        kind++;
    const int64_t before = count_before(l, kind) + t->layer * count_of(l, t);
    return HEADER_BYTES + before * number_bytes(l->type);
}

static int64_t file_bytes(const struct layout *l)
{
    return HEADER_BYTES + count_before(l, KINDS) * number_bytes(l->type);
}

/* ---- export ---------------------------------------------------------------------------------- */

enum shoal_status llmc_check(const struct gpt_shape *s)
{
    SHOAL_CHECK(s->arch == ARCH_GPT2, SHOAL_ENOTSUP,
                "llm.c's checkpoints hold GPT-2 only, and this expert is a Llama; export it with "
                "--to hf");
    SHOAL_CHECK(s->ffn == 4 * (int64_t)s->width, SHOAL_ENOTSUP,
                "llm.c's models are 4 times as wide inside the feed-forward as outside, and this "
                "expert is %d for a width of %d; export it with --to hf",
                s->ffn, s->width);
    return SHOAL_OK;
}

static enum shoal_status write_header(const struct output *out, const struct layout *l)
{
    const struct gpt_shape *s = &l->table->shape;
    unsigned char raw[HEADER_BYTES];
    const int32_t word[WORDS] = {[AT_MAGIC] = MAGIC,
                                 [AT_VERSION] = l->type == NUMBER_F32 ? VERSION_F32 : VERSION_BF16,
                                 [AT_CONTEXT] = s->context,
                                 [AT_VOCAB] = s->vocab,
                                 [AT_LAYERS] = s->layers,
                                 [AT_HEADS] = s->heads,
                                 [AT_WIDTH] = s->width,
                                 [AT_VOCAB_PAD] = (int32_t)l->vocab_pad};
    for (int i = 0; i < HEADER_BYTES; i++)
        raw[i] = (unsigned char)((uint32_t)word[i / 4] >> 8 * (i % 4));
    return output_write(out, raw, 0, HEADER_BYTES);
}

struct export
{
    struct layout layout;
    struct output out;
};

/* Padding stays zero, as the whole file was. */
static enum shoal_status put(void *file, const struct param_tensor *t, const float *values)
{
    const struct export *e = file;
    return numbers_write(&e->out, values, offset_of(&e->layout, t), t->real_rows * t->cols,
                         e->layout.type);
}

enum shoal_status llmc_write(const char *path, const struct param_table *table, struct device *dev,
                             const float *weights, enum number type)
{
    struct export e = {{table, table->shape.vocab_pad, type}, OUTPUT_CLOSED};
    enum shoal_status st;
    SHOAL_TRY(llmc_check(&table->shape));
    SHOAL_GOTO(output_open(&e.out, path, file_bytes(&e.layout)));
    SHOAL_GOTO(write_header(&e.out, &e.layout));
    SHOAL_GOTO(tensors_put(table, dev, weights, LAYOUT_STORED, put, &e));
    SHOAL_GOTO(output_commit(&e.out));
done:
    output_close(&e.out);
    return st;
}

/* ---- import ---------------------------------------------------------------------------------- */

struct llmc {
    struct foreign base;
    char path[SHOAL_MAX_PATH];
    struct input in;
    int64_t vocab_pad;
    enum number type;
};

static int32_t word_at(const unsigned char *raw, int word)
{
    uint32_t bits = 0;
    int32_t out;
    for (int i = 3; i >= 0; i--)
        bits = bits << 8 | raw[4 * word + i];
    memcpy(&out, &bits, sizeof out);
    return out;
}

bool llmc_begins(const unsigned char *bytes, int n)
{
    return n >= 4 && word_at(bytes, AT_MAGIC) == MAGIC;
}

static enum shoal_status get_header(struct llmc *m, struct foreign_model *model)
{
    unsigned char raw[HEADER_BYTES];
    SHOAL_TRY(input_read(&m->in, raw, 0, HEADER_BYTES));
    const int version = word_at(raw, AT_VERSION);
    SHOAL_CHECK(version == VERSION_F32 || version == VERSION_BF16, SHOAL_EFORMAT,
                "%s: is a checkpoint of version %d; versions 3 (float32) and 5 (bfloat16) can be "
                "read: write it with a newer llm.c",
                m->path, version);
    m->type = version == VERSION_F32 ? NUMBER_F32 : NUMBER_BF16;
    m->vocab_pad = word_at(raw, AT_VOCAB_PAD);
    *model = (struct foreign_model){.arch = ARCH_GPT2,
                                    .layers = word_at(raw, AT_LAYERS),
                                    .width = word_at(raw, AT_WIDTH),
                                    .heads = word_at(raw, AT_HEADS),
                                    .context = word_at(raw, AT_CONTEXT),
                                    .vocab = word_at(raw, AT_VOCAB),
                                    .tied = true};
    model->tokenizer = model->vocab == GPT2_VOCAB ? "gpt2" : "none";
    SHOAL_CHECK(model->layers > 0, SHOAL_EFORMAT, "%s: has %d layers; the file is damaged", m->path,
                model->layers);
    SHOAL_CHECK(m->vocab_pad >= model->vocab && m->vocab_pad <= MAX_VOCAB_PAD, SHOAL_EFORMAT,
                "%s: its vocabulary of %d is padded to %lld; the file is damaged", m->path,
                model->vocab, (long long)m->vocab_pad);
    return SHOAL_OK;
}

/* The file is as long as its header says: then nothing can be read that is not there. */
static enum shoal_status check_size(const struct llmc *m)
{
    const struct gpt_shape shape = config_shape(&m->base.config);
    struct param_table *table;
    SHOAL_TRY(param_table_create(&shape, &table));
    const int64_t bytes = file_bytes(&(struct layout){table, m->vocab_pad, m->type});
    param_table_destroy(&table);
    SHOAL_CHECK(m->in.bytes == bytes, SHOAL_EFORMAT,
                "%s: has %lld bytes, but the model in its header takes %lld: the file is truncated "
                "or damaged",
                m->path, (long long)m->in.bytes, (long long)bytes);
    return SHOAL_OK;
}

static enum shoal_status open_model(struct llmc *m, const char *path)
{
    struct foreign_model model;
    SHOAL_TRY(path_format(m->path, "%s", path));
    SHOAL_TRY(input_open(&m->in, m->path));
    SHOAL_TRY(get_header(m, &model));
    SHOAL_TRY(foreign_config_make(&m->base.config, m->path, &model));
    return check_size(m);
}

struct import {
    const struct llmc *m;
    struct layout layout;
};

static enum shoal_status get(void *file, const struct param_tensor *t, float *values)
{
    const struct import *i = file;
    return numbers_read(&i->m->in, values, offset_of(&i->layout, t), t->real_rows * t->cols,
                        i->layout.type);
}

static enum shoal_status read_weights(const struct foreign *f, const struct param_table *table,
                                      struct device *dev, float *weights)
{
    const struct llmc *m = (const struct llmc *)f;
    struct import i = {m, {table, m->vocab_pad, m->type}};
    return tensors_get(table, dev, weights, LAYOUT_STORED, get, &i);
}

static void close_model(struct foreign *f)
{
    input_close(&((struct llmc *)f)->in);
    mem_free(f);
}

enum shoal_status llmc_open(const char *path, struct foreign **out)
{
    static const struct foreign_ops ops = {"llm.c", read_weights, close_model};
    struct llmc *m;
    SHOAL_TRY(mem_alloc(sizeof *m, "a checkpoint", &m));
    m->in.fd = -1;
    m->base.ops = &ops;
    const enum shoal_status st = open_model(m, path);
    if (st != SHOAL_OK) {
        close_model(&m->base);
        return st;
    }
    *out = &m->base;
    return SHOAL_OK;
}
