/* value.c - values of options to and from text. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
#include "config/options.h"

static bool has_name(const struct option *o, const char *text, int *index)
{
    if (text[0] == 0) return false;
    for (int i = 0; o->names[i]; i++) {
        *index = i;
        if (strcmp(o->names[i], text) == 0) return true;
    }
    return false;
}

static bool in_range(const struct option *o, double value)
{
    return value >= o->min && (o->below_max ? value < o->max : value <= o->max);
}

/* Whole text as a decimal number; strtod alone would also take "nan", "0x1" and blanks. */
static bool parse_number(const char *text, double *value)
{
    if (text[0] == 0 || strspn(text, "0123456789.eE+-") != strlen(text)) return false;
    char *end;
    *value = strtod(text, &end);
    return *end == 0 && isfinite(*value);
}

static bool parse_whole(const char *text, int64_t *value)
{
    if (text[0] == 0 || strspn(text, "0123456789+-") != strlen(text)) return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return *end == 0 && errno == 0;
}

/* UTF-8 without control characters: what YAML can hold. */
static bool printable(const char *text)
{
    while (*text) {
        const size_t length = utf8_length(text);
        if (length == 0 || (unsigned char)*text < 0x20 || *text == 0x7F) return false;
        text += length;
    }
    return true;
}

static bool set_named(const struct option *o, const char *text, void *member)
{
    int index;
    if (!has_name(o, text, &index)) return false;
    memcpy(member, &index, sizeof index);
    return true;
}

static bool set_whole(const struct option *o, const char *text, void *member)
{
    int64_t value;
    if (o->zero && strcmp(text, o->zero) == 0)
        value = 0;
    else if (!parse_whole(text, &value) || !in_range(o, (double)value))
        return false;
    const int narrow = (int)value; /* ranges of int options fit an int */
    if (o->type == OPTION_INT) {
        memcpy(member, &narrow, sizeof narrow);
    } else {
        memcpy(member, &value, sizeof value);
    }
    return true;
}

static bool set_number(const struct option *o, const char *text, void *member)
{
    double value;
    if (!parse_number(text, &value) || !in_range(o, value)) return false;
    if (o->type == OPTION_DOUBLE) {
        memcpy(member, &value, sizeof value);
        return true;
    }
    const float narrow = strtof(text, NULL);
    if (!in_range(o, (double)narrow)) return false; /* 0.99999999999 rounds to 1 */
    memcpy(member, &narrow, sizeof narrow);
    return true;
}

static bool set_bool(const char *text, void *member)
{
    const bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0) return false;
    memcpy(member, &value, sizeof value);
    return true;
}

static bool set_string(const struct option *o, const char *text, char *member)
{
    int index;
    const bool empty_default = text[0] == 0 && o->fallback[0] == 0;
    if (o->names && !empty_default && !has_name(o, text, &index)) return false;
    if (strlen(text) >= o->size || !printable(text)) return false;
    memset(member, 0, o->size);
    memcpy(member, text, strlen(text));
    return true;
}

static bool set_member(const struct option *o, const char *text, void *member)
{
    switch (o->type) {
    case OPTION_INT:
        return o->names ? set_named(o, text, member) : set_whole(o, text, member);
    case OPTION_INT64:
        return set_whole(o, text, member);
    case OPTION_DOUBLE:
    case OPTION_FLOAT:
        return set_number(o, text, member);
    case OPTION_BOOL:
        return set_bool(text, member);
    case OPTION_STRING:
        return set_string(o, text, member);
    }
    return false;
}

enum shoal_status option_set(struct config *c, const struct option *o, const char *text)
{
    if (set_member(o, text, (char *)c + o->offset)) return SHOAL_OK;
    char expected[OPTION_EXPECTED];
    option_expected(expected, o);
    return SHOAL_FAIL(SHOAL_ECONFIG, "%s must be %s, found '%.200s'", o->key, expected, text);
}

/* A member of any type, wide enough for all but strings. */
struct number {
    int i;
    int64_t l;
    double d;
    float f;
    bool b;
};

static struct number read_member(const struct config *c, const struct option *o)
{
    struct number n = {0, 0, 0, 0, false};
    void *const into[] = {[OPTION_INT] = &n.i,
                          [OPTION_INT64] = &n.l,
                          [OPTION_DOUBLE] = &n.d,
                          [OPTION_FLOAT] = &n.f,
                          [OPTION_BOOL] = &n.b};
    if (o->type != OPTION_STRING) memcpy(into[o->type], (const char *)c + o->offset, o->size);
    return n;
}

/* The name of a value; NULL where it has none. */
static const char *name_of(const struct option *o, int value)
{
    if (!o->names || value < 0) return NULL;
    for (int i = 0; o->names[i]; i++) {
        if (i == value) return o->names[i];
    }
    return NULL;
}

void option_text(char *out, const struct config *c, const struct option *o)
{
    const struct number n = read_member(c, o);
    const char *name = o->type == OPTION_INT ? name_of(o, n.i) : NULL;
    switch (o->type) {
    case OPTION_INT:
        if (name) {
            snprintf(out, OPTION_TEXT, "%s", name);
        } else {
            snprintf(out, OPTION_TEXT, "%d", n.i);
        }
        break;
    case OPTION_INT64:
        if (o->zero && n.l == 0)
            snprintf(out, OPTION_TEXT, "%s", o->zero);
        else
            snprintf(out, OPTION_TEXT, "%lld", (long long)n.l);
        break;
    case OPTION_DOUBLE:
        number_text(out, n.d);
        break;
    case OPTION_FLOAT:
        number_text_f32(out, n.f);
        break;
    case OPTION_BOOL:
        snprintf(out, OPTION_TEXT, "%s", n.b ? "true" : "false");
        break;
    case OPTION_STRING:
        snprintf(out, OPTION_TEXT, "%s", (const char *)c + o->offset);
        break;
    }
}

static void expected_name(char *out, const struct option *o)
{
    size_t used = 0;
    const bool may_be_empty = o->type == OPTION_STRING && o->fallback[0] == 0;
    used += (size_t)snprintf(out, OPTION_EXPECTED, "%s", may_be_empty ? "empty or " : "");
    const char *separator = o->names[1] ? "one of " : "";
    for (int i = 0; o->names[i]; i++) {
        if (o->names[i][0] == 0) continue;
        used +=
            (size_t)snprintf(out + used, OPTION_EXPECTED - used, "%s%s", separator, o->names[i]);
        separator = ", ";
    }
}

void option_expected(char *out, const struct option *o)
{
    char low[NUMBER_TEXT], high[NUMBER_TEXT];
    const bool whole = o->type == OPTION_INT || o->type == OPTION_INT64;
    snprintf(low, sizeof low, whole ? "%.0f" : "%g", o->min);
    snprintf(high, sizeof high, whole ? "%.0f" : "%g", o->max);
    if (o->names) {
        expected_name(out, o);
    } else if (o->type == OPTION_BOOL) {
        snprintf(out, OPTION_EXPECTED, "true or false");
    } else if (o->type == OPTION_STRING) {
        snprintf(out, OPTION_EXPECTED, "UTF-8 text of at most %zu bytes on one line", o->size - 1);
    } else if (o->min == o->max) {
        snprintf(out, OPTION_EXPECTED, "%s in this version", low);
    } else {
        snprintf(out, OPTION_EXPECTED, "%s%sa %snumber from %s to %s%s", o->zero ? o->zero : "",
                 o->zero ? " or " : "", whole ? "whole " : "", low, o->below_max ? "below " : "",
                 high);
    }
}
