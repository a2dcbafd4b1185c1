/* format.h - numbers and lines for people, as text. Pure: no terminal, no clock.
 *
 * Every function fills a caller's buffer, always 0-terminated, cutting what does not fit. All text
 * is ASCII, so bytes are columns. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FORMAT_WORD = 32 }; /* bytes of a number, duration or member */

/* "0.8s", "42s", "1m23s", "2h05m", "3d04h"; "-" when not finite or negative. out: FORMAT_WORD. */
void format_duration(char *out, double seconds);
/* Three digits and a unit: "950", "52.1k", "1.23M", "131M", "6.40B"; "-" when not finite or
 * negative. out: FORMAT_WORD bytes. */
void format_count(char *out, double n);
/* The same of bytes: "950B", "52.1kB", "131MB", "6.40GB" (units of 1000). */
void format_bytes(char *out, double n);
/* A loss: "1.7234"; "nan", "inf". out: FORMAT_WORD bytes. */
void format_loss(char *out, double nats);
/* "#2", "mean" for the recombinant (number `experts`), "-" for none (-1). out: FORMAT_WORD. */
void format_member(char *out, int member, int experts);

/* Where a run stands between two judgings. */
struct progress {
    double step; /* mean of the experts' steps */
    int64_t steps;
    double tokens_per_s; /* of the whole population; NAN: not known yet */
    double utilisation;  /* model FLOPs as a share of what the devices can do; NAN: not known */
    double left_s;       /* NAN: not known yet */
    int experts;
    int best; /* at the last judging; -1: none yet */
    double best_fitness;
};
/* "step 1200/4000  30%  52.1k tok/s  MFU 41%  ETA 1m23s  best #2 1.7234" */
void format_progress(char *out, size_t bytes, const struct progress *p);

/* A judging, for the table. */
struct judging_row {
    int64_t step, steps;
    double time_s;
    double tokens_per_s; /* of the whole population since the last judging; NAN: not known */
    double utilisation;  /* as in progress, over the same time */
    int experts;
    int best;
    double best_fitness, champion_fitness;
    double spread;
    double recombinant; /* its fitness, where has_recombinant */
    bool has_recombinant;
    bool new_champion; /* marked with a star */
};
/* The header and the rows of a table; the columns of both agree. */
void format_header(char *out, size_t bytes, bool has_recombinant);
void format_row(char *out, size_t bytes, const struct judging_row *row);
/* The same on one line by itself, for a log file. */
void format_plain(char *out, size_t bytes, const struct judging_row *row);

/* An evaluation of the best member. */
struct evaluation {
    int64_t step;
    int member, experts;
    double loss; /* nats per token */
    double tokens, seconds;
};
/* "evaluated at step 1200: mean 1.7301 (perplexity 5.641) on 256k tokens in 0.8s" */
void format_evaluation(char *out, size_t bytes, const struct evaluation *e);

/* How a run ended. */
struct run_summary {
    int64_t step, steps;
    double time_s;
    double tokens;   /* of the whole population */
    int64_t skipped; /* steps of all experts; nothing is said of 0 */
    int experts;
    int champion;
    int64_t champion_step;
    double champion_fitness;
    const char *best_path;          /* borrowed */
    const char *why;                /* it stopped before its end; "": nobody said so; borrowed */
    int lost_workers, lost_experts; /* on the way; nothing is said of 0 */
    const char *config_path;        /* of the run, to resume with; borrowed */
};
/* Some lines, separated by newlines. */
void format_summary(char *out, size_t bytes, const struct run_summary *s);
