/* run.h - names of files in a run directory. Private to this folder. */
#pragma once
#include "snapshot/index.h"

/* RUN/experts/NNNN */
enum shoal_status run_expert_dir(char *out, const char *run, int expert);
/* Steps of the files "step-NNNNNNNN.h5" in a directory, newest first; a missing directory has none.
 * *steps: mem_free. */
enum shoal_status steps_list(const char *dir, int64_t **steps, int64_t *n);
