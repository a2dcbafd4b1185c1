/* inspect_shard.c - one expert: where it comes from, and its weights by kind of tensor. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/memory.h"
#include "commands/inspect.h"
#include "commands/loaded.h"
#include "coordinator/format.h"

enum { LINEAGE_ROWS = 8 };

/* The tensors of one kind ("h.*.mlp.c_fc.weight") together. */
struct kind {
    char name[PARAM_NAME];
    int64_t dim[2]; /* of each, as in the file; dim[1] 0: a vector */
    int64_t elements;
    int tensors; /* 0: the architecture has none */
    double rms;
};

/* "h.3.mlp.c_fc.weight" -> "h.*.mlp.c_fc.weight" */
static void kind_name(char out[PARAM_NAME], const struct param_tensor *t)
{
    const char *const digits = "0123456789";
    const size_t before = t->group == GROUP_BODY ? strcspn(t->name, digits) : strlen(t->name);
    const size_t number = strspn(t->name + before, digits);
    snprintf(out, PARAM_NAME, "%.*s%s%s", (int)before, t->name, number > 0 ? "*" : "",
             t->name + before + number);
}

static enum shoal_status sum_squares(const struct loaded *l, const struct param_tensor *t,
                                     double *sum)
{
    double part = 0;
    SHOAL_TRY(kernel_sumsq(l->dev, &part, l->weights + t->offset, t->real_rows * t->cols));
    *sum += part;
    return SHOAL_OK;
}

static enum shoal_status gather_kind(const struct loaded *l, enum param which, struct kind *k)
{
    double sum = 0;
    *k = (struct kind){.tensors = 0};
    for (int i = 0; i < l->table->n_tensors; i++) {
        const struct param_tensor *t = &l->table->tensor[i];
        if (t->which != which) continue;
        kind_name(k->name, t);
        k->dim[0] = t->matrix && !t->hf_transposed ? t->real_rows : t->cols;
        k->dim[1] = !t->matrix ? 0 : t->hf_transposed ? t->real_rows : t->cols;
        k->elements += t->real_rows * t->cols;
        k->tensors++;
        SHOAL_TRY(sum_squares(l, t, &sum));
    }
    if (k->tensors > 0) k->rms = sqrt(sum / (double)k->elements);
    return SHOAL_OK;
}

/* What it took from whom, and how far that moved it. */
struct lineage {
    struct lineage_row *row; /* owned */
    int64_t n;
};

/* ---- as text --------------------------------------------------------------------------------- */

static void print_past(const struct loaded *l)
{
    char count[FORMAT_WORD], loss[FORMAT_WORD], parent[FORMAT_WORD];
    format_loss(loss, l->info.fitness);
    printf("  run id      %s\n", l->info.run_id);
    printf("  fitness     %s, perplexity %.2f\n", loss, exp(l->info.fitness));
    format_count(count, (double)l->info.tokens);
    format_member(parent, l->info.parent, l->config.population.experts);
    printf("  trained     %s tokens, on worker %d; last moved toward %s\n", count, l->info.worker,
           parent);
    if (l->info.lr_scale != 1)
        printf("  learns      at %.4g times the run's learning rate\n", l->info.lr_scale);
}

static void print_head(const struct loaded *l)
{
    char name[FORMAT_WORD], count[FORMAT_WORD];
    const struct gpt_shape *s = &l->table->shape;
    printf("%s of %s, step %" PRId64 "\n", loaded_name(l, name, sizeof name), l->config.run.name,
           l->info.step);
    if (l->info.worker < 0)
        printf("  trained     by another program, and imported\n");
    else
        print_past(l);
    format_count(count, (double)l->table->n_real);
    printf("  shape       %d layers, width %d, %d heads, context %d, vocabulary %d\n", s->layers,
           s->width, s->heads, s->context, s->vocab);
    printf("  parameters  %s (%" PRId64 ")\n", count, l->table->n_real);
}

static void print_kind(const struct kind *k, int name_width)
{
    char shape[FORMAT_WORD];
    if (k->dim[1] == 0)
        snprintf(shape, sizeof shape, "%" PRId64, k->dim[0]);
    else
        snprintf(shape, sizeof shape, "%" PRId64 " x %" PRId64, k->dim[0], k->dim[1]);
    printf("  %-*s %5d  %14s %12" PRId64 " %9.5f\n", name_width, k->name, k->tensors, shape,
           k->elements, k->rms);
}

static void print_change(const struct lineage_row *r, int experts)
{
    char body[FORMAT_WORD], io[FORMAT_WORD];
    format_member(body, r->body, experts);
    format_member(io, r->io, experts);
    printf("  %9" PRId64 "  %-7s  %-6s %-6s %9.4f %9.4g\n", r->step,
           lineage_name((enum lineage_kind)r->kind), body, io, r->distance, r->lr_scale);
}

static void print_lineage(const struct lineage *past, int experts)
{
    const int64_t first = past->n > LINEAGE_ROWS ? past->n - LINEAGE_ROWS : 0;
    if (past->n == 0) return;
    printf("\n  %9s  %-7s  %-6s %-6s %9s %9s", "step", "it", "body", "io", "distance", "lr scale");
    printf(first > 0 ? "   (the last %d of %" PRId64 " rounds)\n" : "\n", LINEAGE_ROWS, past->n);
    for (int64_t i = first; i < past->n; i++)
        print_change(&past->row[i], experts);
}

static void print_text(const struct loaded *l, const struct kind *kinds, const struct lineage *past)
{
    int width = 0;
    for (int i = 0; i < PARAM_KINDS; i++)
        if ((int)strlen(kinds[i].name) > width) width = (int)strlen(kinds[i].name);
    print_head(l);
    print_lineage(past, l->config.population.experts);
    printf("\n  %-*s %5s  %14s %12s %9s\n", width, "tensor", "count", "shape", "elements", "rms");
    for (int i = 0; i < PARAM_KINDS; i++)
        if (kinds[i].tensors > 0) print_kind(&kinds[i], width);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void json_kind(struct json *j, const struct kind *k)
{
    const double dim[2] = {(double)k->dim[0], (double)k->dim[1]};
    json_open(j, NULL, '{');
    json_string(j, "name", k->name);
    json_int(j, "count", k->tensors);
    json_numbers(j, "shape", dim, k->dim[1] == 0 ? 1 : 2);
    json_number(j, "rms", k->rms);
    json_close(j, '}');
}

static void json_lineage(struct json *j, const struct lineage *past)
{
    json_open(j, "lineage", '[');
    for (int64_t i = 0; i < past->n; i++) {
        const struct lineage_row *r = &past->row[i];
        json_open(j, NULL, '{');
        json_int(j, "step", r->step);
        json_string(j, "kind", lineage_name((enum lineage_kind)r->kind));
        json_int(j, "body", r->body);
        json_int(j, "io", r->io);
        json_number(j, "distance", r->distance);
        json_number(j, "lr_scale", r->lr_scale);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static enum shoal_status print_json(const struct loaded *l, const struct kind *kinds,
                                    const struct lineage *past)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "name", l->config.run.name);
    json_string(&j, "run_id", l->info.run_id);
    json_int(&j, "expert", l->info.expert);
    json_bool(&j, "recombinant", l->info.expert == l->config.population.experts);
    json_int(&j, "worker", l->info.worker);
    json_int(&j, "step", l->info.step);
    json_int(&j, "tokens", l->info.tokens);
    json_number(&j, "fitness", l->info.fitness);
    json_int(&j, "parent", l->info.parent);
    json_number(&j, "lr_scale", l->info.lr_scale);
    json_int(&j, "parameters", l->table->n_real);
    json_lineage(&j, past);
    json_open(&j, "tensors", '[');
    for (int i = 0; i < PARAM_KINDS; i++)
        if (kinds[i].tensors > 0) json_kind(&j, &kinds[i]);
    json_close(&j, ']');
    return json_end(&j, stdout);
}

enum shoal_status inspect_shard(const char *path, bool json)
{
    struct kind kinds[PARAM_KINDS];
    struct lineage past = {.n = 0};
    struct loaded l;
    enum shoal_status st;
    SHOAL_TRY(loaded_open(path, &l));
    SHOAL_GOTO(shard_read_lineage(path, &past.row, &past.n));
    for (int i = 0; i < PARAM_KINDS; i++)
        SHOAL_GOTO(gather_kind(&l, (enum param)i, &kinds[i]));
    if (json)
        st = print_json(&l, kinds, &past);
    else
        print_text(&l, kinds, &past);
done:
    mem_free(past.row);
    loaded_close(&l);
    return st;
}
