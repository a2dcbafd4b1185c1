/* What the machine and this process have, against what the tests know of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/files.h"
#include "base/machine.h"
#include "base/memory.h"
#include "support.h"

enum {
    BLOCK = 64 << 20,
    COUNTED = 1 << 20 /* the kernel counts pages in batches, a processor each */
};

static void memory_taken_shows(void **state)
{
    (void)state;
    char *block = NULL;
    const int64_t before = process_bytes(), peak_before = process_peak_bytes();
    assert_true(before > 0 && peak_before >= before);
    assert_int_equal(mem_alloc(BLOCK, "a block", &block), SHOAL_OK);
    memset(block, 1, BLOCK);
    assert_true(process_bytes() > before + BLOCK / 4 * 3);
    const int64_t peak = process_peak_bytes();
    assert_true(peak > peak_before + BLOCK / 4 * 3);
    mem_free(block);
    assert_true(process_peak_bytes() >= peak - COUNTED); /* it does not forget */
}

static void the_machine_has_more_than_the_process(void **state)
{
    (void)state;
    assert_true(machine_memory_bytes() > process_peak_bytes());
    assert_true(machine_free_bytes() > 0 && machine_free_bytes() <= machine_memory_bytes());
    assert_true(machine_cores() >= 1);
}

static void limit_is(const struct scratch *s, const char *membership, int64_t bytes)
{
    assert_int_equal(machine_limit_bytes(membership, s->dir), bytes);
}

static void put(const struct scratch *s, const char *group, const char *file, const char *text)
{
    char path[256];
    assert_int_equal(dir_make(scratch_path(s, group)), SHOAL_OK);
    (void)snprintf(path, sizeof path, "%s/%s", group, file);
    write_text(scratch_path(s, path), text);
}

static void limits_of_control_groups(void **state)
{
    (void)state;
    struct scratch s;
    scratch_make(&s);
    put(&s, "jobs/one/step", "memory.max", "max\n");
    put(&s, "jobs/one", "memory.max", "3000000000\n");
    put(&s, "jobs", "memory.max", "8000000000\n");
    limit_is(&s, "0::/jobs/one/step\n", 3000000000);
    limit_is(&s, "0::/jobs\n", 8000000000);
    limit_is(&s, "0::/jobs/none/such\n", 8000000000);
    limit_is(&s, "0::/elsewhere\n", INT64_MAX);
    limit_is(&s, "", INT64_MAX);
    limit_is(&s, "nonsense\n0:\n", INT64_MAX);
    /* version 1: a hierarchy for memory among others */
    put(&s, "memory/batch", "memory.limit_in_bytes", "2000000000\n");
    put(&s, "memory", "memory.limit_in_bytes", "9223372036854771712\n");
    limit_is(&s, "5:cpu:/jobs/one\n4:memory:/batch\n0::/\n", 2000000000);
    limit_is(&s, "4:memory:/batch/task\n0::/jobs/one", 2000000000);
    limit_is(&s, "4:hugetlb,memory:/", 9223372036854771712);
    /* a container sees its own limit at the root */
    put(&s, ".", "memory.max", "1000000000\n");
    limit_is(&s, "0::/not/visible\n", 1000000000);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_taken_shows),
        cmocka_unit_test(the_machine_has_more_than_the_process),
        cmocka_unit_test(limits_of_control_groups),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
