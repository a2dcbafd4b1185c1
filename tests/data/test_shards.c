/* Opening shards: what is accepted, what is refused and with which words; windows for judging. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/data.h"
#include "data/made_shards.h"
#include "support.h"

enum { CONTEXT = 8, VOCAB = 65536 };

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    return 0;
}

static void assert_refused(const char *name, int context, int vocab, enum shoal_status expected,
                           const char *fragment)
{
    struct data *d = NULL;
    assert_int_equal(data_open("data.train", scratch_path(&scratch, name), context, vocab, &d),
                     expected);
    assert_null(d);
    assert_failure_says(name);
    assert_failure_says(fragment);
}

static void windows_lie_end_to_end(void **state)
{
    (void)state;
    /* 32 and 17 tokens: 3 and 2 windows of 8 inputs (each needs one token more for its target) */
    write_counting_shard(scratch_path(&scratch, "w_0.bin"), 100, 32);
    write_counting_shard(scratch_path(&scratch, "w_1.bin"), 1000, 17);
    struct data *d = NULL;
    assert_int_equal(data_open("data.val", scratch_path(&scratch, "w_*.bin"), CONTEXT, VOCAB, &d),
                     SHOAL_OK);
    assert_int_equal(data_shards(d), 2);
    assert_int_equal(data_tokens(d), 49);
    assert_int_equal(data_windows(d), 5);
    const int first[] = {100, 108, 116, 1000, 1008};
    int32_t tokens[CONTEXT], targets[CONTEXT];
    for (int w = 0; w < 5; w++) {
        assert_int_equal(data_window(d, w, tokens, targets), SHOAL_OK);
        for (int t = 0; t < CONTEXT; t++) {
            assert_int_equal(tokens[t], first[w] + t);
            assert_int_equal(targets[t], first[w] + t + 1);
        }
    }
    assert_int_equal(data_window(d, 5, tokens, targets), SHOAL_EARG);
    assert_failure_says("window 5 is not one of the 5");
    assert_int_equal(data_window(d, -1, tokens, targets), SHOAL_EARG);
    data_close(&d);
    assert_null(d);
    data_close(&d);
}

static void shards_come_in_the_order_of_their_names(void **state)
{
    (void)state;
    write_counting_shard(scratch_path(&scratch, "o_000002.bin"), 200, 9);
    write_counting_shard(scratch_path(&scratch, "o_000000.bin"), 0, 9);
    write_counting_shard(scratch_path(&scratch, "o_000001.bin"), 100, 9);
    struct data *d = NULL;
    assert_int_equal(data_open("data.train", scratch_path(&scratch, "o_*.bin"), CONTEXT, VOCAB, &d),
                     SHOAL_OK);
    int32_t tokens[CONTEXT], targets[CONTEXT];
    for (int w = 0; w < 3; w++) {
        assert_int_equal(data_window(d, w, tokens, targets), SHOAL_OK);
        assert_int_equal(tokens[0], 100 * w);
    }
    data_close(&d);
}

static void a_path_with_glob_characters_is_a_path(void **state)
{
    (void)state;
    write_counting_shard(scratch_path(&scratch, "odd[1]*.bin"), 7, 9);
    struct data *d = NULL;
    assert_int_equal(
        data_open("data.train", scratch_path(&scratch, "odd[1]*.bin"), CONTEXT, VOCAB, &d),
        SHOAL_OK);
    assert_int_equal(data_tokens(d), 9);
    data_close(&d);
}

static void a_shard_made_with_numpy_opens(void **state)
{
    (void)state;
    char command[1024];
    snprintf(command, sizeof command,
             "%s -c \"import numpy as np\n"
             "header = np.zeros(256, dtype='<i4')\n"
             "header[:3] = 20240520, 1, 50\n"
             "tokens = (np.arange(50) * 1311).astype('<u2')\n"
             "open('%s', 'wb').write(header.tobytes() + tokens.tobytes())\"",
             SHOAL_PYTHON, scratch_path(&scratch, "numpy.bin"));
    assert_int_equal(system(command), 0);
    struct data *d = NULL;
    assert_int_equal(
        data_open("data.train", scratch_path(&scratch, "numpy.bin"), CONTEXT, VOCAB, &d), SHOAL_OK);
    int32_t tokens[CONTEXT], targets[CONTEXT];
    assert_int_equal(data_window(d, 5, tokens, targets), SHOAL_OK);
    for (int t = 0; t < CONTEXT; t++) {
        assert_int_equal(tokens[t], (40 + t) * 1311 % 65536);
        assert_int_equal(targets[t], (41 + t) * 1311 % 65536);
    }
    data_close(&d);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_refused("nothing_*.bin", CONTEXT, VOCAB, SHOAL_EIO, "data.train: nothing matches '");
    assert_failure_says("shoal tokenize --tokenizer bytes|gpt2 --out DIR FILE...");
    struct data *d = NULL;
    assert_int_equal(data_open("data.val", "", CONTEXT, VOCAB, &d), SHOAL_EIO);
    assert_failure_says("data.val: nothing matches ''");
    assert_int_equal(data_open("data.val", scratch.dir, CONTEXT, VOCAB, &d), SHOAL_EIO);
    assert_failure_says("not a regular file");
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    const uint16_t tokens[100] = {0};
    write_text(scratch_path(&scratch, "short.bin"), "text");
    assert_refused("short.bin", CONTEXT, VOCAB, SHOAL_EFORMAT, "4 bytes are fewer than the 1024");
    write_bytes(scratch_path(&scratch, "empty.bin"), "", 0);
    assert_refused("empty.bin", CONTEXT, VOCAB, SHOAL_EFORMAT, "0 bytes are fewer than the 1024");
    write_raw_shard(scratch_path(&scratch, "magic.bin"), 123, 1, 100, tokens, 100);
    assert_refused("magic.bin", CONTEXT, VOCAB, SHOAL_EFORMAT,
                   "magic 123 is not 20240520: not a token shard");
    write_raw_shard(scratch_path(&scratch, "version.bin"), 20240520, 2, 100, tokens, 100);
    assert_refused("version.bin", CONTEXT, VOCAB, SHOAL_EFORMAT, "version 2");
}

static void wrong_sizes_are_refused(void **state)
{
    (void)state;
    const uint16_t tokens[1000] = {0};
    write_raw_shard(scratch_path(&scratch, "cut.bin"), 20240520, 1, 1000, tokens, 488);
    assert_refused("cut.bin", CONTEXT, VOCAB, SHOAL_EFORMAT,
                   "header says 1000 tokens (3024 bytes), the file has 2000 bytes: truncated?");
    write_raw_shard(scratch_path(&scratch, "long.bin"), 20240520, 1, 10, tokens, 11);
    assert_refused("long.bin", CONTEXT, VOCAB, SHOAL_EFORMAT,
                   "header says 10 tokens (1044 bytes), the file has 1046 bytes");
    write_raw_shard(scratch_path(&scratch, "minus.bin"), 20240520, 1, -1, tokens, 100);
    assert_refused("minus.bin", CONTEXT, VOCAB, SHOAL_EFORMAT, "header says -1 tokens");
}

static void context_longer_than_the_shard_is_refused(void **state)
{
    (void)state;
    write_counting_shard(scratch_path(&scratch, "hundred.bin"), 0, 100);
    assert_refused("hundred.bin", 256, VOCAB, SHOAL_EFORMAT,
                   "100 tokens are fewer than model.context + 1 = 257: lower model.context or use "
                   "more text");
    assert_refused("hundred.bin", 100, VOCAB, SHOAL_EFORMAT, "model.context + 1 = 101");
    struct data *d = NULL;
    assert_int_equal(data_open("data.train", scratch_path(&scratch, "hundred.bin"), 99, VOCAB, &d),
                     SHOAL_OK);
    assert_int_equal(data_windows(d), 1);
    assert_int_equal(data_epoch_sequences(d), 1);
    data_close(&d);
}

static void tokens_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    uint16_t tokens[100] = {0};
    tokens[3] = 255;
    tokens[17] = 300;
    tokens[50] = 400;
    write_raw_shard(scratch_path(&scratch, "vocab.bin"), 20240520, 1, 100, tokens, 100);
    assert_refused("vocab.bin", CONTEXT, 256, SHOAL_EFORMAT,
                   "token 300 at position 17 is not below model.vocab = 256");
    assert_refused("vocab.bin", CONTEXT, 300, SHOAL_EFORMAT, "token 300 at position 17");
    assert_refused("vocab.bin", CONTEXT, 400, SHOAL_EFORMAT, "token 400 at position 50");
    struct data *d = NULL;
    assert_int_equal(data_open("data.train", scratch_path(&scratch, "vocab.bin"), CONTEXT, 401, &d),
                     SHOAL_OK);
    data_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_lie_end_to_end),
        cmocka_unit_test(shards_come_in_the_order_of_their_names),
        cmocka_unit_test(a_path_with_glob_characters_is_a_path),
        cmocka_unit_test(a_shard_made_with_numpy_opens),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(foreign_files_are_refused),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(context_longer_than_the_shard_is_refused),
        cmocka_unit_test(tokens_outside_the_vocabulary_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
