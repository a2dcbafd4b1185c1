/* test_place.c - which device each worker of a machine takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "worker/place.h"

enum { MOST = 16 };

/* sees[i]: one letter for each device that worker i sees; '.' has no identity. */
static void expect(const char *const *sees, int n, const int *index, const int *sharers)
{
    struct place_view view[MOST];
    int found[MOST];
    memset(view, 0, sizeof view);
    for (int i = 0; i < n; i++) {
        view[i].count = (int)strlen(sees[i]);
        for (int d = 0; d < view[i].count; d++)
            if (sees[i][d] != '.') view[i].id[d][0] = sees[i][d];
    }
    place_workers(found, view, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(found[i], index[i]);
        assert_int_equal(place_sharers(found, view, n, i), sharers[i]);
    }
}

static void a_gpu_each(void **state)
{
    const char *const all[] = {"abcd", "abcd", "abcd", "abcd"};
    const char *const hidden[] = {"cd", "cd"}; /* CUDA_VISIBLE_DEVICES=2,3 */
    const char *const bound[] = {"a", "b", "c"};
    const int in_turn[] = {0, 1, 2, 3}, only[] = {0, 0, 0}, alone[] = {1, 1, 1, 1};
    (void)state;
    expect(all, 4, in_turn, alone);
    expect(all, 1, in_turn, alone);
    expect(hidden, 2, in_turn, alone);
    expect(bound, 3, only, alone);
}

static void fewer_gpus_than_workers(void **state)
{
    const char *const one[] = {"a", "a", "a"};
    const char *const two[] = {"ab", "ab", "ab", "ab", "ab"};
    const int first[] = {0, 0, 0}, three[] = {3, 3, 3};
    const int round_robin[] = {0, 1, 0, 1, 0}, shared[] = {3, 2, 3, 2, 3};
    (void)state;
    expect(one, 3, first, three);
    expect(two, 5, round_robin, shared);
}

/* The batch system gives every worker the GPUs of its socket, and deals workers to sockets in turn:
 * by number alone workers 0 and 2 would share the first, and the second would lie idle. */
static void gpus_of_a_socket(void **state)
{
    const char *const sees[] = {"ab", "cd", "ab", "cd"};
    const int index[] = {0, 0, 1, 1}, alone[] = {1, 1, 1, 1};
    (void)state;
    expect(sees, 4, index, alone);
}

static void sees_none(void **state)
{
    const char *const sees[] = {"a", "", "ab"};
    const int index[] = {0, -1, 1}, alone[] = {1, 1, 1};
    (void)state;
    expect(sees, 3, index, alone);
}

/* The CPU is everybody's, and nobody is warned of it. */
static void cpus(void **state)
{
    const char *const sees[] = {".", ".", "."};
    const int index[] = {0, 0, 0}, alone[] = {1, 1, 1};
    (void)state;
    expect(sees, 3, index, alone);
}

/* As many as a worker looks at, and as many workers as that. */
static void full_machine(void **state)
{
    const char *const letters = "abcdefghijklmnop";
    const char *sees[MOST];
    int index[MOST], alone[MOST];
    (void)state;
    assert_int_equal(strlen(letters), PLACE_DEVICES);
    for (int i = 0; i < MOST; i++) {
        sees[i] = letters;
        index[i] = i;
        alone[i] = 1;
    }
    expect(sees, MOST, index, alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_gpu_each),
                                       cmocka_unit_test(fewer_gpus_than_workers),
                                       cmocka_unit_test(gpus_of_a_socket),
                                       cmocka_unit_test(sees_none),
                                       cmocka_unit_test(cpus),
                                       cmocka_unit_test(full_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
