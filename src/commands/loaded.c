/* loaded.c - see loaded.h. */
#include "commands/loaded.h"

#include <stdio.h>
#include "snapshot/index.h"

static enum shoal_status load_weights(struct loaded *l)
{
    const struct gpt_shape shape = config_shape(&l->config);
    SHOAL_TRY(param_table_create(&shape, &l->table));
    SHOAL_TRY(device_open("auto", 0, 0, &l->dev));
    SHOAL_TRY(device_alloc(l->dev, (size_t)l->table->n_params * sizeof *l->weights,
                           "an expert's weights", &l->weights));
    return shard_read_weights(l->shard, l->table, l->dev, l->weights);
}

enum shoal_status loaded_open(const char *snapshot, struct loaded *l)
{
    enum shoal_status st = SHOAL_OK;
    *l = (struct loaded){0};
    SHOAL_GOTO(snapshot_resolve(snapshot, l->shard));
    SHOAL_GOTO(shard_read_info(l->shard, &l->info));
    SHOAL_GOTO(shard_read_config(l->shard, &l->config));
    SHOAL_GOTO(load_weights(l));
    return SHOAL_OK;
done:
    loaded_close(l);
    return st;
}

void loaded_close(struct loaded *l)
{
    if (l->weights) device_free(l->dev, l->weights);
    param_table_destroy(&l->table);
    if (l->dev) device_close(&l->dev);
    shard_info_free(&l->info);
    *l = (struct loaded){0};
}

const char *loaded_name(const struct loaded *l, char *buffer, size_t bytes)
{
    if (l->info.expert == l->config.population.experts) return "the recombinant";
    snprintf(buffer, bytes, "expert %d", l->info.expert);
    return buffer;
}
