/* interchange.h - experts in the files of other programs, and models of theirs as experts.
 *
 *   hf    Hugging Face: a directory with config.json and model.safetensors (or several files and
 *         model.safetensors.index.json); GPT2LMHeadModel and LlamaForCausalLM
 *   llmc  llm.c's checkpoints, version 3 (float32) and 5 (bfloat16); GPT-2 only
 *
 * Nothing in a file is believed: every size, offset and shape is checked before it is used, and
 * what a model of ours cannot compute is refused. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "kernels/kernels.h"
#include "model/params.h"

enum number { NUMBER_F32, NUMBER_BF16, NUMBER_F16 };

/* ---- export ---------------------------------------------------------------------------------- */

/* What an expert's tokens are, for config.json. */
struct export_text {
    const char *tokenizer; /* data.tokenizer */
    int end_of_text;       /* token; -1: not known */
};

/* Write config.json and model.safetensors into a directory that is there; type F32 (bit for bit) or
 * BF16. weights: n_params f32 on dev. SHOAL_EIO. */
enum shoal_status hf_write(const char *dir, const struct param_table *table, struct device *dev,
                           const float *weights, enum number type, const struct export_text *text);
/* Write a checkpoint, version 3 (F32) or 5 (BF16). SHOAL_ENOTSUP: not an architecture of llm.c's.
 * SHOAL_EIO. */
enum shoal_status llmc_write(const char *path, const struct param_table *table, struct device *dev,
                             const float *weights, enum number type);
/* Whether llmc_write can: SHOAL_OK or SHOAL_ENOTSUP. */
enum shoal_status llmc_check(const struct gpt_shape *shape);
/* Bytes of the tensors in such files. */
int64_t export_bytes(const struct param_table *table, enum number type);

/* ---- import ---------------------------------------------------------------------------------- */

struct foreign; /* a model of another program, opened */

/* path: a directory of Hugging Face's, a .safetensors file or its .index.json with config.json
 * beside it, or a checkpoint of llm.c's. Everything but the numbers is read and checked. SHOAL_EIO;
 * SHOAL_EFORMAT: damaged, of another kind, or a model that ours cannot be. */
enum shoal_status foreign_open(const char *path, struct foreign **out);
/* Sets *f to NULL; accepts NULL. */
void foreign_close(struct foreign **f);
/* "Hugging Face" or "llm.c". */
const char *foreign_kind(const struct foreign *f);
/* As shoal's configuration: model.* as found, one expert, data.tokenizer as the file says ("none"
 * when it does not), everything else the default. Owned by f. */
const struct config *foreign_config(const struct foreign *f);
/* The weights, into n_params f32 on dev; table is that of foreign_config. */
enum shoal_status foreign_read(const struct foreign *f, const struct param_table *table,
                               struct device *dev, float *weights);
