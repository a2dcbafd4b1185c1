/* yaml.c - a YAML file as a list of assignments: nested mappings become dotted keys. Lists, anchors
 * and repeated keys are refused, since a later value would silently replace an earlier one. */
#include <string.h>
#include <yaml.h>
#include "config/assignments.h"

enum { KEY_BYTES = 128 };

struct reader {
    yaml_parser_t parser;
    struct assignments *list;
    char key[KEY_BYTES]; /* dotted, of the mapping or value being read */
};

/* 1-based. */
static int line_of(yaml_mark_t mark)
{
    return (int)mark.line + 1;
}

#define YAML_CHECK(cond, mark, ...)                                                                \
    do {                                                                                           \
        if (!(cond)) return yaml_refuse(r, (mark), __VA_ARGS__);                                   \
    } while (0)

static enum shoal_status yaml_refuse(const struct reader *r, yaml_mark_t mark, const char *what,
                                     const char *detail)
{
    return SHOAL_FAIL(SHOAL_ECONFIG, "%s:%d: %s%.200s", r->list->file, line_of(mark), what, detail);
}

/* The next event; the caller deletes it. */
static enum shoal_status next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event)) return SHOAL_OK;
    const yaml_mark_t mark =
        r->parser.error == YAML_READER_ERROR ? r->parser.mark : r->parser.problem_mark;
    return yaml_refuse(r, mark,
                       "not valid YAML: ", r->parser.problem ? r->parser.problem : "out of memory");
}

/* Append ".name" to the key; *end is where to cut it off again. */
static enum shoal_status push_key(struct reader *r, const yaml_event_t *event, size_t *end)
{
    YAML_CHECK(event->type == YAML_SCALAR_EVENT, event->start_mark, "a key must be a plain word",
               "");
    const char *name = (const char *)event->data.scalar.value;
    YAML_CHECK(!event->data.scalar.anchor, event->start_mark, "anchors are not supported: &",
               (const char *)event->data.scalar.anchor);
    YAML_CHECK(strlen(name) == event->data.scalar.length, event->start_mark,
               "a key holds a zero byte: ", name);
    *end = strlen(r->key);
    const size_t room = sizeof r->key - *end;
    const int wrote = snprintf(r->key + *end, room, "%s%s", *end ? "." : "", name);
    YAML_CHECK(wrote >= 0 && (size_t)wrote < room, event->start_mark,
               "key is too long or nested too deeply: ", name);
    return SHOAL_OK;
}

static enum shoal_status read_scalar(struct reader *r, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    YAML_CHECK(!event->data.scalar.anchor, event->start_mark, "anchors are not supported: &",
               (const char *)event->data.scalar.anchor);
    YAML_CHECK(strlen(value) == event->data.scalar.length, event->start_mark,
               "a value holds a zero byte: ", value);
    /* "train:" whose options are all commented out */
    if (value[0] == 0 && option_is_group(r->key)) return SHOAL_OK;
    return assignments_add(r->list, r->key, value, line_of(event->start_mark), NULL);
}

static enum shoal_status read_mapping(struct reader *r);

static enum shoal_status read_value(struct reader *r, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
        YAML_CHECK(!event->data.mapping_start.anchor, event->start_mark,
                   "anchors are not supported: &", (const char *)event->data.mapping_start.anchor);
        return read_mapping(r);
    case YAML_SEQUENCE_START_EVENT:
        return yaml_refuse(r, event->start_mark, r->key, " must be one value, not a list");
    default:
        return yaml_refuse(r, event->start_mark, r->key,
                           " must be written out; aliases (*name) are not supported");
    }
}

/* Everything after a mapping's start. Nesting is bounded by the length of a key. */
static enum shoal_status read_mapping(struct reader *r)
{
    for (bool more = true; more;) {
        yaml_event_t event;
        SHOAL_TRY(next_event(r, &event));
        more = event.type != YAML_MAPPING_END_EVENT;
        size_t end = 0;
        enum shoal_status st = more ? push_key(r, &event, &end) : SHOAL_OK;
        yaml_event_delete(&event);
        if (st != SHOAL_OK || !more) return st;

        SHOAL_TRY(next_event(r, &event));
        st = read_value(r, &event);
        yaml_event_delete(&event);
        SHOAL_TRY(st);
        r->key[end] = 0;
    }
    return SHOAL_OK;
}

/* What stands at the top: one mapping, or nothing at all. */
static enum shoal_status read_top(struct reader *r, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return SHOAL_OK;
    case YAML_DOCUMENT_START_EVENT:
        YAML_CHECK(r->list->count == 0, event->start_mark, "a second document begins here; ",
                   "a configuration is one");
        return SHOAL_OK;
    case YAML_MAPPING_START_EVENT:
        return read_mapping(r);
    default:
        YAML_CHECK(event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0,
                   event->start_mark, "expected 'key: value' lines", "");
        return SHOAL_OK;
    }
}

enum shoal_status yaml_read(struct assignments *list, const char *text, size_t bytes)
{
    struct reader r = {.list = list};
    SHOAL_CHECK(yaml_parser_initialize(&r.parser), SHOAL_ENOMEM, "no memory to read '%s'",
                list->file);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    enum shoal_status st = SHOAL_OK;
    for (bool more = true; more && st == SHOAL_OK;) {
        yaml_event_t event;
        SHOAL_GOTO(next_event(&r, &event));
        more = event.type != YAML_STREAM_END_EVENT;
        st = read_top(&r, &event);
        yaml_event_delete(&event);
    }
done:
    yaml_parser_delete(&r.parser);
    return st;
}
