/* test_nccl_library.c - finding NCCL, and not finding it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "comm/nccl_abi.h"

static void refused(const char *path, const char *why)
{
    struct nccl_api api;
    int version = -1;
    assert_int_equal(nccl_load(path, &api, &version), SHOAL_ENOTSUP);
    assert_non_null(strstr(shoal_failure_text(), why));
}

static void not_there(void **state)
{
    (void)state;
    refused("libnccl-that-is-not-there.so", "libnccl-that-is-not-there.so");
}

static void not_nccl(void **state)
{
    (void)state;
    refused("libm.so.6", "libm.so.6 has no ncclGetVersion");
}

static void too_old(void **state)
{
    (void)state;
    refused(OLD_NCCL, "is version 21703 of NCCL; shoal needs 21800 or later");
}

/* The real one, where the system finds it: it answers without a GPU, and says what is wrong. */
static void the_real_one(void **state)
{
    struct nccl_api api;
    int version = 0, result;
    struct nccl_config config = {.size = sizeof config,
                                 .magic = NCCL_MAGIC,
                                 .version = NCCL_OLDEST,
                                 .blocking = 0,
                                 .cga_cluster_size = NCCL_UNDEFINED,
                                 .min_ctas = NCCL_UNDEFINED,
                                 .max_ctas = NCCL_UNDEFINED,
                                 .split_share = NCCL_UNDEFINED};
    struct nccl_id id = {{0}};
    void *comm = NULL;
    (void)state;
    if (nccl_load(NULL, &api, &version) != SHOAL_OK) {
        print_message("%s\n", shoal_failure_text());
        skip();
    }
    assert_true(version >= NCCL_OLDEST);
    assert_string_equal(api.get_error_string(NCCL_SUCCESS), "no error");
    assert_non_null(strstr(api.get_error_string(NCCL_REMOTE_ERROR), "remote"));
    /* No such rank: refused before any device is asked for, or for want of one. */
    result = api.comm_init_rank_config(&comm, 1, id, 5, &config);
    assert_true(result != NCCL_SUCCESS && result != NCCL_IN_PROGRESS);
    assert_true(strlen(api.get_error_string(result)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(not_there), cmocka_unit_test(not_nccl),
                                       cmocka_unit_test(too_old), cmocka_unit_test(the_real_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
