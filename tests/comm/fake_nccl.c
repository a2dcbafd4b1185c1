/* fake_nccl.c - see fake_nccl.h. */
#include "comm/fake_nccl.h"
#include <stdio.h>
#include "comm/far_device.h"

enum { RESULT_OK = 0, RESULT_INVALID = 4, RESULT_REMOTE = 6, RESULT_IN_PROGRESS = 7 };

static struct fake_nccl fake;
static int polls_left; /* of the call under way */
static int ids_made;

static int begin_call(enum fake_call call)
{
    if (fake.fails == call) return RESULT_REMOTE;
    polls_left = fake.stalls == call ? -1 : fake.polls;
    return polls_left == 0 ? RESULT_OK : RESULT_IN_PROGRESS;
}

static int fake_version(int *version)
{
    *version = 22809;
    return RESULT_OK;
}

static int fake_id(struct nccl_id *id)
{
    if (fake.fails == FAKE_ID) return RESULT_REMOTE;
    memset(id, 0, sizeof *id);
    (void)snprintf(id->bytes, sizeof id->bytes, "id %d", ++ids_made);
    return RESULT_OK;
}

static int fake_init(void **comm, int n, struct nccl_id id, int rank, struct nccl_config *config)
{
    *comm = &fake;
    if (config->size != sizeof *config || config->magic != 0xcafebeefu || config->version != 21800)
        return RESULT_INVALID;
    if (config->blocking != 0 || rank < 0 || rank >= n) return RESULT_INVALID;
    fake.inits++;
    fake.nranks = n;
    fake.rank = rank;
    fake.id = id;
    return begin_call(FAKE_INIT);
}

static int fake_finalize(void *comm)
{
    assert_ptr_equal(comm, &fake);
    fake.finalized++;
    return begin_call(FAKE_FINALIZE);
}

static int fake_destroy(void *comm)
{
    assert_ptr_equal(comm, &fake);
    fake.destroyed++;
    return RESULT_OK;
}

static int fake_abort(void *comm)
{
    assert_ptr_equal(comm, &fake);
    fake.aborts++;
    return RESULT_OK;
}

static int fake_async_error(void *comm, int *state)
{
    assert_ptr_equal(comm, &fake);
    if (polls_left > 0) polls_left--;
    *state = polls_left == 0 ? RESULT_OK : RESULT_IN_PROGRESS;
    if (polls_left == 0 && fake.breaks) *state = RESULT_REMOTE;
    return RESULT_OK;
}

static const char *fake_error_string(int result)
{
    return result == RESULT_REMOTE ? "remote process exited" : "something else";
}

static const char *fake_last_error(void *comm)
{
    (void)comm;
    return "made up for a test";
}

/* Nobody may ask for anything while a call is under way. */
static void note_exchange(size_t count, int type, void *comm, void *stream)
{
    assert_ptr_equal(comm, &fake);
    assert_int_equal(type, 7);
    assert_int_equal(polls_left, 0);
    assert_ptr_equal(stream, fake.c->dev);
    if (count > fake.largest) fake.largest = count;
}

static int fake_broadcast(const void *from, void *to, size_t count, int type, int root, void *comm,
                          void *stream)
{
    note_exchange(count, type, comm, stream);
    assert_ptr_equal(from, to);
    fake.broadcasts++;
    if (fake.fails != FAKE_BROADCAST && fake.stalls != FAKE_BROADCAST)
        assert_int_equal(
            MPI_Bcast(far_real(fake.c->dev, to), (int)count, MPI_FLOAT, root, fake.c->workers),
            MPI_SUCCESS);
    return begin_call(FAKE_BROADCAST);
}

static int fake_all_reduce(const void *from, void *to, size_t count, int type, int op, void *comm,
                           void *stream)
{
    note_exchange(count, type, comm, stream);
    assert_ptr_equal(from, to);
    assert_int_equal(op, 0);
    fake.sums++;
    if (fake.fails != FAKE_ALL_REDUCE && fake.stalls != FAKE_ALL_REDUCE)
        assert_int_equal(MPI_Allreduce(MPI_IN_PLACE, far_real(fake.c->dev, to), (int)count,
                                       MPI_FLOAT, MPI_SUM, fake.c->workers),
                         MPI_SUCCESS);
    return begin_call(FAKE_ALL_REDUCE);
}

static int fake_send(const void *from, size_t count, int type, int peer, void *comm, void *stream)
{
    note_exchange(count, type, comm, stream);
    fake.moves++;
    if (fake.fails != FAKE_SEND && fake.stalls != FAKE_SEND)
        assert_int_equal(
            MPI_Send(far_real(fake.c->dev, from), (int)count, MPI_FLOAT, peer, 99, fake.c->workers),
            MPI_SUCCESS);
    return begin_call(FAKE_SEND);
}

static int fake_recv(void *to, size_t count, int type, int peer, void *comm, void *stream)
{
    note_exchange(count, type, comm, stream);
    fake.moves++;
    if (fake.fails != FAKE_RECV && fake.stalls != FAKE_RECV)
        assert_int_equal(MPI_Recv(far_real(fake.c->dev, to), (int)count, MPI_FLOAT, peer, 99,
                                  fake.c->workers, MPI_STATUS_IGNORE),
                         MPI_SUCCESS);
    return begin_call(FAKE_RECV);
}

static const struct nccl_api functions = {.get_version = fake_version,
                                          .get_unique_id = fake_id,
                                          .comm_init_rank_config = fake_init,
                                          .comm_finalize = fake_finalize,
                                          .comm_destroy = fake_destroy,
                                          .comm_abort = fake_abort,
                                          .comm_get_async_error = fake_async_error,
                                          .get_error_string = fake_error_string,
                                          .get_last_error = fake_last_error,
                                          .broadcast = fake_broadcast,
                                          .all_reduce = fake_all_reduce,
                                          .send = fake_send,
                                          .recv = fake_recv};

struct fake_nccl *fake_nccl_install(struct comm *c)
{
    memset(&fake, 0, sizeof fake);
    polls_left = 0;
    fake.c = c;
    fake.polls = 3;
    c->nccl = &functions;
    return &fake;
}

void fake_nccl_remove(struct comm *c)
{
    c->nccl = NULL;
}
