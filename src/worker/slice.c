/* slice.c - see slice.h. */
#include "worker/slice.h"

/* Of the windows 0 .. end - 1, how many judge. Window i of the judging is floor(i all / judges), so
 * the count is that of all i with i all < end judges. */
static int64_t judging_below(const struct slice *s, int64_t end)
{
    const int64_t n = (end * s->judges + s->all - 1) / s->all;
    return n < s->judges ? n : s->judges;
}

/* Window k of those that do not judge: the first that has k + 1 of them up to and with it. */
static int64_t left_window(const struct slice *s, int64_t k)
{
    int64_t low = k, high = s->all - 1;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (middle + 1 - judging_below(s, middle + 1) > k) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct slice slice_of_judging(int64_t all, int64_t wanted)
{
    const int64_t n = wanted < all ? wanted : all;
    return (struct slice){.all = all, .judges = n, .left = false, .n = n};
}

struct slice slice_of_evaluation(const struct slice *judging, int64_t wanted)
{
    struct slice s = *judging;
    s.left = s.judges < s.all;
    const int64_t most = s.left ? s.all - s.judges : s.all;
    s.n = wanted > 0 && wanted < most ? wanted : most;
    return s;
}

int64_t slice_window(const struct slice *s, int64_t i)
{
    const int64_t from = s->left ? s->all - s->judges : s->all;
    const int64_t k = i * from / s->n;
    return s->left ? left_window(s, k) : k;
}
