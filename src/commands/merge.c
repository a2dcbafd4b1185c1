/* merge.c - `shoal merge`: several experts into one. */
#include "commands/merge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/memory.h"
#include "base/output.h"
#include "commands/args.h"
#include "commands/commands.h"

struct request {
    struct merge_args merge;
    struct arg_list parts;
    const char *weights, *out;
    bool json, help;
};

static enum shoal_status parse(int argc, char **argv, struct request *q)
{
    const struct arg_option options[] = {
        {"--out", ARG_STRING, &q->out, "SHARD", "the file to write"},
        {"--weights", ARG_STRING, &q->weights, "HOW", "uniform, fitness or greedy (uniform)"},
        {"--temperature", ARG_NUMBER, &q->merge.temperature, "T",
         "of fitness, in nats per token (0.05)"},
        {"--data", ARG_STRING, &q->merge.data, "GLOB",
         "held-out token shards that judge; greedy needs them"},
        {"--sequences", ARG_INT, &q->merge.sequences, "N", "only their first N windows"},
        {"--json", ARG_FLAG, &q->json, NULL, "print one line of JSON"}};
    const struct arg_spec spec = {
        .usage = "shoal merge SNAPSHOT SNAPSHOT... --out SHARD [options]",
        .description =
            "Average the weights of experts of one shape into one file, as best.h5 is: weights\n"
            "only, for eval, generate and export. What went in, and how much of it, is recorded\n"
            "in its table /merge/parents.\n\n"
            "uniform   the mean\n"
            "fitness   softmax of -fitness / T: the better, the more\n"
            "greedy    best first by its loss on --data; each stays in the mean if that does\n"
            "          not make it worse (greedy soup, Wortsman et al. 2022)",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 2,
        .max_operands = -1,
        .examples = "  shoal merge runs/a/experts/000*/step-00003200.h5 --out mean.h5\n"
                    "  shoal merge runs/a runs/b runs/c --weights greedy --out soup.h5 \\\n"
                    "      --data 'data/book/val_*.bin'\n"};
    q->merge.temperature = 0.05;
    SHOAL_TRY(args_parse(&spec, argc, argv, &q->parts, &q->help));
    if (q->help) args_help(&spec, stdout);
    return SHOAL_OK;
}

static enum shoal_status check(struct request *q)
{
    static const char *const names[] = {"uniform", "fitness", "greedy"};
    const char *name = q->weights ? q->weights : names[MERGE_UNIFORM];
    int found = -1;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) found = i;
    SHOAL_CHECK(q->out, SHOAL_EARG, "merge: where to? name the file to write with --out");
    SHOAL_CHECK(found >= 0, SHOAL_EARG,
                "merge: --weights %s is not known; there are uniform, fitness and greedy", name);
    SHOAL_CHECK(found != MERGE_GREEDY || q->merge.data, SHOAL_EARG,
                "merge: --weights greedy needs held-out text to judge by: --data GLOB");
    SHOAL_CHECK(q->merge.temperature > 0, SHOAL_EARG, "merge: --temperature must be above 0");
    SHOAL_CHECK(q->merge.sequences >= 0, SHOAL_EARG, "merge: --sequences is negative");
    q->merge.weights = (enum merge_weights)found;
    return output_refuse_existing(q->out);
}

/* ---- the file -------------------------------------------------------------------------------- */

static struct shard_info describe(const struct merge *m)
{
    struct shard_info info = m->part[0].info;
    info.expert = m->part[0].config.population.experts; /* no expert of its own, like the mean */
    info.worker = -1;
    info.parent = -1;
    info.fitness = m->loss;
    info.tokens = 0;
    for (int i = 0; i < m->n; i++) {
        const struct shard_info *part = &m->part[i].info;
        if (strcmp(part->run_id, info.run_id) != 0)
            strcpy(info.run_id, "00000000-0000-0000-0000-000000000000");
        if (m->part[i].share > 0) info.tokens += part->tokens;
        if (part->step > info.step) info.step = part->step;
    }
    return info;
}

static enum shoal_status write_merged(const struct merge *m, const char *out)
{
    struct shard_parent *parents = NULL;
    struct shard_info info = describe(m);
    SHOAL_TRY(mem_alloc((size_t)m->n * sizeof *parents, "parents", &parents));
    for (int i = 0; i < m->n; i++) {
        const struct merge_part *p = &m->part[i];
        parents[i] = (struct shard_parent){p->info.expert, p->info.step, p->share, 0};
        /* Files of versions without seals have no digest: 0. */
        if (shard_digest(p->path, &parents[i].digest) != SHOAL_OK) shoal_failure_told();
    }
    info.parents = parents;
    info.n_parents = m->n;
    const enum shoal_status st = shard_write_weights(out, &info, m->table, m->dev, m->sum, NULL);
    mem_free(parents);
    return st;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void print_text(const struct merge *m, const char *out)
{
    printf("  %7s %10s  %s\n", "share", "loss", "of");
    for (int i = 0; i < m->n; i++) {
        printf("  %7.4f ", m->part[i].share);
        if (m->score)
            printf("%10.5f", m->part[i].loss);
        else
            printf("%10s", "-");
        printf("  %s\n", m->part[i].path);
    }
    printf("%s: written", out);
    if (m->score) printf(", loss %.5f nats per token", m->loss);
    printf("\n");
}

static enum shoal_status print_json(const struct merge *m, const char *out)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "out", out);
    json_number(&j, "loss", m->loss);
    json_open(&j, "parents", '[');
    for (int i = 0; i < m->n; i++) {
        json_open(&j, NULL, '{');
        json_string(&j, "path", m->part[i].path);
        json_number(&j, "share", m->part[i].share);
        json_number(&j, "loss", m->part[i].loss);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    return json_end(&j, stdout);
}

static enum shoal_status merge(struct request *q)
{
    struct merge m;
    enum shoal_status st;
    SHOAL_TRY(check(q));
    SHOAL_GOTO(merge_open(&m, &q->merge, q->parts.item, q->parts.count));
    SHOAL_GOTO(merge_mix(&m, &q->merge));
    SHOAL_GOTO(write_merged(&m, q->out));
    if (q->json)
        SHOAL_GOTO(print_json(&m, q->out));
    else
        print_text(&m, q->out);
done:
    merge_close(&m);
    return st;
}

enum shoal_status command_merge(int argc, char **argv)
{
    struct request q = {.json = false};
    enum shoal_status st;
    SHOAL_GOTO(parse(argc, argv, &q));
    if (!q.help) SHOAL_GOTO(merge(&q));
done:
    args_free(&q.parts);
    return st;
}
