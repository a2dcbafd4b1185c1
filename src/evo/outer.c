/* outer.c - an outer step: the mean of the experts as a gradient, taken by Nesterov's momentum
 * (Douillard et al. 2023). A few passes over the slab, once a round. */
#include "evo/operators.h"

bool evo_outer_steps(const struct config *c)
{
    return c->evolution.outer.lr != 1.0 || c->evolution.outer.momentum != 0.0;
}

enum shoal_status evo_outer_step(struct device *dev, float *mean, float *agreed, float *velocity,
                                 int64_t n, const struct config *c)
{
    const float lr = (float)c->evolution.outer.lr, momentum = (float)c->evolution.outer.momentum;
    /* d, in the place of the mean */
    SHOAL_TRY(kernel_axpby(dev, mean, agreed, n, -1.0f, 1.0f));
    SHOAL_TRY(kernel_axpby(dev, velocity, mean, n, 1.0f, momentum));
    /* lr (d + momentum v), then the new weights */
    SHOAL_TRY(kernel_axpby(dev, mean, velocity, n, lr * momentum, lr));
    SHOAL_TRY(kernel_axpby(dev, mean, agreed, n, 1.0f, 1.0f));
    return device_copy(dev, agreed, mean, (size_t)n * sizeof *agreed);
}
