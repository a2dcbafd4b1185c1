#!/usr/bin/env python3
"""The kinds of characters that GPT-2's tokenizer tells apart, as the C table src/data/unicode_ranges.c.

    pip install unicodedata2==16.0.0
    python3 scripts/unicode_ranges.py > src/data/unicode_ranges.c

The version is part of the format: a newer one gives other tokens for text with letters that an older
one does not know. 16.0.0 is the one of tiktoken 0.14 and of Hugging Face's tokenizers 0.23."""
import sys

import unicodedata2

VERSION = "16.0.0"
WIDTH = 100

HEAD = """\
/* Made by scripts/unicode_ranges.py from Unicode {version}; not edited by hand. */
#include "data/unicode.h"

/* clang-format off */
const struct unicode_range unicode_ranges[] = {{
{rows}
}};
/* clang-format on */
const int unicode_range_count = sizeof unicode_ranges / sizeof unicode_ranges[0];
"""


def kind(code):
    """Of the White_Space property: all separators and six controls. None: none of the three."""
    category = unicodedata2.category(chr(code))
    if category[0] == "Z" or 0x09 <= code <= 0x0D or code == 0x85:
        return "UNICODE_SPACE"
    return {"L": "UNICODE_LETTER", "N": "UNICODE_NUMBER"}.get(category[0])


def ranges():
    first, current = 0, kind(0)
    for code in range(1, 0x110001):
        following = kind(code) if code < 0x110000 else None
        if following != current or code == 0x110000:
            if current:
                yield first, code - 1, current
            first, current = code, following


def lines(cells):
    line = "   "
    for cell in cells:
        if len(line) + 1 + len(cell) > WIDTH:
            yield line
            line = "   "
        line += " " + cell
    yield line


if unicodedata2.unidata_version != VERSION:
    sys.exit(f"unicodedata2 knows Unicode {unicodedata2.unidata_version}, not {VERSION}")
rows = lines(f"{{0x{first:X}, 0x{last:X}, {name}}}," for first, last, name in ranges())
print(HEAD.format(version=VERSION, rows="\n".join(rows)), end="")
