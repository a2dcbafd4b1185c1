#include "data/alphabet.h"

/* The bytes that are not printable, as the codes that stand for them. */
static const struct {
    int first, last, code;
} moved[] = {{0x00, 0x20, 0x100}, {0x7F, 0xA0, 0x121}, {0xAD, 0xAD, 0x143}};
enum { MOVED = sizeof moved / sizeof moved[0], FIRST_MOVED = 0x100 };

static int code_of(int byte)
{
    for (int i = 0; i < MOVED; i++) {
        if (byte >= moved[i].first && byte <= moved[i].last)
            return moved[i].code + byte - moved[i].first;
    }
    return byte;
}

/* -1: no byte has this code. */
static int byte_of(int code)
{
    for (int i = 0; i < MOVED; i++) {
        if (code >= moved[i].first && code <= moved[i].last) return -1;
        const int byte = code - moved[i].code + moved[i].first;
        if (byte >= moved[i].first && byte <= moved[i].last) return byte;
    }
    return code < FIRST_MOVED ? code : -1;
}

void alphabet_text(char out[ALPHABET_TEXT], uint8_t byte)
{
    const int code = code_of(byte);
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = '\0';
        return;
    }
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    out[2] = '\0';
}

bool alphabet_bytes(char *out, size_t *n, const char *text)
{
    *n = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        int code = *s;
        if (code >= 0x80) {
            /* all of the alphabet has two bytes here; s[1] may be the final 0 */
            if (code < 0xC2 || code >= 0xE0 || (s[1] & 0xC0) != 0x80) return false;
            code = (code & 0x1F) << 6 | (*++s & 0x3F);
        }
        const int byte = byte_of(code);
        if (byte < 0) return false;
        out[(*n)++] = (char)byte;
    }
    return true;
}
