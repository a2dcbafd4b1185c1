/* comm_tests.h - one program, run by every rank of a job of any size. Each test is collective over
 * the world: all ranks run the same tests in the same order.
 *
 * A rank whose assertion fails leaves the others waiting; ctest's time limit ends them, and the
 * failed rank has said why. */
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"
#define SHOAL_COMM_PRIVATE
#include "comm/comm_impl.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != SHOAL_OK) fail_msg("%s: %s", #call, shoal_failure_text());                   \
    } while (0)

/* The job; every test's *state. */
static inline struct comm *job(void **state)
{
    return *state;
}

/* What the workers are attached to. */
static inline struct device *device_of(const struct comm *c)
{
    return c->dev;
}

void test_broadcast_from_every_root(void **state);
void test_moves_between_all_pairs(void **state);
void test_sum_is_ordered(void **state);
void test_sum_with_empty_workers(void **state);
void test_sum_values_keep_what_is_not_finite(void **state);
void test_bytes_are_counted(void **state);
void test_means_of_packed_changes(void **state);
void test_traffic_is_foretold(void **state);

/* Broadcasts and sums of slabs in few chunks, in as little time as they take. */
void slabs_in_short(struct comm *c);
void means_in_short(struct comm *c); /* by MPI only */

void test_reports_and_orders(void **state);
void test_report_may_be_reused(void **state);
void test_hear_times_out_and_sleeps(void **state);
void test_orders_arrive_in_order(void **state);
void test_polling_does_not_wait(void **state);
void test_record_of_another_size(void **state);
