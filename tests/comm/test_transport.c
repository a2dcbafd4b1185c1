/* test_transport.c - main for the tests of transports, and what they share. */
#include <stdio.h>
#include <stdlib.h>
#include "transport_tests.h"

struct device *attach_far(struct comm *c, const char *wish, struct far_setup setup)
{
    struct device *const dev = comm_is_worker(c) ? far_open(setup) : NULL;
    OK(comm_attach(c, wish, dev));
    return dev;
}

void detach_far(struct comm *c, struct device **dev)
{
    comm_detach(c);
    device_close(dev);
}

const char *own_identity(const struct comm *c, char out[DEVICE_ID])
{
    (void)snprintf(out, DEVICE_ID, "GPU-%d", comm_worker(c));
    return out;
}

int main(int argc, char **argv)
{
    struct comm *c = NULL;
    if (comm_open(&argc, &argv, &c) != SHOAL_OK) {
        print_error("%s\n", shoal_failure_text());
        return EXIT_FAILURE;
    }
#define WITH_JOB(f) cmocka_unit_test_prestate(f, c)
    const struct CMUnitTest tests[] = {
        WITH_JOB(test_staged_slabs),       WITH_JOB(test_direct_slabs),
        WITH_JOB(test_mixed_devices),      WITH_JOB(test_garbled_memory_is_not_trusted),
        WITH_JOB(test_begin_and_end),      WITH_JOB(test_long_slab_is_cut),
        WITH_JOB(test_stage_overlaps),     WITH_JOB(test_nccl_exchanges),
        WITH_JOB(test_nccl_chunks),        WITH_JOB(test_nccl_alone_or_shared),
        WITH_JOB(test_nccl_needs_gpus),    WITH_JOB(test_nccl_never_ready),
        WITH_JOB(test_nccl_falls_back),    WITH_JOB(test_nccl_without_identity),
        WITH_JOB(test_nccl_fails_at_once), WITH_JOB(test_nccl_fails_under_way),
        WITH_JOB(test_renewed_by_mpi),     WITH_JOB(test_nccl_loses_a_worker),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) comm_abort(c, EXIT_FAILURE);
    comm_close(&c);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
