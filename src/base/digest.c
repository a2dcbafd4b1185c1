/* digest.c - see digest.h. Four lanes take eight bytes each in turn, so that a processor multiplies
 * four times at once. */
#include "base/digest.h"
#include <string.h>
#include "base/input.h"
#include "base/memory.h"

static const uint64_t prime1 = 0x9E3779B185EBCA87u, prime2 = 0xC2B2AE3D27D4EB4Fu,
                      prime3 = 0x165667B19E3779F9u, prime4 = 0x85EBCA77C2B2AE63u,
                      prime5 = 0x27D4EB2F165667C5u;

enum { STRIPE = 32, FILE_PART = 1 << 18 /* stays in a core's cache */ };

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* Little-endian, as all machines of ours are. */
static uint64_t word64(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t word32(const unsigned char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t turn(uint64_t lane, uint64_t word)
{
    return rotate(lane + word * prime2, 31) * prime1;
}

static void add_stripe(struct digest *d, const unsigned char *at)
{
    for (int i = 0; i < 4; i++)
        d->lane[i] = turn(d->lane[i], word64(at + 8 * i));
}

void digest_begin(struct digest *d)
{
    memset(d, 0, sizeof *d);
    d->lane[0] = prime1 + prime2;
    d->lane[1] = prime2;
    d->lane[3] = 0 - prime1;
}

void digest_add(struct digest *d, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    const size_t kept = (size_t)(d->bytes % STRIPE);
    d->bytes += bytes;
    if (kept > 0) {
        const size_t part = bytes < STRIPE - kept ? bytes : STRIPE - kept;
        memcpy(d->kept + kept, at, part);
        if (kept + part < STRIPE) return;
        add_stripe(d, d->kept);
        at += part;
        bytes -= part;
    }
    for (; bytes >= STRIPE; at += STRIPE, bytes -= STRIPE)
        add_stripe(d, at);
    if (bytes > 0) memcpy(d->kept, at, bytes);
}

static uint64_t join_lanes(const struct digest *d)
{
    const int turns[] = {1, 7, 12, 18};
    uint64_t sum = 0;
    if (d->bytes < STRIPE) return prime5;
    for (int i = 0; i < 4; i++)
        sum += rotate(d->lane[i], turns[i]);
    for (int i = 0; i < 4; i++)
        sum = (sum ^ turn(0, d->lane[i])) * prime1 + prime4;
    return sum;
}

uint64_t digest_value(const struct digest *d)
{
    const unsigned char *at = d->kept, *end = d->kept + d->bytes % STRIPE;
    uint64_t sum = join_lanes(d) + d->bytes;
    for (; end - at >= 8; at += 8)
        sum = rotate(sum ^ turn(0, word64(at)), 27) * prime1 + prime4;
    for (; end - at >= 4; at += 4)
        sum = rotate(sum ^ word32(at) * prime1, 23) * prime2 + prime3;
    for (; at < end; at++)
        sum = rotate(sum ^ *at * prime5, 11) * prime1;
    sum = (sum ^ sum >> 33) * prime2;
    sum = (sum ^ sum >> 29) * prime3;
    return sum ^ sum >> 32;
}

static enum shoal_status add_file(struct digest *d, const struct input *in, int64_t from)
{
    unsigned char *part = NULL;
    enum shoal_status st;
    SHOAL_TRY(mem_alloc(FILE_PART, "a part of a file", &part));
    for (int64_t at = from; at < in->bytes; at += FILE_PART) {
        const int64_t left = in->bytes - at, bytes = left < FILE_PART ? left : FILE_PART;
        SHOAL_GOTO(input_read(in, part, at, bytes));
        digest_add(d, part, (size_t)bytes);
    }
    st = SHOAL_OK;
done:
    mem_free(part);
    return st;
}

enum shoal_status digest_file(const char *path, int64_t from, uint64_t *out, int64_t *bytes)
{
    struct digest d;
    struct input in = INPUT_CLOSED;
    digest_begin(&d);
    SHOAL_TRY(input_open(&in, path));
    enum shoal_status st = add_file(&d, &in, from);
    if (st == SHOAL_OK && in.bytes < from)
        st = SHOAL_FAIL(SHOAL_EFORMAT, "%s: is shorter than %lld bytes", path, (long long)from);
    input_close(&in);
    *out = digest_value(&d);
    if (bytes) *bytes = in.bytes - from;
    return st;
}
