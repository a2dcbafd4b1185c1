/* expert.h - an expert: one GPT of the population as a handful of equal slabs (params.h). */
#pragma once
#include <stdint.h>
#include "kernels/kernels.h"
#include "model/params.h"

struct expert {
    int number;                      /* 0 .. K-1 */
    const struct param_table *table; /* borrowed */
    struct device *dev;              /* borrowed */
    bool pinned;                     /* its slabs were made in page-locked host memory */
    float *weights;                  /* n_params f32 master weights */
    float *adam_m, *adam_v;          /* n_params f32 moments */
    float *velocity;                 /* swarm; NULL unless a rule has inertia */
    float *own_best;         /* weights at own_best_fitness; NULL unless a rule is cognitive */
    double own_best_fitness; /* NAN: none yet */
    double lr_scale;  /* its learning rate as a multiple of the run's; 1 unless they differ */
    int64_t step;     /* AdamW steps taken */
    int64_t position; /* next sequence of its data stream */
    int64_t tokens;   /* trained on so far */
    double fitness;   /* at the last judging, nats per token; NAN: unknown or diverged */
    int parent;       /* member last moved toward (K: the recombinant); -1: none */
};

/* Allocate an expert's slabs, zeroed. SHOAL_ENOMEM says how many bytes. */
enum shoal_status expert_create(struct device *dev, const struct param_table *table, int number,
                                bool with_velocity, bool with_own_best, struct expert **out);
/* The same in page-locked host memory, which the device works on at the speed of the bus
 * (kernels.h). */
enum shoal_status expert_create_pinned(struct device *dev, const struct param_table *table,
                                       int number, bool with_velocity, bool with_own_best,
                                       struct expert **out);
void expert_destroy(struct expert **e);
/* Everything of `from` into `to`, which has the same table and at least its slabs, on a device in
 * host memory. */
enum shoal_status expert_download(struct expert *to, const struct expert *from);
/* Draw initial weights, GPT-2's way (Radford et al. 2019) for both architectures: N(0, 0.02), the
 * matrices that end a branch N(0, 0.02 / sqrt(2 depth)), gains 1, biases 0, vocabulary padding 0. A
 * pure function of (seed, stream,
 * tensor, element); stream is 0 for all experts under INIT_SAME and the expert's number otherwise.
 */
enum shoal_status expert_init(struct expert *e, uint64_t seed, uint32_t stream, int depth);
/* Position-dependent 64-bit digest of a slab on the device; the same on every backend. */
enum shoal_status slab_digest(struct device *dev, const float *slab, int64_t n, uint64_t *out);
