/* plan_speed.c - how fast this machine will train: from the peak of its matrix products and a share
 * of it that training usually reaches, or from a few real steps. */
#include <math.h>
#include <string.h>
#include "base/log.h"
#include "base/machine.h"
#include "commands/plan.h"
#include "worker/pace.h"
#include "worker/peak.h"
#include "worker/worker.h"

/* What training reached of peak_measure's figure, for models from 10 to 350 million parameters. */
static const double usual_utilisation[] = {[PRECISION_F32] = 0.7, [PRECISION_BF16] = 0.55};
static const double measure_s = 5.0;
static const double endless = 1e18; /* FLOPs of a run that is long enough to measure well */

/* Time of one core for work of so many FLOPs. */
static double core_seconds(const struct plan *p, double flops)
{
    return flops / (p->speed.core_peak * p->speed.utilisation);
}

static double tokens_of_step(const struct config *c)
{
    return (double)c->train.batch * c->model.context;
}

static void assume(struct plan *p)
{
    const double flops = p->work.flops_per_token, context = p->config.model.context;
    p->speed.utilisation = usual_utilisation[p->config.train.precision];
    p->speed.step_core_s = core_seconds(p, tokens_of_step(&p->config) * flops);
    p->speed.judge_core_s = core_seconds(p, (double)p->data.judging * context * flops / 3);
}

/* Measuring holds one expert, and nothing for exchange. */
static enum shoal_status check_room(const struct plan *p, int threads)
{
    struct config c = p->config;
    c.population.experts = 1;
    c.population.layers_per_expert = p->table->shape.layers;
    c.evolution.recombine = false;
    c.evolution.body.attractor = c.evolution.io.attractor = ATTRACT_NONE;
    const struct memory m =
        memory_of(&c, p->table, (struct memory_place){0, 1, threads, p->gpu, 0});
    const int64_t need = memory_peak(&m);
    SHOAL_CHECK(p->free_bytes == 0 || need <= p->free_bytes, SHOAL_ENOMEM,
                "plan: measuring a step takes %.2f GB, and only %.2f GB are free; leave out "
                "--measure, or lower train.micro_batch",
                (double)need * 1e-9, (double)p->free_bytes * 1e-9);
    return SHOAL_OK;
}

static enum shoal_status time_steps(struct plan *p, struct device *dev, int threads)
{
    const struct config *c = &p->config;
    struct pace pace;
    SHOAL_TRY(pace_measure(dev, c, p->table, measure_s, &pace));
    const double step_s = pace_step(&pace, c);
    const double passes = (double)p->data.judging / worker_setup(c).batch;
    p->speed.measured = true;
    p->speed.step_core_s = step_s * threads;
    p->speed.judge_core_s = pace.judge_s * passes * threads;
    p->speed.utilisation =
        tokens_of_step(c) * p->work.flops_per_token / (p->speed.core_peak * p->speed.step_core_s);
    return SHOAL_OK;
}

/* Threads of one worker, as plan_layout_of has them, but no more than there are cores. */
static int measuring_threads(const struct plan *p)
{
    const struct plan_layout l = plan_layout_of(p, &p->config, p->request.workers);
    return l.threads < p->cores ? l.threads : p->cores;
}

/* Plans are made on laptops for machines with GPUs: without --measure the CPU may stand in. */
static enum shoal_status open_device(const struct plan *p, int threads, struct device **dev)
{
    const char *const name = p->config.device;
    const enum shoal_status st = device_open(name, 0, threads, dev);
    if (st == SHOAL_OK || p->request.measure || strcmp(name, "cuda") != 0) return st;
    log_warn("%s", shoal_failure_text());
    log_warn("plan: times below are those of this machine's CPU; memory is that of a GPU");
    shoal_failure_told();
    return device_open("cpu", 0, threads, dev);
}

enum shoal_status plan_measure(struct plan *p)
{
    enum shoal_status st = SHOAL_OK;
    struct device *dev = NULL;
    double peak = 0;
    const int threads = p->request.measure ? measuring_threads(p) : p->cores;
    if (p->request.measure) SHOAL_TRY(check_room(p, threads));
    SHOAL_GOTO(open_device(p, threads, &dev));
    p->gpu_bytes = device_memory_bytes(dev);
    SHOAL_GOTO(peak_measure(dev, (enum precision)p->config.train.precision, endless, &peak));
    p->speed.core_peak = peak / threads;
    if (p->request.measure)
        SHOAL_GOTO(time_steps(p, dev, threads));
    else
        assume(p);
done:
    device_close(&dev);
    return st;
}
