/* transport_tests.h - slabs between devices whose memory the host cannot read, by every transport.
 * Each test attaches and detaches the job, all ranks alike. */
#pragma once
#include "comm/comm_tests.h"
#include "comm/far_device.h"

/* This rank's far device, attached; NULL on a coordinator of others. */
struct device *attach_far(struct comm *c, const char *wish, struct far_setup setup);
void detach_far(struct comm *c, struct device **dev);
/* "GPU-<worker>": a device of its own for every worker. */
const char *own_identity(const struct comm *c, char out[DEVICE_ID]);

/* test_far.c: MPI from device memory. */
void test_staged_slabs(void **state);
void test_direct_slabs(void **state);
void test_mixed_devices(void **state);
void test_garbled_memory_is_not_trusted(void **state);
void test_begin_and_end(void **state);
void test_long_slab_is_cut(void **state);
void test_stage_overlaps(void **state);
void test_renewed_by_mpi(void **state);

/* test_nccl.c: NCCL, as fake_nccl.h plays it. */
void test_nccl_exchanges(void **state);
void test_nccl_chunks(void **state);
void test_nccl_alone_or_shared(void **state);
void test_nccl_needs_gpus(void **state);
void test_nccl_never_ready(void **state);
void test_nccl_falls_back(void **state);
void test_nccl_without_identity(void **state);
void test_nccl_fails_at_once(void **state);
void test_nccl_fails_under_way(void **state);
void test_nccl_loses_a_worker(void **state);
