/* vocabulary_files.c - which files make up a vocabulary. */
#include <string.h>
#include "data/vocabulary.h"

/* The names under which they are published. */
struct file_names {
    const char *tokens, *merges; /* merges "": in the same file */
};
static const struct file_names known[] = {
    {"tokenizer.json", ""}, {"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}};
enum { KNOWN = sizeof known / sizeof known[0] };

#define WHERE_FROM                                                                                 \
    "GPT-2's are published with the model openai-community/gpt2 on the Hugging Face hub: "         \
    "vocab.json and merges.txt"

static enum shoal_status join(struct vocabulary_files *out, const char *dir,
                              const struct file_names *names)
{
    SHOAL_TRY(path_format(out->tokens, "%s/%s", dir, names->tokens));
    if (!names->merges[0]) {
        out->merges[0] = '\0';
        return SHOAL_OK;
    }
    return path_format(out->merges, "%s/%s", dir, names->merges);
}

bool vocabulary_is_in(const char *dir)
{
    for (int i = 0; i < KNOWN; i++) {
        struct vocabulary_files files;
        if (join(&files, dir, &known[i]) != SHOAL_OK) return false;
        if (path_exists(files.tokens) && (!files.merges[0] || path_exists(files.merges)))
            return true;
    }
    return false;
}

/* Files in dir by names of which at least one is there. */
static enum shoal_status check_pair(const struct vocabulary_files *files)
{
    if (!files->merges[0]) return SHOAL_OK;
    const bool tokens = path_exists(files->tokens), merges = path_exists(files->merges);
    SHOAL_CHECK(tokens && merges, SHOAL_EIO,
                "'%s' is there, but '%s', which belongs to it, is not; " WHERE_FROM,
                tokens ? files->tokens : files->merges, tokens ? files->merges : files->tokens);
    return SHOAL_OK;
}

static enum shoal_status find_in(const char *dir, struct vocabulary_files *out)
{
    for (int i = 0; i < KNOWN; i++) {
        SHOAL_TRY(join(out, dir, &known[i]));
        const bool merges = out->merges[0] && path_exists(out->merges);
        if (path_exists(out->tokens) || merges) return check_pair(out);
    }
    return SHOAL_FAIL(SHOAL_EIO,
                      "no vocabulary in '%s': it needs vocab.json and merges.txt, or encoder.json "
                      "and vocab.bpe, or tokenizer.json; " WHERE_FROM,
                      dir);
}

/* A file named: the other one lies beside it. Any other name is that of a tokenizer.json. */
static enum shoal_status find_beside(const char *path, struct vocabulary_files *out)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char dir[SHOAL_MAX_PATH];
    if (slash) {
        SHOAL_TRY(path_format(dir, "%.*s", slash == path ? 1 : (int)(slash - path), path));
    } else {
        SHOAL_TRY(path_format(dir, "."));
    }
    for (int i = 0; i < KNOWN; i++) {
        if (strcmp(name, known[i].tokens) != 0 && strcmp(name, known[i].merges) != 0) continue;
        SHOAL_TRY(join(out, dir, &known[i]));
        return check_pair(out);
    }
    out->merges[0] = '\0';
    return path_format(out->tokens, "%s", path);
}

enum shoal_status vocabulary_find(const char *path, struct vocabulary_files *out)
{
    if (path_is_dir(path)) return find_in(path, out);
    SHOAL_CHECK(path_exists(path), SHOAL_EIO,
                "no vocabulary: '%s' does not exist; name a directory with vocab.json and "
                "merges.txt, or encoder.json and vocab.bpe, or tokenizer.json; " WHERE_FROM,
                path);
    return find_beside(path, out);
}
