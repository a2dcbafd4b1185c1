/* Sets of experts, and how much of an order travels. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "evo/live.h"
#include "evo/protocol.h"

static void one_bit_each(void **state)
{
    (void)state;
    const int some[] = {0, 1, 63, 64, 65, 127, 128, SHOAL_MAX_EXPERTS - 1};
    const int n = sizeof some / sizeof some[0];
    struct live_set s = {{0}};
    for (int i = 0; i < n; i++) {
        assert_false(live_has(&s, some[i]));
        live_put(&s, some[i], true);
        live_put(&s, some[i], true);
        assert_true(live_has(&s, some[i]));
        assert_int_equal(live_count(&s, SHOAL_MAX_EXPERTS), i + 1);
    }
    live_put(&s, 64, false);
    live_put(&s, 64, false);
    assert_true(live_has(&s, 63) && !live_has(&s, 64) && live_has(&s, 65));
    assert_int_equal(live_count(&s, SHOAL_MAX_EXPERTS), n - 1);
    assert_int_equal(live_count(&s, 64), 3);
}

static void all_and_none(void **state)
{
    (void)state;
    const int sizes[] = {1, 63, 64, 65, SHOAL_MAX_EXPERTS};
    for (int i = 0; i < 5; i++) {
        const int experts = sizes[i];
        struct live_set s = {{0}};
        live_all(&s, experts);
        assert_int_equal(live_count(&s, SHOAL_MAX_EXPERTS), experts);
        assert_true(live_has(&s, experts - 1));
        live_none(&s, experts);
        assert_int_equal(live_count(&s, SHOAL_MAX_EXPERTS), 0);
    }
}

static void the_next_goes_round(void **state)
{
    (void)state;
    struct live_set s = {{0}};
    assert_int_equal(live_next(&s, 3, 200), -1);
    live_put(&s, 70, true);
    live_put(&s, 190, true);
    assert_int_equal(live_next(&s, 0, 200), 70);
    assert_int_equal(live_next(&s, 70, 200), 70);
    assert_int_equal(live_next(&s, 71, 200), 190);
    assert_int_equal(live_next(&s, 191, 200), 70);
    assert_int_equal(live_next(&s, 0, 70), -1);
}

static void an_order_ends_with_its_last_expert(void **state)
{
    (void)state;
    assert_int_equal(order_bytes(1), offsetof(struct order, live) + 8);
    assert_int_equal(order_bytes(64), order_bytes(1));
    assert_int_equal(order_bytes(65), order_bytes(1) + 8);
    assert_int_equal(order_bytes(SHOAL_MAX_EXPERTS), sizeof(struct order));
    struct order sent = {.step = 7, .live = {{0}}}, came = {.step = 0};
    live_all(&sent.live, 100);
    memcpy(&came, &sent, order_bytes(100));
    assert_memory_equal(&came, &sent, sizeof came);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bit_each),
        cmocka_unit_test(all_and_none),
        cmocka_unit_test(the_next_goes_round),
        cmocka_unit_test(an_order_ends_with_its_last_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
