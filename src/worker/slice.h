/* slice.h - which windows of the held-out text judge the members, and which are left to evaluate
 * the winner. Pure.
 *
 * The windows that judge choose the best member, so its loss on them flatters it; on the others it
 * does not. Both sets are spread evenly over the text. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct slice {
    int64_t all;    /* windows of the held-out text */
    int64_t judges; /* of these, how many judge; 1 .. all */
    bool left;      /* whether this slice is taken from the windows that do not judge */
    int64_t n;      /* windows of this slice */
};

/* The windows that judge: `wanted`, or all there are. */
struct slice slice_of_judging(int64_t all, int64_t wanted);
/* Windows to evaluate on: at most `wanted` (0: no limit) of those that do not judge. Where all of
 * them judge, of all. */
struct slice slice_of_evaluation(const struct slice *judging, int64_t wanted);
/* Number of window i of a slice, 0 <= i < n; rises with i. */
int64_t slice_window(const struct slice *s, int64_t i);
