/* By hand instead of by a library for regular expressions: the pattern needs one character of
 * foresight and nothing is ever taken back but the last character of white space, so one pass over
 * the bytes with a table of kinds does it, and the version of Unicode does not depend on what is
 * installed. */
#include "data/words.h"
#include <stdint.h>
#include <string.h>
#include "base/memory.h"
#include "data/unicode.h"

/* Bytes behind the end of a word that can matter: one whole character. */
enum { FORESIGHT = 4 };

struct words {
    uint8_t kind[UNICODE_END]; /* enum unicode_kind of every code point */
};

struct character {
    unsigned kind; /* enum unicode_kind */
    size_t bytes;
};

enum shoal_status words_create(struct words **out)
{
    struct words *w;
    SHOAL_TRY(mem_alloc(sizeof *w, "kinds of characters", &w));
    for (int i = 0; i < unicode_range_count; i++) {
        const struct unicode_range *r = &unicode_ranges[i];
        memset(w->kind + r->first, (int)r->kind, r->last - r->first + 1);
    }
    *out = w;
    return SHOAL_OK;
}

void words_destroy(struct words **w)
{
    mem_free(*w);
    *w = NULL;
}

/* The character at s[0] >= 0x80, of whose text n > 0 bytes are left. */
static struct character beyond_ascii(const struct words *w, const unsigned char *s, size_t n)
{
    /* By the number of bytes: what the first one adds to the code, and the least code. */
    static const uint32_t mark[] = {0, 0, 0xC0, 0xE0, 0xF0}, least[] = {0, 0, 0x80, 0x800, 0x10000};
    const struct character invalid = {UNICODE_OTHER, 1};
    const size_t bytes = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 1;
    if (bytes == 1 || bytes > n) return invalid;
    uint32_t code = s[0] - mark[bytes];
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xC0) != 0x80) return invalid;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < least[bytes] || code >= UNICODE_END) return invalid; /* surrogates are signs too */
    return (struct character){w->kind[code], bytes};
}

static inline struct character character_at(const struct words *w, const unsigned char *s, size_t n)
{
    if (s[0] < 0x80) return (struct character){w->kind[s[0]], 1};
    return beyond_ascii(w, s, n);
}

/* Where the run of characters of one kind that goes on at `at` ends; *before_last: where its last
 * character begins, unchanged when the run is empty. */
static size_t run_end(const struct words *w, const unsigned char *s, size_t at, size_t n,
                      unsigned kind, size_t *before_last)
{
    while (at < n) {
        const struct character c = character_at(w, s + at, n - at);
        if (c.kind != kind) break;
        *before_last = at;
        at += c.bytes;
    }
    return at;
}

/* Bytes of 's, 't, 're, 've, 'm, 'll or 'd at s; 0 if there is none. */
static size_t contraction(const unsigned char *s, size_t n)
{
    if (s[0] != '\'' || n < 2) return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
    if (n < 3) return 0;
    const bool two = (s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') ||
                     (s[1] == 'l' && s[2] == 'l');
    return two ? 3 : 0;
}

size_t words_next(const struct words *w, const char *text, size_t n, bool last)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0 || (n < FORESIGHT && !last)) return 0;
    const size_t short_form = contraction(s, n);
    if (short_form > 0) return short_form;
    struct character first = character_at(w, s, n);
    size_t begin = 0, before_last = 0;
    if (s[0] == ' ' && n > 1) { /* belongs to the word that follows, if one does */
        const struct character second = character_at(w, s + 1, n - 1);
        if (second.kind != UNICODE_SPACE) {
            first = second;
            begin = 1;
        }
    }
    const size_t end = run_end(w, s, begin, n, first.kind, &before_last);
    if (!last && end + FORESIGHT > n) return 0;
    /* White space before something else leaves its last character to what follows. */
    const bool shared = first.kind == UNICODE_SPACE && end < n && before_last > 0;
    return shared ? before_last : end;
}
