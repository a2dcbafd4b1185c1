/* unicode.h - which characters are letters, numbers and white space. Private to src/data. */
#pragma once
#include <stdint.h>

enum unicode_kind {
    UNICODE_OTHER,
    UNICODE_LETTER, /* general categories L*: \p{L} */
    UNICODE_NUMBER, /* N*: \p{N} */
    UNICODE_SPACE   /* the property White_Space: \s */
};

enum { UNICODE_END = 0x110000 };

struct unicode_range {
    uint32_t first, last; /* code points, both inside */
    enum unicode_kind kind;
};

/* In ascending order; what is in none of them is UNICODE_OTHER. */
extern const struct unicode_range unicode_ranges[];
extern const int unicode_range_count;
