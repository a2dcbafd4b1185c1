/* Outer steps against the formula, in double precision. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "evo/operators.h"

enum { N = 1000, ROUNDS = 8 };
#define OK(call) assert_int_equal((call), SHOAL_OK)

static double wave(int i, int round)
{
    return sin(0.1 * i + 1.7 * round) * 0.5;
}

static void follows(double lr, double momentum)
{
    struct device *dev = NULL;
    struct config c;
    float mean[N], agreed[N], velocity[N];
    double x[N], v[N];
    memset(&c, 0, sizeof c);
    c.evolution.outer.lr = lr;
    c.evolution.outer.momentum = momentum;
    OK(device_open("cpu", 0, 1, &dev));
    for (int i = 0; i < N; i++) {
        agreed[i] = (float)wave(i, 0);
        x[i] = agreed[i];
        velocity[i] = 0;
        v[i] = 0;
    }
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            mean[i] = (float)wave(i, round);
        for (int i = 0; i < N; i++) {
            const double d = mean[i] - x[i]; /* minus the gradient of SGD's outer step */
            v[i] = momentum * v[i] + d;
            x[i] += lr * (d + momentum * v[i]);
        }
        OK(evo_outer_step(dev, mean, agreed, velocity, N, &c));
        assert_memory_equal(mean, agreed, sizeof mean);
        for (int i = 0; i < N; i++)
            assert_true(fabs(agreed[i] - x[i]) < 1e-5 && fabs(velocity[i] - v[i]) < 1e-5);
    }
    device_close(&dev);
}

static void follow_the_formula(void **state)
{
    (void)state;
    follows(0.7, 0.9);
    follows(1.0, 0.0);
    follows(0.5, 0.0);
    follows(1.0, 0.5);
}

static void are_taken_only_where_they_differ_from_the_mean(void **state)
{
    (void)state;
    struct config c;
    memset(&c, 0, sizeof c);
    c.evolution.outer.lr = 1;
    assert_false(evo_outer_steps(&c));
    c.evolution.outer.momentum = 0.5;
    assert_true(evo_outer_steps(&c));
    c.evolution.outer.momentum = 0;
    c.evolution.outer.lr = 0.7;
    assert_true(evo_outer_steps(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follow_the_formula),
        cmocka_unit_test(are_taken_only_where_they_differ_from_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
