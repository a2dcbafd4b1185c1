/* expert_text.h - what an expert's tokens mean. */
#pragma once
#include "commands/loaded.h"
#include "data/tokenizer.h"

/* The tokenizer that the expert was trained with. vocab: where gpt2's vocabulary is, or NULL: where
 * the run's data.vocab says, else beside its token shards (of an imported expert: beside it). With
 * vocab, tokens of data.tokenizer none are taken for gpt2's. SHOAL_ENOTSUP: they mean no text; else
 * as tokenizer_open. */
enum shoal_status expert_text_open(const struct loaded *l, const char *vocab,
                                   struct tokenizer **out);
/* Whether expert_text_open would find what it needs without vocab. */
bool expert_text_known(const struct loaded *l);
