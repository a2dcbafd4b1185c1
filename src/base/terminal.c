/* terminal.c - looking through mpirun's pseudo-terminal at the one behind it. */
#include "base/terminal.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DEFAULT_COLUMNS = 80 };

static bool columns_of(int fd, int *columns)
{
    struct winsize size = {0};
    if (isatty(fd) != 1) return false;
    const bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    *columns = known ? size.ws_col : DEFAULT_COLUMNS;
    return true;
}

bool terminal_columns(int *columns)
{
    char path[64];
    *columns = DEFAULT_COLUMNS;
    if (isatty(STDOUT_FILENO) != 1) return false;
    if (!getenv("OMPI_COMM_WORLD_SIZE")) return columns_of(STDOUT_FILENO, columns);
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
    const int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool watched = columns_of(fd, columns);
    close(fd);
    return watched;
}
