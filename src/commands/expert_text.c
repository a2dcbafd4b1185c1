/* expert_text.c - see expert_text.h. */
#include "commands/expert_text.h"
#include <string.h>

/* Where an expert's vocabulary should be: data.vocab, or the directory of the run's train shards,
 * or that of an imported expert, which has no run. */
static enum shoal_status vocabulary_place(char out[SHOAL_MAX_PATH], const struct loaded *l)
{
    const struct config *c = &l->config;
    if (c->data.vocab[0]) return path_format(out, "%s", c->data.vocab);
    return path_parent(out, c->data.train[0] ? c->data.train : l->shard);
}

/* Where the vocabulary is when the command line does not say. */
static enum shoal_status find_vocabulary(const struct loaded *l, char out[SHOAL_MAX_PATH])
{
    SHOAL_TRY(vocabulary_place(out, l));
    SHOAL_CHECK(
        l->config.data.vocab[0] || tokenizer_has_files(out), SHOAL_EIO,
        "%s: text of its gpt2 tokens needs their vocabulary; the run did not set data.vocab "
        "and there is none beside %s, in '%s': give --vocab DIR, a directory "
        "with vocab.json and merges.txt (GPT-2's are those of openai-community/gpt2 on the "
        "Hugging Face hub)",
        l->shard, l->config.data.train[0] ? "its token shards" : "it", out);
    return SHOAL_OK;
}

static enum shoal_status check_size(const struct loaded *l, const struct tokenizer *t)
{
    SHOAL_CHECK(tokenizer_vocab(t) <= l->config.model.vocab, SHOAL_EFORMAT,
                "%s: knows %d tokens, but the vocabulary has %d: it was trained with another one",
                l->shard, l->config.model.vocab, tokenizer_vocab(t));
    return SHOAL_OK;
}

enum shoal_status expert_text_open(const struct loaded *l, const char *vocab,
                                   struct tokenizer **out)
{
    const char *name = l->config.data.tokenizer;
    char found[SHOAL_MAX_PATH];
    if (strcmp(name, "none") == 0) {
        SHOAL_CHECK(vocab, SHOAL_ENOTSUP,
                    "%s: what its tokens mean is not known (data.tokenizer: none); text comes only "
                    "from an expert trained on bytes or gpt2 tokens. If they are gpt2's, give "
                    "--vocab DIR",
                    l->shard);
        name = "gpt2";
    }
    if (strcmp(name, "gpt2") == 0 && !vocab) {
        SHOAL_TRY(find_vocabulary(l, found));
        vocab = found;
    }
    SHOAL_TRY(tokenizer_open(name, vocab, out));
    const enum shoal_status st = check_size(l, *out);
    if (st != SHOAL_OK) tokenizer_close(out);
    return st;
}

bool expert_text_known(const struct loaded *l)
{
    char place[SHOAL_MAX_PATH];
    if (strcmp(l->config.data.tokenizer, "bytes") == 0) return true;
    return strcmp(l->config.data.tokenizer, "gpt2") == 0 &&
           vocabulary_place(place, l) == SHOAL_OK && tokenizer_has_files(place);
}
