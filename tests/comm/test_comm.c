/* test_comm.c - who is who, agreeing, sharing; and main for all tests of comm. */
#include <stdlib.h>
#include "comm_tests.h"

static void test_roles(void **state)
{
    const struct comm *c = job(state);
    const int size = comm_world_size(c), rank = comm_world_rank(c);
    assert_int_equal(comm_is_coordinator(c), rank == 0);
    assert_int_equal(comm_is_worker(c), rank > 0 || size == 1);
    assert_int_equal(comm_worker(c), size == 1 ? 0 : rank - 1);
    assert_int_equal(comm_workers(c), size == 1 ? 1 : size - 1);
    /* ctest runs all ranks on one node. */
    assert_int_equal(comm_node_workers(c), comm_workers(c));
    if (comm_is_worker(c)) assert_int_equal(comm_node_worker(c), comm_worker(c));
    assert_true(comm_core_share(c) >= 1);
    assert_true(comm_node_cores(c) >= comm_core_share(c));
    assert_int_equal(comm_node(c), 0);
}

static void test_agree_when_well(void **state)
{
    bool speaker = true;
    assert_int_equal(comm_agree(job(state), SHOAL_OK, &speaker), SHOAL_OK);
    assert_false(speaker);
}

/* Every rank in turn fails, and always the last one, in another way. */
static void test_agree_when_one_fails(void **state)
{
    struct comm *c = job(state);
    const int last = comm_world_size(c) - 1, rank = comm_world_rank(c);
    for (int bad = 0; bad <= last; bad++) {
        enum shoal_status mine = SHOAL_OK;
        bool speaker = false;
        if (rank == last) mine = SHOAL_FAIL(SHOAL_ENOMEM, "the last one's trouble");
        if (rank == bad) mine = SHOAL_FAIL(SHOAL_EIO, "made up");
        assert_int_equal(comm_agree(c, mine, &speaker), SHOAL_EIO);
        assert_int_equal(speaker, rank == bad);
    }
}

static void test_gather(void **state)
{
    struct comm *c = job(state);
    const int mine[2] = {comm_world_rank(c), 7 * comm_world_rank(c)};
    int all[2 * 16] = {0};
    assert_true(comm_world_size(c) <= 16);
    assert_int_equal(comm_gather(c, mine, sizeof mine, all), SHOAL_OK);
    for (int r = 0; r < comm_world_size(c) && comm_is_coordinator(c); r++) {
        assert_int_equal(all[2 * r], r);
        assert_int_equal(all[2 * r + 1], 7 * r);
    }
}

static void test_share(void **state)
{
    struct comm *c = job(state);
    char text[16] = "other";
    if (comm_is_coordinator(c)) strcpy(text, "from rank 0");
    assert_int_equal(comm_share(c, text, sizeof text), SHOAL_OK);
    assert_string_equal(text, "from rank 0");
}

static void test_described(void **state)
{
    assert_string_equal(comm_describe(job(state)), "MPI from host memory");
    assert_false(comm_is_staged(job(state)));
}

int main(int argc, char **argv)
{
    struct comm *c = NULL;
    struct device *dev = NULL;
    if (comm_open(&argc, &argv, &c) != SHOAL_OK ||
        (comm_is_worker(c) && device_open("cpu", 0, 1, &dev) != SHOAL_OK) ||
        comm_attach(c, "auto", dev) != SHOAL_OK) {
        print_error("%s\n", shoal_failure_text());
        return EXIT_FAILURE;
    }
#define WITH_JOB(f) cmocka_unit_test_prestate(f, c)
    const struct CMUnitTest tests[] = {
        WITH_JOB(test_roles),
        WITH_JOB(test_agree_when_well),
        WITH_JOB(test_agree_when_one_fails),
        WITH_JOB(test_gather),
        WITH_JOB(test_share),
        WITH_JOB(test_described),
        WITH_JOB(test_broadcast_from_every_root),
        WITH_JOB(test_moves_between_all_pairs),
        WITH_JOB(test_sum_is_ordered),
        WITH_JOB(test_sum_with_empty_workers),
        WITH_JOB(test_sum_values_keep_what_is_not_finite),
        WITH_JOB(test_bytes_are_counted),
        WITH_JOB(test_means_of_packed_changes),
        WITH_JOB(test_traffic_is_foretold),
        WITH_JOB(test_reports_and_orders),
        WITH_JOB(test_report_may_be_reused),
        WITH_JOB(test_hear_times_out_and_sleeps),
        WITH_JOB(test_orders_arrive_in_order),
        WITH_JOB(test_polling_does_not_wait),
        WITH_JOB(test_record_of_another_size),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) comm_abort(c, EXIT_FAILURE);
    comm_close(&c);
    device_close(&dev);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
