#include "support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/status.h"

void scratch_make(struct scratch *s)
{
    strcpy(s->dir, "/tmp/shoal-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

void scratch_remove(const struct scratch *s)
{
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w '%s'; rm -rf '%s'", s->dir, s->dir);
    assert_int_equal(system(command), 0);
}

const char *scratch_path(const struct scratch *s, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    return path;
}

void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

uint8_t *read_bytes(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *n = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = calloc(*n + 1, 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

char *printed(void (*print)(FILE *to, const void *what), const void *what)
{
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    assert_non_null(memory);
    print(memory, what);
    assert_int_equal(fclose(memory), 0);
    return text;
}

void assert_failure_says(const char *fragment)
{
    if (strstr(shoal_failure_text(), fragment)) return;
    fail_msg("the failure '%s' does not say '%s'", shoal_failure_text(), fragment);
}
