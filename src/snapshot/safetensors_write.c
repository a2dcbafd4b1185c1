/* safetensors_write.c - the header is made first, since all sizes are known; the data follow. */
#include "snapshot/safetensors.h"

#include <stdlib.h>
#include "base/json.h"

enum { LENGTH_BYTES = 8, ALIGNMENT = 8 /* of the data, so that readers can map it */ };

static int64_t count_of(struct tensor_shape shape)
{
    return shape.rank == 1 ? shape.dim[0] : shape.dim[0] * shape.dim[1];
}

/* *text: free(). *data: bytes of the data. */
static enum shoal_status make_header(char **text, size_t *bytes, const struct safetensor_plan *plan,
                                     int n, enum number type, int64_t *data)
{
    struct json j;
    *data = 0;
    json_begin(&j);
    json_open(&j, "__metadata__", '{');
    json_string(&j, "format", "pt");
    json_close(&j, '}');
    for (int i = 0; i < n; i++) {
        json_open(&j, plan[i].name, '{');
        json_string(&j, "dtype", number_name(type));
        json_open(&j, "shape", '[');
        for (int d = 0; d < plan[i].shape.rank; d++)
            json_int(&j, NULL, plan[i].shape.dim[d]);
        json_close(&j, ']');
        json_open(&j, "data_offsets", '[');
        json_int(&j, NULL, *data);
        *data += count_of(plan[i].shape) * number_bytes(type);
        json_int(&j, NULL, *data);
        json_close(&j, ']');
        json_close(&j, '}');
    }
    return json_take(&j, text, bytes);
}

/* Length, header, and spaces up to where the data begin. */
static enum shoal_status write_header(struct safetensors_writer *w, const char *text, int64_t bytes)
{
    static const char spaces[ALIGNMENT] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)(w->at - LENGTH_BYTES) >> 8 * i);
    SHOAL_TRY(output_write(&w->out, length, 0, LENGTH_BYTES));
    SHOAL_TRY(output_write(&w->out, text, LENGTH_BYTES, bytes));
    const int64_t end = LENGTH_BYTES + bytes;
    return output_write(&w->out, spaces, end, w->at - end);
}

enum shoal_status safetensors_create(struct safetensors_writer *w, const char *path,
                                     const struct safetensor_plan *plan, int n, enum number type)
{
    char *text = NULL;
    size_t bytes = 0;
    int64_t data = 0;
    enum shoal_status st;
    *w = (struct safetensors_writer){.out = OUTPUT_CLOSED, .type = type};
    SHOAL_GOTO(make_header(&text, &bytes, plan, n, type, &data));
    w->at = LENGTH_BYTES + ((int64_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    SHOAL_GOTO(output_open(&w->out, path, w->at + data));
    SHOAL_GOTO(write_header(w, text, (int64_t)bytes));
done:
    free(text);
    return st;
}

enum shoal_status safetensors_add(struct safetensors_writer *w, const float *values, int64_t n)
{
    SHOAL_TRY(numbers_write(&w->out, values, w->at, n, w->type));
    w->at += n * number_bytes(w->type);
    return SHOAL_OK;
}

enum shoal_status safetensors_commit(struct safetensors_writer *w)
{
    return output_commit(&w->out);
}

void safetensors_abandon(struct safetensors_writer *w)
{
    output_close(&w->out);
}
