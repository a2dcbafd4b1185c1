/* machine.h - what this machine gives a process, and what the process took. Read from Linux's /proc
 * and /sys; where they say nothing, the answer is 0. */
#pragma once
#include <stdint.h>

/* Memory that processes here may use: the machine's, or less where a control group (a batch job, a
 * container) sets a limit. */
int64_t machine_memory_bytes(void);
/* Of these, what is free now or would be without caches of files. */
int64_t machine_free_bytes(void);
/* Cores that this process may run on; at least 1. */
int machine_cores(void);
/* Memory this process holds in RAM now, and the most it ever held. Pages of mapped files count. */
int64_t process_bytes(void);
int64_t process_peak_bytes(void);
/* The lowest memory limit on the way from the control groups in `membership` (the text of
 * /proc/PID/cgroup, versions 1 and 2) up to the root, whose files lie under `root`
 * (/sys/fs/cgroup). INT64_MAX: none. */
int64_t machine_limit_bytes(const char *membership, const char *root);
