/* The index of a snapshot, edited through HDF5 (h5_edit.h), beside its shards, which are good; the
 * first byte says in which of the ways it is read. What is found by it lies in its run. */
#include <string.h>
#include "fuzz/h5_edit.h"
#include "fuzz/made.h"
#include "snapshot/index.h"
#include "snapshot/verify.h"

struct places {
    char run[SHOAL_MAX_PATH], good[SHOAL_MAX_PATH], index[SHOAL_MAX_PATH];
    char secret[SHOAL_MAX_PATH], placed[SHOAL_MAX_PATH];
};

static void prepare(struct places *p)
{
    made_run(fuzz_path(p->run, "run"));
    made_shard(fuzz_path(p->secret, "secret-as-made.h5"), FUZZ_SECRET);
    fuzz_path(p->placed, "run/snapshots/" FUZZ_SECRET_H5);
    fuzz_must(run_index_path(p->index, p->run, MADE_STEP) == SHOAL_OK, "a path");
    made_copy(fuzz_path(p->good, "good.h5"), p->index);
}

static void read_index(const char *path)
{
    struct snapshot_index index;
    if (fuzz_ok(index_read(path, &index))) index_free(&index);
    (void)fuzz_ok(index_check(path));
}

static void resolve(const struct places *p)
{
    char shard[SHOAL_MAX_PATH];
    if (!fuzz_ok(snapshot_resolve(p->index, shard))) return;
    fuzz_must(strncmp(shard, p->run, strlen(p->run)) == 0 && !strstr(shard, ".."),
              "a shard of this run");
}

static void verify_all(const char *path)
{
    struct verified v;
    (void)fuzz_ok(verify(path, &v));
    verified_free(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct places p;
    struct fuzz_input in = {data, n};
    if (!p.run[0]) prepare(&p);
    made_copy(p.placed, p.secret); /* anew: edits may lead there too */
    made_copy(p.index, p.good);
    const unsigned way = (unsigned)fuzz_take(&in, 1) % 4;
    if (!h5_edit(p.index, &in)) return 0;
    if (way == 0) read_index(p.index);
    if (way == 1) resolve(&p);
    if (way == 2) verify_all(p.index);
    if (way == 3) verify_all(p.run);
    return 0;
}
