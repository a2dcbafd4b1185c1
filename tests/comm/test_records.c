/* test_records.c - reports up, orders down. In a world of one they pass through memory. */
#include <time.h>
#include "base/clock.h"
#include "comm_tests.h"

struct note {
    int32_t worker, number;
    char filler[900];
};

/* World of one: what the local handler got. */
struct heard {
    int count, asked; /* asked: calls without a record */
    struct note last;
};

static enum shoal_status hear_locally(void *owner, const void *record, size_t bytes)
{
    struct heard *h = owner;
    h->asked += !record;
    if (!record) return SHOAL_OK;
    assert_int_equal(bytes, sizeof h->last);
    memcpy(&h->last, record, bytes);
    h->count++;
    return SHOAL_OK;
}

/* Coordinator of others: hear one note per worker and number, each worker's in its order. */
static void hear_all(struct comm *c, int numbers)
{
    int next[64] = {0};
    unsigned char record[COMM_MAX_RECORD];
    for (int heard = 0; heard < numbers * comm_workers(c); heard++) {
        struct note note;
        size_t bytes = 0;
        int worker = -1;
        bool got = false;
        assert_int_equal(comm_hear(c, record, &bytes, &worker, 60, &got), SHOAL_OK);
        assert_true(got);
        assert_int_equal(bytes, sizeof note);
        memcpy(&note, record, sizeof note);
        assert_int_equal(note.worker, worker);
        assert_int_equal(note.number, next[worker]++);
    }
}

static bool alone(const struct comm *c)
{
    return comm_world_size(c) == 1;
}

void test_reports_and_orders(void **state)
{
    struct comm *c = job(state);
    struct heard heard = {0};
    struct note note = {.worker = comm_worker(c)}, order = {.number = 42};
    comm_set_local(c, hear_locally, &heard);
    if (comm_is_worker(c)) assert_int_equal(comm_report(c, &note, sizeof note), SHOAL_OK);
    if (alone(c)) assert_int_equal(heard.count, 1);
    if (comm_is_coordinator(c)) {
        if (!alone(c)) hear_all(c, 1);
        assert_int_equal(comm_order(c, &order, sizeof order), SHOAL_OK);
    }
    if (!comm_is_worker(c)) return;
    struct note obeyed = {0};
    assert_int_equal(comm_obey(c, &obeyed, sizeof obeyed), SHOAL_OK);
    assert_memory_equal(&obeyed, &order, sizeof order);
}

void test_report_may_be_reused(void **state)
{
    struct comm *c = job(state);
    struct heard heard = {0};
    const int numbers = 50;
    comm_set_local(c, hear_locally, &heard);
    for (int i = 0; comm_is_worker(c) && i < numbers; i++) {
        struct note note = {.worker = comm_worker(c), .number = i};
        assert_int_equal(comm_report(c, &note, sizeof note), SHOAL_OK);
        memset(&note, 0xee, sizeof note);
    }
    if (comm_is_coordinator(c) && !alone(c)) hear_all(c, numbers);
    if (alone(c)) assert_int_equal(heard.last.number, numbers - 1);
}

void test_hear_times_out_and_sleeps(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_coordinator(c) || alone(c)) return;
    unsigned char record[COMM_MAX_RECORD];
    size_t bytes = 0;
    int worker = -1;
    bool got = true;
    const double start_s = clock_now_s();
    const clock_t start_cpu = clock();
    assert_int_equal(comm_hear(c, record, &bytes, &worker, 0.5, &got), SHOAL_OK);
    const double cpu_s = (double)(clock() - start_cpu) / CLOCKS_PER_SEC;
    assert_false(got);
    assert_true(clock_now_s() - start_s >= 0.5);
    /* Under 2 % of a core, whatever else the machine does: this is processor time. */
    assert_true(cpu_s < 0.01);
}

void test_orders_arrive_in_order(void **state)
{
    struct comm *c = job(state);
    const int numbers = 10;
    for (int i = 0; comm_is_coordinator(c) && i < numbers; i++) {
        const struct note order = {.number = i};
        assert_int_equal(comm_order(c, &order, sizeof order), SHOAL_OK);
    }
    for (int i = 0; comm_is_worker(c) && i < numbers; i++) {
        struct note order = {0};
        assert_int_equal(comm_obey(c, &order, sizeof order), SHOAL_OK);
        assert_int_equal(order.number, i);
    }
}

void test_polling_does_not_wait(void **state)
{
    struct comm *c = job(state);
    struct heard heard = {0};
    struct note note = {0}, order = {.number = 7};
    bool got = true;
    comm_set_local(c, hear_locally, &heard);
    if (comm_is_worker(c)) {
        assert_int_equal(comm_poll(c, &note, sizeof note, &got), SHOAL_OK);
        assert_false(got);
        note.worker = comm_worker(c);
        assert_int_equal(comm_report(c, &note, sizeof note), SHOAL_OK);
    }
    if (comm_is_coordinator(c)) {
        if (!alone(c)) hear_all(c, 1);
        assert_int_equal(comm_order(c, &order, sizeof order), SHOAL_OK);
    }
    while (comm_is_worker(c) && !got)
        assert_int_equal(comm_poll(c, &note, sizeof note, &got), SHOAL_OK);
    if (comm_is_worker(c)) assert_int_equal(note.number, 7);
    if (alone(c)) assert_int_equal(heard.asked, 2);
}

void test_record_of_another_size(void **state)
{
    struct comm *c = job(state);
    const int32_t small = 1;
    struct note order;
    if (comm_is_coordinator(c)) assert_int_equal(comm_order(c, &small, sizeof small), SHOAL_OK);
    if (comm_is_worker(c)) assert_int_equal(comm_obey(c, &order, sizeof order), SHOAL_EPEER);
    if (alone(c)) assert_int_equal(comm_obey(c, &order, sizeof order), SHOAL_EPEER); /* none left */
}
