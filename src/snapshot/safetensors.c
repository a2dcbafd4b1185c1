/* safetensors.c - reading. The rules are those of the format's own library, so that what one of the
 * two refuses the other does not take for something else. */
#include "snapshot/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json_read.h"
#include "base/memory.h"

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 32 << 20 /* that of a model of 1000 layers: 2 MiB */ };

#define DAMAGED "; the file is damaged, fetch it again"

/* Bytes of an element of each type there is; only some can be read. */
static const struct {
    const char *name;
    int64_t bytes;
} dtypes[] = {{"F32", 4},     {"BF16", 2},    {"F16", 2}, {"F64", 8}, {"I64", 8},
              {"U64", 8},     {"I32", 4},     {"U32", 4}, {"I16", 2}, {"U16", 2},
              {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};

/* ---- one tensor ------------------------------------------------------------------------------ */

static int64_t element_bytes(const char *dtype)
{
    for (size_t i = 0; dtype && i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtype, dtypes[i].name) == 0) return dtypes[i].bytes;
    return 0;
}

/* A whole number of the header that is not negative. */
static bool get_size(struct json_object *value, int64_t *out)
{
    if (!json_is_number(value)) return false;
    *out = json_object_get_int64(value);
    return *out >= 0;
}

static enum shoal_status get_shape(const struct safetensors *s, struct json_object *shape,
                                   struct safetensor *t)
{
    const size_t rank = json_count(shape);
    SHOAL_CHECK(json_object_is_type(shape, json_type_array) && rank <= SAFETENSOR_RANK,
                SHOAL_EFORMAT, "%s: tensor '%.80s' has no shape of at most %d dimensions" DAMAGED,
                s->path, t->name, SAFETENSOR_RANK);
    t->rank = (int)rank;
    for (int i = 0; i < t->rank; i++)
        SHOAL_CHECK(get_size(json_item(shape, (size_t)i), &t->dim[i]), SHOAL_EFORMAT,
                    "%s: dimension %d of tensor '%.80s' is not a size" DAMAGED, s->path, i,
                    t->name);
    return SHOAL_OK;
}

/* Where the data lies, which is as much as the shape says. data: bytes behind the header. */
static enum shoal_status get_place(const struct safetensors *s, struct json_object *offsets,
                                   int64_t data, struct safetensor *t)
{
    int64_t begin = 0, end = 0, bytes = element_bytes(t->dtype);
    const bool known = json_count(offsets) == 2 && get_size(json_item(offsets, 0), &begin) &&
                       get_size(json_item(offsets, 1), &end) && begin <= end && end <= data;
    SHOAL_CHECK(known, SHOAL_EFORMAT,
                "%s: tensor '%.80s' does not lie in the %lld bytes of data behind the header: the "
                "file is truncated or damaged, fetch it again",
                s->path, t->name, (long long)data);
    /* Bounded by the file's size at every step: nothing can overflow. */
    for (int i = 0; i < t->rank; i++) {
        SHOAL_CHECK(bytes == 0 || t->dim[i] <= data / bytes, SHOAL_EFORMAT,
                    "%s: the shape of tensor '%.80s' asks for more than the file has" DAMAGED,
                    s->path, t->name);
        bytes *= t->dim[i];
    }
    SHOAL_CHECK(bytes == end - begin, SHOAL_EFORMAT,
                "%s: tensor '%.80s' has %lld bytes, its shape needs %lld" DAMAGED, s->path, t->name,
                (long long)(end - begin), (long long)bytes);
    t->begin = s->in.bytes - data + begin;
    t->bytes = bytes;
    return SHOAL_OK;
}

static enum shoal_status get_tensor(const struct safetensors *s, struct json_object *entry,
                                    int64_t data, struct safetensor *t)
{
    SHOAL_CHECK(json_object_is_type(entry, json_type_object), SHOAL_EFORMAT,
                "%s: the header says nothing about tensor '%.80s'" DAMAGED, s->path, t->name);
    t->dtype = json_text_of(json_object_object_get(entry, "dtype"));
    SHOAL_CHECK(element_bytes(t->dtype) > 0, SHOAL_EFORMAT,
                "%s: tensor '%.80s' has a type that is not known ('%.20s')", s->path, t->name,
                t->dtype ? t->dtype : "none");
    SHOAL_TRY(get_shape(s, json_object_object_get(entry, "shape"), t));
    return get_place(s, json_object_object_get(entry, "data_offsets"), data, t);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* One after the other, from the first byte of the data to the last. Files that name the same bytes
 * twice could claim to be far larger than they are. */
static enum shoal_status check_places(struct safetensors *s, int64_t data)
{
    int64_t at = s->in.bytes - data;
    qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_place);
    for (int i = 0; i < s->n; i++) {
        SHOAL_CHECK(s->tensor[i].begin == at, SHOAL_EFORMAT,
                    "%s: tensor '%.80s' overlaps another one, or there is a gap before it" DAMAGED,
                    s->path, s->tensor[i].name);
        at += s->tensor[i].bytes;
    }
    SHOAL_CHECK(at == s->in.bytes, SHOAL_EFORMAT,
                "%s: %lld bytes at its end belong to no tensor" DAMAGED, s->path,
                (long long)(s->in.bytes - at));
    qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_name);
    return SHOAL_OK;
}

static enum shoal_status get_tensors(struct safetensors *s, int64_t data)
{
    const int entries = json_object_object_length(s->header);
    SHOAL_TRY(mem_alloc((size_t)entries * sizeof *s->tensor, "tensors of a file", &s->tensor));
    struct json_object_iterator i = json_object_iter_begin(s->header);
    const struct json_object_iterator end = json_object_iter_end(s->header);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
        const char *name = json_object_iter_peek_name(&i);
        if (strcmp(name, "__metadata__") == 0) continue;
        s->tensor[s->n].name = name;
        SHOAL_TRY(get_tensor(s, json_object_iter_peek_value(&i), data, &s->tensor[s->n]));
        s->n++;
    }
    return check_places(s, data);
}

static enum shoal_status header_bytes(const struct safetensors *s, int64_t *out)
{
    unsigned char length[LENGTH_BYTES];
    uint64_t bytes = 0;
    SHOAL_CHECK(s->in.bytes >= LENGTH_BYTES, SHOAL_EFORMAT,
                "%s: is truncated: %lld bytes are no safetensors file; fetch it again", s->path,
                (long long)s->in.bytes);
    SHOAL_TRY(input_read(&s->in, length, 0, sizeof length));
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        bytes = bytes << 8 | length[i];
    SHOAL_CHECK(bytes <= MAX_HEADER_BYTES && bytes <= (uint64_t)s->in.bytes - LENGTH_BYTES,
                SHOAL_EFORMAT,
                "%s: is not a safetensors file, or truncated: its header would have %llu bytes",
                s->path, (unsigned long long)bytes);
    *out = (int64_t)bytes;
    return SHOAL_OK;
}

static enum shoal_status read_header(struct safetensors *s, int64_t bytes)
{
    char *text;
    SHOAL_TRY(mem_alloc((size_t)bytes + 1, "the header of a file", &text));
    enum shoal_status st;
    SHOAL_GOTO(input_read(&s->in, text, LENGTH_BYTES, bytes));
    SHOAL_GOTO(json_parse(s->path, text, (size_t)bytes, "a header", "of tensors", &s->header));
done:
    mem_free(text);
    return st;
}

enum shoal_status safetensors_open(struct safetensors *s, const char *path)
{
    int64_t bytes = 0;
    *s = (struct safetensors){.in = INPUT_CLOSED};
    SHOAL_TRY(path_format(s->path, "%s", path));
    SHOAL_TRY(input_open(&s->in, s->path));
    SHOAL_TRY(header_bytes(s, &bytes));
    SHOAL_TRY(read_header(s, bytes));
    return get_tensors(s, s->in.bytes - LENGTH_BYTES - bytes);
}

void safetensors_close(struct safetensors *s)
{
    input_close(&s->in);
    json_object_put(s->header);
    mem_free(s->tensor);
    *s = (struct safetensors){.in = INPUT_CLOSED};
}

const struct safetensor *safetensors_find(const struct safetensors *s, const char *name)
{
    const struct safetensor wanted = {.name = name};
    return s->n ? bsearch(&wanted, s->tensor, (size_t)s->n, sizeof *s->tensor, by_name) : NULL;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* "(2, 3)" */
static const char *shape_text(char out[160], int rank, const int64_t *dim)
{
    int length = snprintf(out, 160, "(");
    for (int i = 0; i < rank; i++)
        length += snprintf(out + length, 160 - (size_t)length, "%s%lld", i ? ", " : "",
                           (long long)dim[i]);
    snprintf(out + length, 160 - (size_t)length, ")");
    return out;
}

enum shoal_status safetensors_check(const struct safetensors *s, const struct safetensor *t,
                                    struct tensor_shape shape)
{
    char found[160], wanted[160];
    enum number type;
    const size_t bytes = (size_t)shape.rank * sizeof *t->dim;
    SHOAL_CHECK(t->rank == shape.rank && memcmp(t->dim, shape.dim, bytes) == 0, SHOAL_EFORMAT,
                "%s: tensor '%.80s' has shape %s, but config.json makes it %s: the two are not of "
                "one model",
                s->path, t->name, shape_text(found, t->rank, t->dim),
                shape_text(wanted, shape.rank, shape.dim));
    SHOAL_CHECK(number_named(t->dtype, &type), SHOAL_EFORMAT,
                "%s: tensor '%.80s' holds %s; F32, BF16 and F16 can be read: convert the model "
                "with save_pretrained first",
                s->path, t->name, t->dtype);
    return SHOAL_OK;
}

enum shoal_status safetensors_read(const struct safetensors *s, const struct safetensor *t,
                                   float *values)
{
    enum number type = NUMBER_F32;
    const bool known = number_named(t->dtype, &type);
    SHOAL_ASSERT(known);
    (void)known;
    return numbers_read(&s->in, values, t->begin, t->bytes / number_bytes(type), type);
}
