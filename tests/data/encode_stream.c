/* Encodes the texts on standard input, for comparison with other tokenizers. Usage: encode_stream
 * VOCAB, or encode_stream --words. A text is its length, a little-endian uint32, and its bytes; the
 * answer to each is the number of tokens, uint32, and the tokens, uint16. On the way every text is
 * encoded a second time in pieces of changing length, which must give the same, and decoded again.
 * With --words the answer is not tokens, but the number of bytes of each word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "data/tokenizer.h"
#include "data/words.h"

enum { LONGEST_PIECE = 61 };

static void die(const char *what)
{
    fprintf(stderr, "encode_stream: %s (%s)\n", what, shoal_failure_text());
    exit(1);
}

static void encode_whole(struct tokenizer *t, struct token_list *out, const char *text, size_t n)
{
    size_t used;
    out->count = 0;
    if (tokenizer_encode(t, out, &used, text, n, true) != SHOAL_OK) die("encode");
    if (used != n) die("a part of the last text was left over");
}

/* As somebody who reads a file bit by bit. A piece lies in memory of its own length, so that the
 * address sanitizer sees reads behind it. */
static void encode_pieces(struct tokenizer *t, struct token_list *out, const char *text, size_t n)
{
    size_t begin = 0, end = 0;
    out->count = 0;
    while (begin < n || end < n) {
        end += 1 + (end * 2654435761u >> 7) % LONGEST_PIECE;
        if (end > n) end = n;
        size_t used;
        char *piece = malloc(end - begin + 1);
        if (!piece) die("out of memory");
        char *exact = piece + 1; /* ends where the allocation ends */
        memcpy(exact, text + begin, end - begin);
        if (tokenizer_encode(t, out, &used, exact, end - begin, end == n) != SHOAL_OK)
            die("encode a piece");
        free(piece);
        begin += used;
        if (end == n && begin != n) die("a part of the last piece was left over");
    }
}

static void check_round_trip(struct tokenizer *t, const struct token_list *tokens, const char *text,
                             size_t n)
{
    size_t at = 0, length;
    for (size_t i = 0; i < tokens->count; i++, at += length) {
        const char *bytes = tokenizer_decode(t, tokens->token[i], &length);
        if (length > n - at || memcmp(bytes, text + at, length) != 0) die("decoded to other bytes");
    }
    if (at != n) die("decoded to fewer bytes");
}

static void put(const void *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, stdout) != n) die("write");
}

static void cut(const struct words *w, struct token_list *out, const char *text, size_t n)
{
    out->count = 0;
    if (token_list_reserve(out, n) != SHOAL_OK) die("out of memory");
    for (size_t at = 0, length; at < n; at += length) {
        length = words_next(w, text + at, n - at, true);
        if (length == 0 || length > UINT16_MAX) die("a word of no or too many bytes");
        out->token[out->count++] = (uint16_t)length;
    }
}

int main(int argc, char **argv)
{
    struct tokenizer *t = NULL;
    struct words *w = NULL;
    struct token_list answer = {0}, pieces = {0};
    uint32_t n;
    if (argc != 2) die("usage: encode_stream VOCAB, or encode_stream --words");
    const bool only_words = strcmp(argv[1], "--words") == 0;
    const enum shoal_status st =
        only_words ? words_create(&w) : tokenizer_open("gpt2", argv[1], &t);
    if (st != SHOAL_OK) die("open");
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        char *text = malloc((size_t)n + 1);
        if (!text || fread(text, 1, n, stdin) != n) die("read");
        if (only_words) {
            cut(w, &answer, text, n);
        } else {
            encode_whole(t, &answer, text, n);
            encode_pieces(t, &pieces, text, n);
            if (pieces.count != answer.count ||
                memcmp(pieces.token, answer.token, answer.count * sizeof *answer.token) != 0)
                die("a text in pieces gives other tokens");
            check_round_trip(t, &answer, text, n);
        }
        const uint32_t count = (uint32_t)answer.count;
        put(&count, sizeof count);
        put(answer.token, answer.count * sizeof *answer.token);
        free(text);
    }
    token_list_free(&answer);
    token_list_free(&pieces);
    tokenizer_close(&t);
    words_destroy(&w);
    return 0;
}
