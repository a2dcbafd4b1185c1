/* merge.h - several experts of one shape become one: soups (Wortsman et al. 2022, "Model soups").
 */
#pragma once
#include "config/config.h"
#include "kernels/kernels.h"
#include "snapshot/shard.h"

enum merge_weights { MERGE_UNIFORM, MERGE_FITNESS, MERGE_GREEDY };

struct merge_args {
    enum merge_weights weights;
    double temperature; /* of MERGE_FITNESS, nats per token */
    const char *data;   /* token shards that judge; NULL: none */
    int64_t sequences;  /* the first of them; 0: all */
};

/* One that was given. */
struct merge_part {
    char path[SHOAL_MAX_PATH]; /* the shard */
    struct shard_info info;    /* owned */
    struct config config;
    double loss;  /* on the data; NAN: not measured */
    double share; /* of it in the result; 0: left out */
};

struct merge {
    struct merge_part *part; /* owned */
    int n;
    struct param_table *table;
    struct device *dev;
    float *sum, *one, *trial;  /* n_params f32 on dev: the result, a part, greedy's next try */
    struct merge_score *score; /* NULL: nothing is measured */
    double loss;               /* of the result; NAN: not measured */
};

/* Read what all parts say and see that they fit together. SHOAL_ECONFIG names two that do not. m
 * wants merge_close afterwards, on failure too. */
enum shoal_status merge_open(struct merge *m, const struct merge_args *a, const char *const *parts,
                             int n);
/* Set every share, and sum to the result. */
enum shoal_status merge_mix(struct merge *m, const struct merge_args *a);
void merge_close(struct merge *m);

/* merge_score.c: mean loss of weights over held-out text, in float32. */
enum shoal_status merge_score_open(struct merge *m, const struct merge_args *a);
enum shoal_status merge_measure(struct merge *m, float *weights, double *loss);
void merge_score_close(struct merge *m);
