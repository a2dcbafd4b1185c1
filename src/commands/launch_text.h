/* launch_text.h - what launch.h says, as text. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LAUNCH_HOST = 64, LAUNCH_HOW = 224, LAUNCH_DEVICE = 96, LAUNCH_LINE = 512 };

/* Whether a rank agrees with rank 0. Sent as bytes, also between different builds: its layout never
 * changes. */
struct launch_answer {
    char host[LAUNCH_HOST];
    int32_t differs;
    char how[LAUNCH_HOW]; /* "it is shoal 0.1, on rank 0 shoal 0.2" */
};

/* "ranks 2, 5-7 (node1, node2 and 3 more)": those of n that differ. */
void launch_where(char *out, size_t room, const struct launch_answer *answer, int n);

/* Where a rank runs. Sent as bytes. */
struct launch_rank {
    char host[LAUNCH_HOST];
    int32_t node;                /* comm_node: lowest rank of its machine */
    int32_t is_worker;           /* rank 0 is one too when it is alone */
    int32_t threads, node_cores; /* of this worker; for the workers of this machine */
    int32_t is_host;             /* its device computes in host memory, with these threads */
    int32_t staged;              /* MPI does not take its GPU's memory */
    double ahead_s;              /* this machine's clock before rank 0's */
    char device[LAUNCH_DEVICE];  /* device_describe */
};

/* All ranks of one machine. */
struct launch_machine {
    int ranks;   /* 0: there is no machine of this number */
    int first;   /* its first worker; its first rank where it has none */
    int workers; /* on it, */
    int threads; /* and of all of them */
    bool mixed;  /* its workers' devices are not alike */
    int like;    /* the first machine that is like it: itself, or one before it */
};

/* machine: n, by the number of the node; most of them empty. */
void launch_machines(struct launch_machine *machine, const struct launch_rank *rank, int n);
/* One line on all ranks, and one for all machines that are alike; of a world of one, one line.
 * transport: comm_describe. */
void launch_block(FILE *to, const struct launch_machine *machine, const struct launch_rank *rank,
                  int n, const char *transport);
enum { LAUNCH_WARNINGS = 3 };
/* What will make the run slow or its records misleading, a line each; out holds LAUNCH_WARNINGS.
 * Returns how many. */
int launch_warnings(char (*out)[LAUNCH_LINE], const struct launch_machine *machine,
                    const struct launch_rank *rank, int n);
