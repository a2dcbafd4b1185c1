/* launch_text.c - see launch_text.h. A run may have thousands of ranks: machines that are alike
 * share a line, lists of numbers become ranges, lists of machines are cut short. */
#include "commands/launch_text.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { MOST_HOSTS = 3 };
static const double clock_tolerance_s = 2;

/* ---- lists ---- */

struct text {
    char *out;
    size_t room, length;
};

/* What does not fit is cut off. */
static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    if (t->length + 1 >= t->room) return;
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(t->out + t->length, t->room - t->length, fmt, args);
    va_end(args);
    if (n > 0) t->length += (size_t)n;
    if (t->length >= t->room) t->length = t->room - 1;
}

static struct text text_in(char *out, size_t room)
{
    out[0] = 0;
    return (struct text){out, room, 0};
}

/* "2, 5-7": the numbers i below n for which chosen(owner, i). */
typedef bool (*chosen_fn)(const void *owner, int i);
static void add_ranges(struct text *t, chosen_fn chosen, const void *owner, int n)
{
    bool any = false;
    for (int i = 0; i < n; i++) {
        int last = i;
        if (!chosen(owner, i)) continue;
        while (last + 1 < n && chosen(owner, last + 1))
            last++;
        add(t, "%s%d", any ? ", " : "", i);
        if (last > i) add(t, "%s%d", last > i + 1 ? "-" : ", ", last);
        any = true;
        i = last;
    }
}

/* ---- who differs ---- */

static bool differs(const void *answers, int i)
{
    return ((const struct launch_answer *)answers)[i].differs != 0;
}

/* Whether rank i is the first of those that differ on its host. */
static bool first_on_host(const struct launch_answer *answer, int i)
{
    if (!answer[i].differs) return false;
    for (int j = 0; j < i; j++)
        if (answer[j].differs && strcmp(answer[j].host, answer[i].host) == 0) return false;
    return true;
}

void launch_where(char *out, size_t room, const struct launch_answer *answer, int n)
{
    struct text t = text_in(out, room);
    int ranks = 0, hosts = 0, told = 0;
    for (int i = 0; i < n; i++) {
        ranks += answer[i].differs != 0;
        hosts += first_on_host(answer, i);
    }
    add(&t, "rank%s ", ranks == 1 ? "" : "s");
    add_ranges(&t, differs, answer, n);
    for (int i = 0; i < n && told < MOST_HOSTS; i++) {
        if (!first_on_host(answer, i)) continue;
        const char *const before = told == 0 ? " (" : told == hosts - 1 ? " and " : ", ";
        add(&t, "%s%s", before, answer[i].host);
        told++;
    }
    if (hosts > told) add(&t, " and %d more", hosts - told);
    if (hosts > 0) add(&t, ")");
}

/* ---- machines ---- */

/* Without the number of a GPU: "NVIDIA H200, ..." of "cuda:0, NVIDIA H200, ...". */
static const char *kind_of(const struct launch_rank *r)
{
    const char *comma = strstr(r->device, ", ");
    return r->is_host || !comma ? r->device : comma + 2;
}

static bool same_kind(const struct launch_rank *a, const struct launch_rank *b)
{
    return a->threads == b->threads && strcmp(kind_of(a), kind_of(b)) == 0;
}

static void add_rank(struct launch_machine *m, const struct launch_rank *rank, int i)
{
    const struct launch_rank *const r = &rank[i];
    if (m->ranks++ == 0 || (r->is_worker && m->workers == 0)) m->first = i;
    if (!r->is_worker) return;
    m->workers++;
    m->threads += r->threads;
    m->mixed |= !same_kind(r, &rank[m->first]);
}

static bool alike(const struct launch_machine *a, const struct launch_machine *b,
                  const struct launch_rank *rank)
{
    return a->workers == b->workers && a->mixed == b->mixed && a->threads == b->threads &&
           rank[a->first].node_cores == rank[b->first].node_cores &&
           same_kind(&rank[a->first], &rank[b->first]);
}

void launch_machines(struct launch_machine *machine, const struct launch_rank *rank, int n)
{
    memset(machine, 0, (size_t)n * sizeof *machine);
    for (int i = 0; i < n; i++)
        add_rank(&machine[rank[i].node], rank, i);
    /* Machine 0 has the coordinator and is like no other. */
    for (int i = 1; i < n; i++) {
        int like = 1;
        if (machine[i].ranks == 0) continue;
        while (like < i &&
               (machine[like].like != like || !alike(&machine[like], &machine[i], rank)))
            like++;
        machine[i].like = like;
    }
}

/* Machines that are like number `like`. */
struct likes {
    const struct launch_machine *machine;
    const struct launch_rank *rank;
    int like, count, last; /* last: the highest */
};

static bool is_worker_there(const void *likes, int i)
{
    const struct likes *const l = likes;
    return l->rank[i].is_worker && l->machine[l->rank[i].node].like == l->like;
}

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

static void add_workers(struct text *t, const struct likes *l, int n)
{
    const struct launch_machine *const m = &l->machine[l->like];
    const struct launch_rank *const first = &l->rank[m->first];
    add(t, "%d worker%s%s (rank%s ", m->workers, plural(m->workers), l->count > 1 ? " each" : "",
        plural(m->workers * l->count));
    add_ranges(t, is_worker_there, l, n);
    add(t, ") on %d core%s; %s%s", first->node_cores, plural(first->node_cores), kind_of(first),
        m->mixed ? " and others" : "");
    if (!first->is_host && !m->mixed)
        add(t, "; %d thread%s each", first->threads, plural(first->threads));
}

static void print_machines(FILE *to, const struct likes *l, int n)
{
    const struct launch_machine *const m = &l->machine[l->like];
    const struct launch_rank *const first = &l->rank[m->first];
    char line[LAUNCH_LINE];
    struct text t = text_in(line, sizeof line);
    add(&t, "%s", first->host);
    if (l->count > 1)
        add(&t, " to %s (%d machines)", l->rank[l->machine[l->last].first].host, l->count);
    add(&t, ": ");
    if (l->like == 0) add(&t, "coordinator (rank 0)%s", m->workers > 0 ? " and " : "");
    if (m->workers > 0) add_workers(&t, l, n);
    fprintf(to, "shoal:   %s\n", line);
}

void launch_block(FILE *to, const struct launch_machine *machine, const struct launch_rank *rank,
                  int n, const char *transport)
{
    int machines = 0;
    if (n == 1) {
        fprintf(to, "shoal: one process on %s; %s\n", rank->host, rank->device);
        return;
    }
    for (int i = 0; i < n; i++)
        machines += machine[i].ranks > 0;
    fprintf(to, "shoal: %d rank%s on %d machine%s%s%s\n", n, plural(n), machines, plural(machines),
            n > 2 ? "; weights travel by " : "", n > 2 ? transport : "");
    for (int i = 0; i < n; i++) {
        struct likes l = {machine, rank, i, 0, i};
        if (machine[i].ranks == 0 || machine[i].like != i) continue;
        for (int j = i; j < n; j++) {
            if (machine[j].ranks == 0 || machine[j].like != i) continue;
            l.count++;
            l.last = j;
        }
        print_machines(to, &l, n);
    }
}

/* ---- warnings ---- */

static void warn_of_crowds(struct text *t, const struct launch_machine *machine,
                           const struct launch_rank *rank, int n)
{
    const struct launch_machine *worst = NULL;
    int count = 0;
    for (int i = 0; i < n; i++) {
        const struct launch_machine *const m = &machine[i];
        if (m->workers == 0 || m->threads <= rank[m->first].node_cores) continue;
        if (!rank[m->first].is_host) continue;
        if (count++ == 0) worst = m;
    }
    if (!worst) return;
    const struct launch_rank *const first = &rank[worst->first];
    add(t, "%s", first->host);
    if (count > 1) add(t, " and %d more machine%s", count - 1, plural(count - 1));
    add(t,
        ": %d worker%s with %d threads in all on %d core%s: they wait for each other; start fewer "
        "workers, or set threads lower",
        worst->workers, plural(worst->workers), worst->threads, first->node_cores,
        plural(first->node_cores));
}

static void warn_of_staging(struct text *t, const struct launch_rank *rank, int n)
{
    for (int i = 0; i < n; i++) {
        if (!rank[i].staged) continue;
        add(t,
            "this MPI does not take GPU memory (rank %d, %s), so weights go by way of host memory; "
            "faster are NCCL, where every worker has a GPU of its own, and an MPI built with CUDA",
            i, rank[i].host);
        return;
    }
}

static void warn_of_clocks(struct text *t, const struct launch_rank *rank, int n)
{
    int worst = 0;
    for (int i = 0; i < n; i++)
        if (fabs(rank[i].ahead_s) > fabs(rank[worst].ahead_s)) worst = i;
    const double ahead_s = rank[worst].ahead_s;
    if (fabs(ahead_s) < clock_tolerance_s) return;
    add(t,
        "the clock of %s is %.0f s %s that of %s: times of files and in logs mislead; set the "
        "clocks (chrony, ntpd)",
        rank[worst].host, fabs(ahead_s), ahead_s > 0 ? "ahead of" : "behind", rank[0].host);
}

int launch_warnings(char (*out)[LAUNCH_LINE], const struct launch_machine *machine,
                    const struct launch_rank *rank, int n)
{
    int count = 0;
    struct text t = text_in(out[count], LAUNCH_LINE);
    warn_of_crowds(&t, machine, rank, n);
    count += t.length > 0;
    t = text_in(out[count], LAUNCH_LINE);
    warn_of_staging(&t, rank, n);
    count += t.length > 0;
    t = text_in(out[count], LAUNCH_LINE);
    warn_of_clocks(&t, rank, n);
    return count + (t.length > 0);
}
