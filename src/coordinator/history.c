/* history.c - a growing array; a run of a million steps judged every hundred has ten thousand. */
#include "coordinator/history.h"
#include <string.h>
#include "base/memory.h"

static enum shoal_status grow(struct history *h)
{
    const int64_t capacity = h->capacity > 0 ? 2 * h->capacity : 64;
    struct judging *rows;
    SHOAL_TRY(mem_alloc((size_t)capacity * sizeof *rows, "the history of judgings", &rows));
    if (h->n > 0) memcpy(rows, h->rows, (size_t)h->n * sizeof *rows);
    mem_free(h->rows);
    h->rows = rows;
    h->capacity = capacity;
    return SHOAL_OK;
}

enum shoal_status history_add(struct history *h, const struct judging *judging)
{
    const size_t bytes = (size_t)h->members * sizeof *judging->fitness;
    double *fitness;
    if (h->n == h->capacity) SHOAL_TRY(grow(h));
    SHOAL_TRY(mem_alloc(bytes, "the fitnesses of a judging", &fitness));
    memcpy(fitness, judging->fitness, bytes);
    h->rows[h->n] = *judging;
    h->rows[h->n].fitness = fitness;
    h->n++;
    return SHOAL_OK;
}

void history_clear(struct history *h)
{
    for (int64_t i = 0; i < h->n; i++)
        mem_free(h->rows[i].fitness);
    mem_free(h->rows);
    h->rows = NULL;
    h->n = h->capacity = 0;
}
