/* text.c - numbers that round trip, UTF-8, and edit distance for "did you mean". */
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whole numbers that a double holds exactly are written out: 640, not 6.4e+02. */
static bool whole_text(char *out, double value)
{
    if (!(fabs(value) < 1e15) || value != trunc(value) || (value == 0 && signbit(value)))
        return false;
    snprintf(out, NUMBER_TEXT, "%.0f", value);
    return true;
}

void number_text(char *out, double value)
{
    if (whole_text(out, value)) return;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, NUMBER_TEXT, "%.*g", digits, value);
        if (strtod(out, NULL) == value) return;
    }
}

void number_text_f32(char *out, float value)
{
    if (whole_text(out, (double)value)) return;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(out, NUMBER_TEXT, "%.*g", digits, (double)value);
        if (strtof(out, NULL) == value) return;
    }
}

/* Length that a first byte announces, with the smallest code point that may be so long. */
static size_t utf8_announced(unsigned char first, unsigned *bits, unsigned *smallest)
{
    if (first < 0x80) {
        *bits = first;
        *smallest = 0;
        return 1;
    }
    if ((first & 0xE0) == 0xC0) {
        *bits = first & 0x1Fu;
        *smallest = 0x80;
        return 2;
    }
    if ((first & 0xF0) == 0xE0) {
        *bits = first & 0x0Fu;
        *smallest = 0x800;
        return 3;
    }
    if ((first & 0xF8) == 0xF0) {
        *bits = first & 0x07u;
        *smallest = 0x10000;
        return 4;
    }
    return 0;
}

size_t utf8_length(const char *s)
{
    unsigned code, smallest;
    const size_t length = utf8_announced((unsigned char)s[0], &code, &smallest);
    for (size_t i = 1; i < length; i++) {
        const unsigned char next = (unsigned char)s[i];
        if ((next & 0xC0) != 0x80) return 0; /* also stops at the end of s */
        code = code << 6 | (next & 0x3Fu);
    }
    if (length == 0) return 0;
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < smallest || code > 0x10FFFF || surrogate ? 0 : length;
}

static int min3(int a, int b, int c)
{
    const int m = a < b ? a : b;
    return m < c ? m : c;
}

int text_distance(const char *a, const char *b)
{
    enum { LONGEST = 127 };
    const int na = (int)strnlen(a, LONGEST), nb = (int)strnlen(b, LONGEST);
    /* Three rows of the dynamic programme: two back (for swaps), one back, present. */
    int rows[3][LONGEST + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (int j = 0; j <= nb; j++)
        last[j] = before[j] = j;
    for (int i = 1; i <= na; i++) {
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            const bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swap && before[j - 2] + 1 < now[j]) now[j] = before[j - 2] + 1;
        }
        int *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[nb];
}
