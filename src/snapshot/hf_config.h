/* hf_config.h - config.json, Hugging Face's description of a model. Private to this folder. */
#pragma once
#include "snapshot/foreign.h"

/* Our own entry, data.tokenizer; other readers pass it over. */
#define HF_TOKENIZER_KEY "shoal_tokenizer"

/* Write one. SHOAL_EIO. */
enum shoal_status hf_config_write(const char *path, const struct gpt_shape *shape, enum number type,
                                  const struct export_text *text);
/* Read one. SHOAL_EIO; SHOAL_EFORMAT: damaged, of another architecture, or with something in it
 * that our arithmetic does not have. */
enum shoal_status hf_config_read(const char *path, struct config *out);
