/* inspect_snapshot.c - a population at one step: gathered once, then printed as text or JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/json.h"
#include "base/memory.h"
#include "commands/inspect.h"
#include "coordinator/format.h"
#include "evo/plan.h"
#include "model/params.h"
#include "snapshot/index.h"
#include "snapshot/shard.h"

enum { HISTORY_ROWS = 12 };

/* A snapshot of the run that is on disk. */
struct stored {
    int64_t step, bytes; /* bytes: index and shards together */
};

struct population {
    struct snapshot_index index;
    struct config config;
    const double *fitness;    /* members, at the last judging; NULL: never judged */
    int *order;               /* members, best first */
    struct shard_info *shard; /* experts */
    bool rates_differ;        /* whether their learning rates do */
    struct stored *stored;    /* newest first */
    int64_t n_stored;
};

/* ---- gathering ------------------------------------------------------------------------------- */

static void population_free(struct population *p)
{
    for (int k = 0; p->shard && k < p->index.experts; k++)
        shard_info_free(&p->shard[k]);
    mem_free(p->shard);
    mem_free(p->stored);
    mem_free(p->order);
    index_free(&p->index);
}

static enum shoal_status read_shards(struct population *p, const char *run)
{
    char path[SHOAL_MAX_PATH];
    const size_t experts = (size_t)p->index.experts;
    SHOAL_TRY(mem_alloc(experts * sizeof *p->shard, "what shards say", &p->shard));
    for (int k = 0; k < p->index.experts; k++) {
        const int64_t step = index_shard_step(&p->index, k);
        if (step < 0) p->shard[k] = (struct shard_info){.expert = k, .parent = -1, .lr_scale = 1};
        if (step < 0) continue;
        SHOAL_TRY(run_shard_path(path, run, k, step));
        SHOAL_TRY(shard_read_info(path, &p->shard[k]));
        p->rates_differ = p->rates_differ || p->shard[k].lr_scale != 1;
    }
    return SHOAL_OK;
}

static enum shoal_status rank(struct population *p)
{
    const struct snapshot_index *index = &p->index;
    SHOAL_TRY(mem_alloc((size_t)index->members * sizeof *p->order, "leaderboard", &p->order));
    if (index->n_judgings == 0) return SHOAL_OK;
    p->fitness = index->judgings[index->n_judgings - 1].fitness;
    plan_rank(p->fitness, index->members, index->experts, p->order);
    return SHOAL_OK;
}

/* 0 when it is not there (any more). */
static int64_t file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : 0;
}

static enum shoal_status stored_bytes(const char *run, int experts, struct stored *s)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_index_path(path, run, s->step));
    s->bytes = file_bytes(path);
    for (int k = 0; k < experts; k++) {
        SHOAL_TRY(run_shard_path(path, run, k, s->step));
        s->bytes += file_bytes(path);
    }
    return SHOAL_OK;
}

static enum shoal_status list_stored(struct population *p, const char *run)
{
    int64_t *steps = NULL;
    SHOAL_TRY(run_snapshots(run, &steps, &p->n_stored));
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc((size_t)p->n_stored * sizeof *p->stored, "list of snapshots", &p->stored));
    for (int64_t i = 0; i < p->n_stored; i++) {
        p->stored[i].step = steps[i];
        SHOAL_GOTO(stored_bytes(run, p->index.experts, &p->stored[i]));
    }
done:
    mem_free(steps);
    return st;
}

/* p is zeroed, and wants population_free on failure too. */
static enum shoal_status gather(struct population *p, const char *index_path, const char *run)
{
    char home[SHOAL_MAX_PATH];
    SHOAL_TRY(index_read(index_path, &p->index));
    SHOAL_TRY(config_parse(&p->config, p->index.config, index_path));
    SHOAL_TRY(run_of_index(home, index_path));
    SHOAL_TRY(read_shards(p, home));
    SHOAL_TRY(rank(p));
    return run ? list_stored(p, run) : SHOAL_OK;
}

static int64_t tokens_of_all(const struct population *p)
{
    int64_t tokens = 0;
    for (int k = 0; k < p->index.experts; k++)
        tokens += p->shard[k].tokens;
    return tokens;
}

/* ---- as text --------------------------------------------------------------------------------- */

static void print_head(const struct population *p)
{
    char each[FORMAT_WORD], tokens[FORMAT_WORD], time[FORMAT_WORD];
    const struct gpt_shape shape = config_shape(&p->config);
    format_count(each, (double)param_count(&shape));
    format_count(tokens, (double)tokens_of_all(p));
    format_duration(time, p->index.time_s);
    printf("%s, step %" PRId64 " of %" PRId64 "\n", p->config.run.name, p->index.standing.step,
           p->config.run.steps);
    printf("  run id      %s\n", p->index.run_id);
    printf("  population  %d expert%s of %s parameters, evolution '%s'\n", p->index.experts,
           p->index.experts == 1 ? "" : "s", each, p->config.evolution.preset);
    printf("  each        %d layers, width %d, %d heads, context %d, vocabulary %d\n", shape.layers,
           shape.width, shape.heads, shape.context, shape.vocab);
    printf("  trained     %s tokens in all, %s on %d worker%s\n", tokens, time, p->index.workers,
           p->index.workers == 1 ? "" : "s");
}

static void print_lost(const struct population *p)
{
    for (int k = 0; k < p->index.experts; k++) {
        const int64_t step = index_shard_step(&p->index, k);
        if (step == p->index.standing.step) continue;
        if (step < 0)
            printf("  lost        expert %d, before it was ever saved\n", k);
        else
            printf("  lost        expert %d, last saved at step %" PRId64 "\n", k, step);
    }
}

static void print_champion(const struct population *p)
{
    const struct standing *s = &p->index.standing;
    char member[FORMAT_WORD], loss[FORMAT_WORD];
    if (s->champion < 0) return;
    format_member(member, s->champion, p->index.experts);
    format_loss(loss, s->champion_fitness);
    printf("  best ever   %s at step %" PRId64 ": fitness %s, perplexity %.2f\n", member,
           s->champion_step, loss, exp(s->champion_fitness));
}

static void print_member(const struct population *p, int place, int member)
{
    char name[FORMAT_WORD], loss[FORMAT_WORD], parent[FORMAT_WORD] = "", tokens[FORMAT_WORD] = "";
    const int experts = p->index.experts;
    format_member(name, member, experts);
    format_loss(loss, p->fitness[member]);
    if (member < experts) {
        format_member(parent, p->shard[member].parent, experts);
        format_count(tokens, (double)p->shard[member].tokens);
    }
    printf("  %c %4d  %-6s %9s %11.2f", member == p->index.standing.best ? '*' : ' ', place, name,
           loss, exp(p->fitness[member]));
    if (member < experts) printf("  %-6s %8s", parent, tokens);
    if (member < experts && p->rates_differ) printf("  %8.4g", p->shard[member].lr_scale);
    printf("\n");
}

static void print_leaderboard(const struct population *p)
{
    if (!p->fitness) {
        printf("\nNot judged yet.\n");
        return;
    }
    printf("\n    %4s  %-6s %9s %11s  %-6s %8s%s\n", "rank", "member", "fitness", "perplexity",
           "parent", "tokens", p->rates_differ ? "  lr scale" : "");
    for (int i = 0; i < p->index.members; i++)
        print_member(p, i + 1, p->order[i]);
}

static void print_judging(const struct population *p, const struct judging *j)
{
    char time[FORMAT_WORD], best[FORMAT_WORD], loss[FORMAT_WORD];
    format_duration(time, j->time_s);
    format_member(best, j->best, p->index.experts);
    format_loss(loss, j->best < 0 ? NAN : j->fitness[j->best]);
    printf("  %9" PRId64 " %8s  %-6s %9s %8.3f\n", j->step, time, best, loss,
           plan_spread(j->fitness, p->index.experts));
}

/* At most HISTORY_ROWS judgings, evenly spread from the first to the last. */
static void print_history(const struct population *p)
{
    const int64_t n = p->index.n_judgings;
    const int64_t rows = n < HISTORY_ROWS ? n : HISTORY_ROWS;
    if (n == 0) return;
    printf("\n  %9s %8s  %-6s %9s %8s", "step", "elapsed", "best", "fitness", "spread");
    printf(rows < n ? "   (%" PRId64 " of %" PRId64 " judgings)\n" : "\n", rows, n);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = rows == 1 ? 0 : i * (n - 1) / (rows - 1);
        print_judging(p, &p->index.judgings[at]);
    }
}

static void print_stored(const struct population *p)
{
    char bytes[FORMAT_WORD];
    if (p->n_stored == 0) return;
    printf("\n  %9s %9s\n", "snapshot", "size");
    for (int64_t i = 0; i < p->n_stored; i++) {
        format_bytes(bytes, (double)p->stored[i].bytes);
        printf("  %9" PRId64 " %9s%s\n", p->stored[i].step, bytes,
               p->stored[i].step == p->index.standing.step ? "  shown here" : "");
    }
}

static void print_text(const struct population *p)
{
    print_head(p);
    print_lost(p);
    print_champion(p);
    print_leaderboard(p);
    print_history(p);
    print_stored(p);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* "3", or "mean". */
static void json_member(struct json *j, const char *key, const struct population *p, int member)
{
    if (member == p->index.experts)
        json_string(j, key, "mean");
    else
        json_int(j, key, member);
}

static void json_leaderboard(struct json *j, const struct population *p)
{
    json_open(j, "leaderboard", '[');
    for (int i = 0; p->fitness && i < p->index.members; i++) {
        const int member = p->order[i];
        json_open(j, NULL, '{');
        json_member(j, "member", p, member);
        json_number(j, "fitness", p->fitness[member]);
        json_number(j, "perplexity", exp(p->fitness[member]));
        if (member < p->index.experts) {
            json_member(j, "parent", p, p->shard[member].parent);
            json_int(j, "tokens", p->shard[member].tokens);
            json_number(j, "lr_scale", p->shard[member].lr_scale);
            json_int(j, "worker", p->shard[member].worker);
        }
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_history(struct json *j, const struct population *p)
{
    json_open(j, "judgings", '[');
    for (int64_t i = 0; i < p->index.n_judgings; i++) {
        const struct judging *row = &p->index.judgings[i];
        json_open(j, NULL, '{');
        json_int(j, "step", row->step);
        json_number(j, "time_s", row->time_s);
        json_member(j, "best", p, row->best);
        json_numbers(j, "fitness", row->fitness, (size_t)p->index.members);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_stored(struct json *j, const struct population *p)
{
    json_open(j, "snapshots", '[');
    for (int64_t i = 0; i < p->n_stored; i++) {
        json_open(j, NULL, '{');
        json_int(j, "step", p->stored[i].step);
        json_int(j, "bytes", p->stored[i].bytes);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static enum shoal_status print_json(const struct population *p)
{
    const struct standing *s = &p->index.standing;
    const struct gpt_shape shape = config_shape(&p->config);
    struct json j;
    json_begin(&j);
    json_string(&j, "name", p->config.run.name);
    json_string(&j, "run_id", p->index.run_id);
    json_int(&j, "step", s->step);
    json_int(&j, "steps", p->config.run.steps);
    json_int(&j, "experts", p->index.experts);
    json_int(&j, "parameters", param_count(&shape));
    json_int(&j, "workers", p->index.workers);
    json_int(&j, "tokens", tokens_of_all(p));
    json_number(&j, "time_s", p->index.time_s);
    json_member(&j, "best", p, s->best);
    json_number(&j, "best_fitness", s->best_fitness);
    json_member(&j, "champion", p, s->champion);
    json_int(&j, "champion_step", s->champion_step);
    json_number(&j, "champion_fitness", s->champion_fitness);
    json_leaderboard(&j, p);
    json_history(&j, p);
    json_stored(&j, p);
    return json_end(&j, stdout);
}

enum shoal_status inspect_snapshot(const char *index_path, const char *run, bool json)
{
    struct population p = {.order = NULL};
    enum shoal_status st;
    SHOAL_GOTO(gather(&p, index_path, run));
    if (json)
        st = print_json(&p);
    else
        print_text(&p);
done:
    population_free(&p);
    return st;
}
