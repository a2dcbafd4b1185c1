/* resume.c - whether two configurations describe the same run: on all ranks, and after a restart.
 */
#include <stdio.h>
#include <string.h>
#include "config/options.h"

/* Options that say together how many experts there are and how deep: see check_population. */
static bool is_of_population(const struct option *o)
{
    const char *const keys[] = {"model.layers", "population.experts",
                                "population.layers_per_expert"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(o->key, keys[i]) == 0) return true;
    return false;
}

/* What experts move toward must be known to be good. */
static enum shoal_status check_beginners(const struct config *now)
{
    const int attractor[] = {now->evolution.body.attractor, now->evolution.io.attractor};
    SHOAL_CHECK(now->population.mode != POPULATION_DATA_PARALLEL, SHOAL_ECONFIG,
                "cannot resume: population.grow init, but with population.mode data_parallel all "
                "experts are equal; use population.grow clone");
    for (int g = 0; g < 2; g++)
        SHOAL_CHECK(attractor[g] != ATTRACT_MEAN && attractor[g] != ATTRACT_LAST &&
                        !(attractor[g] == ATTRACT_BEST && now->evolution.recombine),
                    SHOAL_ECONFIG,
                    "cannot resume: population.grow init, but with evolution.preset %s the others "
                    "would move toward new experts, which know nothing yet, or toward a mean that "
                    "they are part of; use population.grow clone",
                    now->evolution.preset);
    return SHOAL_OK;
}

/* Experts may join, as deep as the others. */
static enum shoal_status check_population(const struct config *now, const struct config *then)
{
    const int is = now->population.experts, was = then->population.experts;
    const int deep = config_shape(now).layers, was_deep = config_shape(then).layers;
    SHOAL_CHECK(is >= was, SHOAL_ECONFIG,
                "cannot resume: population.experts is '%d' now but was '%d' when the run started; "
                "experts can join a run but not leave it: set it back (any number of workers can "
                "train them), or make one expert of several with shoal merge",
                is, was);
    SHOAL_CHECK(deep == was_deep, SHOAL_ECONFIG,
                "cannot resume: an expert has %d layers now (model.layers %d, population.experts "
                "%d) but had %d when the run started; set population.layers_per_expert to %d and "
                "model.layers to 0",
                deep, now->model.layers, is, was_deep, was_deep);
    return is > was && now->population.grow == GROW_INIT ? check_beginners(now) : SHOAL_OK;
}

static bool differs(const struct option *o, const struct config *now, const struct config *then)
{
    if (o->flags & OPTION_RESUMABLE || is_of_population(o)) return false;
    char is[OPTION_TEXT], was[OPTION_TEXT];
    option_text(is, now, o);
    option_text(was, then, o);
    return strcmp(is, was) != 0;
}

enum shoal_status config_check_resume(const struct config *now, const struct config *then)
{
    const struct option *first = NULL;
    int others = 0;
    for (int i = 0; i < option_count; i++) {
        if (!differs(&option_table[i], now, then)) continue;
        others += first != NULL;
        if (!first) first = &option_table[i];
    }
    if (!first) return check_population(now, then);
    char is[OPTION_TEXT], was[OPTION_TEXT], more[64] = "";
    option_text(is, now, first);
    option_text(was, then, first);
    if (others > 0) snprintf(more, sizeof more, " (and %d more options differ)", others);
    return SHOAL_FAIL(SHOAL_ECONFIG,
                      "cannot resume: %s is '%s' now but was '%s' when the run started%s; set it "
                      "back, or start a new run in another run.out",
                      first->key, is, was, more);
}

bool config_same(const struct config *here, const struct config *there, char *out, size_t room)
{
    char is[OPTION_TEXT], other[OPTION_TEXT], more[64] = "";
    const struct option *first = NULL;
    int others = 0;
    for (int i = 0; i < option_count; i++) {
        option_text(is, here, &option_table[i]);
        option_text(other, there, &option_table[i]);
        if (option_table[i].flags & OPTION_LOCAL || strcmp(is, other) == 0) continue;
        others += first != NULL;
        if (!first) first = &option_table[i];
    }
    if (!first) return true;
    option_text(is, here, first);
    option_text(other, there, first);
    if (others > 0) snprintf(more, sizeof more, " (and %d more options differ)", others);
    (void)snprintf(out, room, "%s is '%.60s', on rank 0 '%.60s'%s", first->key, is, other, more);
    return false;
}
