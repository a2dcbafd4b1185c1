/* The training stream: nothing skipped, nothing repeated, the same whoever asks and in whatever
 * order. Shards count upwards, so that a sequence's first token says where it was cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/data.h"
#include "data/made_shards.h"
#include "support.h"

enum { CONTEXT = 8, VOCAB = 65536, SEED = 42, A_TOKENS = 805, B_TOKENS = 83, B_FIRST = 10000 };
/* floor((n - context) / context) of each */
enum { A_SEQUENCES = 99, B_SEQUENCES = 9, SEQUENCES = A_SEQUENCES + B_SEQUENCES };

static struct scratch scratch;
static struct data *d;

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    write_counting_shard(scratch_path(&scratch, "a.bin"), 0, A_TOKENS);
    write_counting_shard(scratch_path(&scratch, "b.bin"), B_FIRST, B_TOKENS);
    return data_open("data.train", scratch_path(&scratch, "*.bin"), CONTEXT, VOCAB, &d) != SHOAL_OK;
}

static int teardown(void **state)
{
    (void)state;
    data_close(&d);
    scratch_remove(&scratch);
    return 0;
}

/* The first token of a sequence, after checking that the rest follows it. */
static int first_token(uint64_t seed, int expert, int64_t position)
{
    int32_t tokens[CONTEXT], targets[CONTEXT];
    assert_int_equal(data_sample(d, seed, expert, position, tokens, targets), SHOAL_OK);
    for (int t = 0; t < CONTEXT; t++) {
        assert_int_equal(tokens[t], tokens[0] + t);
        assert_int_equal(targets[t], tokens[0] + t + 1);
    }
    return tokens[0];
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* An epoch's sequences, sorted: all of a's, then all of b's. */
static void epoch_firsts(int expert, int64_t epoch, int *first)
{
    for (int i = 0; i < SEQUENCES; i++)
        first[i] = first_token(SEED, expert, epoch * SEQUENCES + i);
    qsort(first, SEQUENCES, sizeof *first, compare_ints);
}

static void lengths_are_as_promised(void **state)
{
    (void)state;
    assert_int_equal(data_epoch_sequences(d), SEQUENCES);
    assert_int_equal(data_windows(d), (A_TOKENS - 1) / CONTEXT + (B_TOKENS - 1) / CONTEXT);
}

static void an_epoch_holds_every_window_once(void **state)
{
    (void)state;
    for (int expert = 0; expert < 3; expert++) {
        for (int64_t epoch = 0; epoch < 20; epoch++) {
            int first[SEQUENCES];
            epoch_firsts(expert, epoch, first);
            const int *b = first + A_SEQUENCES;
            assert_in_range(first[0], 0, CONTEXT - 1);
            assert_in_range(b[0], B_FIRST, B_FIRST + CONTEXT - 1);
            for (int i = 0; i < A_SEQUENCES; i++)
                assert_int_equal(first[i], first[0] + 8 * i);
            for (int i = 0; i < B_SEQUENCES; i++)
                assert_int_equal(b[i], b[0] + 8 * i);
        }
    }
}

/* A run in sessions that stop at odd positions, the last one in mid-epoch. */
static void resumes_neither_skip_nor_repeat(void **state)
{
    (void)state;
    const int64_t stops[] = {0, 5, 48, 100, 2 * SEQUENCES};
    int seen[2][B_FIRST + B_TOKENS] = {{0}};
    for (int s = 0; s + 1 < 5; s++) {
        struct data *again = NULL;
        assert_int_equal(
            data_open("data.train", scratch_path(&scratch, "*.bin"), CONTEXT, VOCAB, &again),
            SHOAL_OK);
        int32_t tokens[CONTEXT], targets[CONTEXT];
        for (int64_t p = stops[s]; p < stops[s + 1]; p++) {
            assert_int_equal(data_sample(again, SEED, 1, p, tokens, targets), SHOAL_OK);
            assert_int_equal(seen[p / SEQUENCES][tokens[0]]++, 0);
        }
        data_close(&again);
    }
    for (int epoch = 0; epoch < 2; epoch++) {
        int first[SEQUENCES];
        epoch_firsts(1, epoch, first);
        for (int i = 0; i < SEQUENCES; i++)
            assert_int_equal(seen[epoch][first[i]], 1);
    }
}

static void any_order_of_calls_gives_the_same(void **state)
{
    (void)state;
    enum { N = 3 * SEQUENCES };
    int forward[N];
    for (int p = 0; p < N; p++)
        forward[p] = first_token(SEED, 2, p);
    for (int p = N - 1; p >= 0; p--) {
        first_token(SEED, p % 4, 7 * p); /* other experts in between */
        assert_int_equal(first_token(SEED, 2, p), forward[p]);
    }
}

static int equal_positions(uint64_t seed, int expert, int64_t shift)
{
    int equal = 0;
    for (int p = 0; p < SEQUENCES; p++) {
        equal += first_token(seed, expert, p + shift) / 8 == first_token(SEED, 0, p) / 8;
    }
    return equal;
}

/* Independent orders agree in about one place of 108; 12 has probability 1e-9. */
static void experts_epochs_and_seeds_differ(void **state)
{
    (void)state;
    assert_int_equal(equal_positions(SEED, 0, 0), SEQUENCES);
    assert_true(equal_positions(SEED, 1, 0) < 12);
    assert_true(equal_positions(SEED, 0, SEQUENCES) < 12);
    assert_true(equal_positions(SEED + 1, 0, 0) < 12);
}

/* Experts cut the text at the same places in an epoch; epochs do not, and reach all of them. */
static void offsets_are_drawn_per_epoch(void **state)
{
    (void)state;
    int used[CONTEXT] = {0};
    for (int64_t epoch = 0; epoch < 100; epoch++) {
        const int offset = first_token(SEED, 0, epoch * SEQUENCES) % CONTEXT;
        for (int expert = 1; expert < 4; expert++) {
            assert_int_equal(first_token(SEED, expert, epoch * SEQUENCES + 1) % CONTEXT, offset);
        }
        used[offset]++;
    }
    for (int offset = 0; offset < CONTEXT; offset++)
        assert_in_range(used[offset], 1, 40);
}

/* Fewer tokens than two windows: one window, wherever it fits. */
static void short_shards_give_one_window(void **state)
{
    (void)state;
    for (int32_t n = CONTEXT + 1; n < 2 * CONTEXT; n++) {
        write_counting_shard(scratch_path(&scratch, "short"), 0, n);
        struct data *one = NULL;
        assert_int_equal(
            data_open("data.train", scratch_path(&scratch, "short"), CONTEXT, VOCAB, &one),
            SHOAL_OK);
        assert_int_equal(data_epoch_sequences(one), 1);
        int highest = 0;
        for (int64_t p = 0; p < 100; p++) {
            int32_t tokens[CONTEXT], targets[CONTEXT];
            assert_int_equal(data_sample(one, SEED, 0, p, tokens, targets), SHOAL_OK);
            assert_in_range(targets[CONTEXT - 1], CONTEXT, n - 1);
            if (targets[CONTEXT - 1] > highest) highest = targets[CONTEXT - 1];
        }
        assert_int_equal(highest, n - 1);
        data_close(&one);
    }
}

static void far_positions_work(void **state)
{
    (void)state;
    const int64_t far = (int64_t)1 << 40;
    assert_int_equal(first_token(SEED, 1023, far), first_token(SEED, 1023, far));
    int32_t tokens[CONTEXT], targets[CONTEXT];
    assert_int_equal(data_sample(d, SEED, 0, -1, tokens, targets), SHOAL_EARG);
    assert_failure_says("no sequence -1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_as_promised),
        cmocka_unit_test(an_epoch_holds_every_window_once),
        cmocka_unit_test(resumes_neither_skip_nor_repeat),
        cmocka_unit_test(any_order_of_calls_gives_the_same),
        cmocka_unit_test(experts_epochs_and_seeds_differ),
        cmocka_unit_test(offsets_are_drawn_per_epoch),
        cmocka_unit_test(short_shards_give_one_window),
        cmocka_unit_test(far_positions_work),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
