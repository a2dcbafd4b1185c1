/* foreign.h - what the models of other programs have in common here. Private to this folder. */
#pragma once
#include "snapshot/interchange.h"

struct foreign_ops {
    const char *kind; /* "llm.c" */
    enum shoal_status (*read)(const struct foreign *f, const struct param_table *table,
                              struct device *dev, float *weights);
    void (*close)(struct foreign *f); /* frees f */
};

/* The first member of each kind's own struct. */
struct foreign {
    const struct foreign_ops *ops;
    struct config config;
};

/* A model as a file describes it; what is not given is 0, and false. */
struct foreign_model {
    int arch; /* enum arch */
    int layers, width, heads, context, vocab, kv_heads, ffn;
    bool tied;
    double rope_theta;
    const char *tokenizer; /* data.tokenizer */
};

/* The configuration of such a model. path: of the file, for messages. SHOAL_EFORMAT: sizes that no
 * model of ours can have. */
enum shoal_status foreign_config_make(struct config *out, const char *path,
                                      const struct foreign_model *m);

/* One for each kind. */
enum shoal_status hf_open(const char *path, struct foreign **out);
enum shoal_status llmc_open(const char *path, struct foreign **out);
/* Whether a file begins as a checkpoint of llm.c's. */
bool llmc_begins(const unsigned char *bytes, int n);
