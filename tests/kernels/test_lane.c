/* Two threads on one device: one computes, the other is in the lane. */
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"

enum { N = 1 << 17, ROUNDS = 12, SUMS = 40 };

static struct device *open_device(void)
{
    const char *const name = getenv("SHOAL_TEST_DEVICE");
    struct device *dev = NULL;
    OK(device_open(name ? name : "cpu", 0, 2, &dev));
    return dev;
}

static float *slab(struct device *dev, float first)
{
    float *host = malloc(N * sizeof *host), *p = NULL;
    assert_non_null(host);
    for (int i = 0; i < N; i++)
        host[i] = first + (float)(i % 64);
    OK(device_alloc(dev, N * sizeof *p, "a slab", &p));
    OK(device_upload(dev, p, host, N * sizeof *p));
    free(host);
    return p;
}

/* What the lane works on. */
struct exchange {
    struct device *dev;
    float *sum, *part, *pinned;
    bool in_lane;
    enum shoal_status status;
    int threads; /* of the process at the end: a team lives as long as the thread that woke it */
    float result[N];
};

static enum shoal_status await(struct device *dev, int slot)
{
    for (bool done = false; !done;)
        SHOAL_TRY(device_slot_done(dev, slot, &done));
    return SHOAL_OK;
}

/* sum = 2 * (ROUNDS parts), by way of pinned memory. */
static enum shoal_status exchange(struct exchange *x)
{
    const size_t bytes = N * sizeof *x->sum;
    SHOAL_TRY(device_zero(x->dev, x->sum, bytes));
    for (int r = 0; r < ROUNDS; r++)
        SHOAL_TRY(kernel_axpby(x->dev, x->sum, x->part, N, 1.0f, 1.0f));
    SHOAL_TRY(device_beside_begin(x->dev));
    SHOAL_TRY(device_fetch(x->dev, x->pinned, x->sum, bytes, 0));
    SHOAL_TRY(await(x->dev, 0));
    for (int i = 0; i < N; i++)
        x->pinned[i] *= 2;
    SHOAL_TRY(device_store(x->dev, x->sum, x->pinned, bytes, 1));
    SHOAL_TRY(device_beside_end(x->dev));
    SHOAL_TRY(device_copy(x->dev, x->part, x->sum, bytes));
    SHOAL_TRY(device_sync(x->dev));
    return device_download(x->dev, x->result, x->part, bytes);
}

/* Threads of this process; 0: not known. */
static int count_threads(void)
{
    DIR *const dir = opendir("/proc/self/task");
    int n = 0;
    if (!dir) return 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void *exchange_main(void *argument)
{
    struct exchange *const x = argument;
    x->status = x->in_lane ? device_lane_enter(x->dev) : SHOAL_OK;
    if (x->status != SHOAL_OK) return NULL;
    x->status = exchange(x);
    x->threads = count_threads();
    if (x->in_lane) device_lane_leave(x->dev);
    return NULL;
}

static struct exchange *exchange_make(struct device *dev, bool in_lane)
{
    struct exchange *const x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->dev = dev;
    x->in_lane = in_lane;
    x->sum = slab(dev, 0);
    x->part = slab(dev, 1);
    OK(device_alloc_pinned(dev, N * sizeof *x->pinned, "a message", &x->pinned));
    OK(device_sync(dev));
    return x;
}

static void exchange_free(struct exchange *x)
{
    device_free(x->dev, x->sum);
    device_free(x->dev, x->part);
    device_free_pinned(x->dev, x->pinned);
    free(x);
}

static void assert_exchanged(const struct exchange *x)
{
    assert_int_equal(x->status, SHOAL_OK);
    for (int i = 0; i < N; i++)
        if (x->result[i] != 2.0f * ROUNDS * (1.0f + (float)(i % 64)))
            fail_msg("element %d is %g", i, (double)x->result[i]);
}

/* Each thread's results are those that it has alone, also of kernels that need scratch. */
static void both_are_right(void **state)
{
    (void)state;
    struct device *dev = open_device();
    float *const x = slab(dev, 3), *const y = slab(dev, 5);
    double alone, sum = 0;
    OK(kernel_sumsq(dev, &alone, x, N));
    for (int turn = 0; turn < 3; turn++) {
        struct exchange *const e = exchange_make(dev, true);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, exchange_main, e), 0);
        for (int i = 0; i < SUMS; i++) {
            OK(kernel_axpby(dev, y, x, N, 1.0f, 0.0f));
            OK(kernel_sumsq(dev, &sum, y, N));
            assert_true(sum == alone);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_exchanged(e);
        exchange_free(e);
    }
    device_free(dev, x);
    device_free(dev, y);
    device_close(&dev);
}

/* A thread may come back, and another one may come after it. */
static void one_after_the_other(void **state)
{
    (void)state;
    struct device *dev = open_device();
    struct exchange *const e = exchange_make(dev, true);
    (void)exchange_main(e);
    assert_exchanged(e);
    exchange_free(e);
    struct exchange *const outside = exchange_make(dev, false);
    (void)exchange_main(outside);
    assert_exchanged(outside);
    exchange_free(outside);
    device_close(&dev);
}

/* Threads of this process after an exchange by a new thread, with what that woke. */
static int threads_of_exchange(struct device *dev, bool in_lane)
{
    struct exchange *const e = exchange_make(dev, in_lane);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, exchange_main, e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_exchanged(e);
    const int threads = e->threads;
    exchange_free(e);
    return threads;
}

/* The CPU's teams: the main thread's is there; a lane adds none, any other thread would. */
static void no_second_team(void **state)
{
    (void)state;
    struct device *dev = open_device();
    if (!device_is_host(dev) || count_threads() == 0) {
        device_close(&dev);
        skip();
    }
    float *const x = slab(dev, 1);
    OK(kernel_axpby(dev, x, x, N, 1.0f, 1.0f));
    const int before = count_threads();
    assert_int_equal(threads_of_exchange(dev, true), before + 1);
    assert_true(threads_of_exchange(dev, false) > before + 1);
    device_free(dev, x);
    device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_are_right),
                                       cmocka_unit_test(one_after_the_other),
                                       cmocka_unit_test(no_second_team)};
    device_or_skip();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
