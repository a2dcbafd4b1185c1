/* foreign.c - which kind of model a path is, and what all kinds become. */
#include "snapshot/foreign.h"

#include <string.h>
#include "base/input.h"
#include "base/memory.h"

enum shoal_status foreign_config_make(struct config *out, const char *path,
                                      const struct foreign_model *m)
{
    struct config c;
    char *text = NULL;
    config_defaults(&c);
    strcpy(c.run.name, "imported");
    c.model.arch = m->arch;
    c.model.layers = m->layers;
    c.model.width = m->width;
    c.model.heads = m->heads;
    c.model.context = m->context;
    c.model.vocab = m->vocab;
    c.model.kv_heads = m->kv_heads;
    c.model.ffn = m->ffn;
    if (m->arch == ARCH_LLAMA) c.model.rope_theta = m->rope_theta;
    c.model.tied = m->tied ? TIED_TRUE : TIED_FALSE;
    c.population.experts = 1;
    c.train.precision = PRECISION_F32; /* allows heads of any size */
    strcpy(c.data.tokenizer, m->tokenizer);
    SHOAL_TRY(config_text(&c, &text));
    /* Ranges and combinations are checked where they are read, so it is read. */
    const enum shoal_status st = config_parse(out, text, "configuration");
    mem_free(text);
    const char *why = strstr(shoal_failure_text(), ": "); /* behind name and line */
    SHOAL_CHECK(st != SHOAL_ECONFIG, SHOAL_EFORMAT, "%s: is no model that shoal can have: %s", path,
                why ? why + 2 : shoal_failure_text());
    return st;
}

/* ---- the kinds ------------------------------------------------------------------------------- */

enum { BEGINNING = 16 };

/* What else people have, and what to do about it. */
static enum shoal_status refuse(const char *path, const unsigned char *begin)
{
    const bool torch = memcmp(begin, "PK", 2) == 0 || begin[0] == 0x80; /* zip, pickle */
    SHOAL_CHECK(!torch, SHOAL_EFORMAT,
                "%s: is a PyTorch file, which would run code when read; save the model as "
                "safetensors (save_pretrained does) and import that",
                path);
    const bool ours = memcmp(begin, "shoal 1 xxh64", 13) == 0; /* snapshot/seal.h */
    SHOAL_CHECK(!ours && memcmp(begin, "\x89HDF", 4) != 0, SHOAL_EFORMAT,
                "%s: is HDF5, as shoal's own shards are: use it as it is", path);
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: is neither a safetensors file nor a checkpoint of llm.c's; name one of "
                      "these, or a directory with config.json and model.safetensors",
                      path);
}

static enum shoal_status begin_of(const char *path, unsigned char out[BEGINNING], int *n)
{
    struct input in = INPUT_CLOSED;
    enum shoal_status st;
    memset(out, 0, BEGINNING);
    SHOAL_GOTO(input_open(&in, path));
    *n = in.bytes < BEGINNING ? (int)in.bytes : BEGINNING;
    SHOAL_GOTO(input_read(&in, out, 0, *n));
done:
    input_close(&in);
    return st;
}

enum shoal_status foreign_open(const char *path, struct foreign **out)
{
    unsigned char begin[BEGINNING];
    int n;
    *out = NULL;
    if (path_is_dir(path)) return hf_open(path, out);
    SHOAL_TRY(begin_of(path, begin, &n));
    if (llmc_begins(begin, n)) return llmc_open(path, out);
    /* Behind the length of a header, or at the start of an index, JSON begins. */
    if (begin[8] == '{' || begin[0] == '{') return hf_open(path, out);
    return refuse(path, begin);
}

void foreign_close(struct foreign **f)
{
    if (*f) (*f)->ops->close(*f);
    *f = NULL;
}

const char *foreign_kind(const struct foreign *f)
{
    return f->ops->kind;
}

const struct config *foreign_config(const struct foreign *f)
{
    return &f->config;
}

enum shoal_status foreign_read(const struct foreign *f, const struct param_table *table,
                               struct device *dev, float *weights)
{
    return f->ops->read(f, table, dev, weights);
}

int64_t export_bytes(const struct param_table *table, enum number type)
{
    return table->n_real * (type == NUMBER_F32 ? 4 : 2);
}
