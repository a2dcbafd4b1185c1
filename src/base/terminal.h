/* terminal.h - is somebody watching? */
#pragma once
#include <stdbool.h>

/* Whether what this process writes to stdout is seen on a terminal, and how many columns it has (80
 * when it does not say). mpirun gives its ranks a pseudo-terminal wherever its own output goes, so
 * under mpirun it is the launcher's stdout that counts: a rank on another machine, whose launcher
 * has none, is not watched. */
bool terminal_columns(int *columns);
