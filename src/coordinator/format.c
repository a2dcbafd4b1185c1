/* format.c - widths are fixed so that the live line does not jitter and table columns agree. */
#include "coordinator/format.h"
#include <math.h>
#include <stdio.h>

void format_duration(char *out, double seconds)
{
    if (!isfinite(seconds) || seconds < 0.0) {
        snprintf(out, FORMAT_WORD, "-");
        return;
    }
    if (seconds < 9.95) {
        snprintf(out, FORMAT_WORD, "%.1fs", seconds);
        return;
    }
    const long long s = (long long)fmin(seconds + 0.5, 1e15);
    if (s < 60)
        snprintf(out, FORMAT_WORD, "%llds", s);
    else if (s < 3600)
        snprintf(out, FORMAT_WORD, "%lldm%02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, FORMAT_WORD, "%lldh%02lldm", s / 3600, s % 3600 / 60);
    else
        snprintf(out, FORMAT_WORD, "%lldd%02lldh", s / 86400, s % 86400 / 3600);
}

/* Three digits and one of four units. */
static void format_scaled(char *out, double n, const char *unit_names, const char *plain)
{
    if (!isfinite(n) || n < 0.0) {
        snprintf(out, FORMAT_WORD, "-");
        return;
    }
    if (n < 999.5) {
        snprintf(out, FORMAT_WORD, "%.0f%s", n, plain);
        return;
    }
    size_t unit = 0;
    double value = n / 1000.0;
    /* 999.5 and not 1000: what would round up to four digits takes the next unit. */
    for (; value >= 999.5 && unit < 3; unit++)
        value /= 1000.0;
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, FORMAT_WORD, "%.*f%c%s", decimals, value, unit_names[unit], plain);
}

void format_count(char *out, double n)
{
    format_scaled(out, n, "kMBT", "");
}

void format_bytes(char *out, double n)
{
    format_scaled(out, n, "kMGT", "B");
}

void format_loss(char *out, double nats)
{
    if (isnan(nats))
        snprintf(out, FORMAT_WORD, "nan");
    else
        snprintf(out, FORMAT_WORD, "%.4f", nats);
}

void format_member(char *out, int member, int experts)
{
    if (member < 0)
        snprintf(out, FORMAT_WORD, "-");
    else if (member == experts)
        snprintf(out, FORMAT_WORD, "mean");
    else
        snprintf(out, FORMAT_WORD, "#%d", member);
}

/* "41%"; "-" when not known. Under ten per cent with a decimal. */
static void format_share(char *out, double share)
{
    if (!isfinite(share) || share < 0.0)
        snprintf(out, FORMAT_WORD, "-");
    else
        snprintf(out, FORMAT_WORD, share < 0.0995 ? "%.1f%%" : "%.0f%%", fmin(share, 99.0) * 100.0);
}

static double percent(double step, int64_t steps)
{
    return steps > 0 ? 100.0 * step / (double)steps : 100.0;
}

void format_progress(char *out, size_t bytes, const struct progress *p)
{
    char rate[FORMAT_WORD], share[FORMAT_WORD], left[FORMAT_WORD], best[FORMAT_WORD],
        loss[FORMAT_WORD];
    format_count(rate, p->tokens_per_s);
    format_share(share, p->utilisation);
    format_duration(left, p->left_s);
    const int length =
        snprintf(out, bytes, "step %.0f/%lld  %.0f%%  %s tok/s  MFU %s  ETA %s", floor(p->step),
                 (long long)p->steps, floor(percent(p->step, p->steps)), rate, share, left);
    if (p->best < 0 || length < 0 || (size_t)length >= bytes) return;
    format_member(best, p->best, p->experts);
    format_loss(loss, p->best_fitness);
    snprintf(out + length, bytes - (size_t)length, "  best %s %s", best, loss);
}

void format_header(char *out, size_t bytes, bool has_recombinant)
{
    snprintf(out, bytes, "%9s %8s %8s %5s  %-6s %8s %9s %8s%s", "step", "elapsed", "tok/s", "MFU",
             "best", "loss", "all-time", "spread", has_recombinant ? "     mean" : "");
}

/* A judging's figures as both layouts show them. */
struct words {
    char elapsed[FORMAT_WORD], rate[FORMAT_WORD], share[FORMAT_WORD], best[FORMAT_WORD],
        loss[FORMAT_WORD], all_time[FORMAT_WORD];
    char mean[FORMAT_WORD]; /* "": there is no recombinant */
};

static struct words words_of(const struct judging_row *row)
{
    struct words w = {0};
    format_duration(w.elapsed, row->time_s);
    format_count(w.rate, row->tokens_per_s);
    format_share(w.share, row->utilisation);
    format_member(w.best, row->best, row->experts);
    format_loss(w.loss, row->best_fitness);
    format_loss(w.all_time, row->champion_fitness);
    if (row->has_recombinant) format_loss(w.mean, row->recombinant);
    return w;
}

void format_row(char *out, size_t bytes, const struct judging_row *row)
{
    const struct words w = words_of(row);
    snprintf(out, bytes, "%9lld %8s %8s %5s  %-6s %8s %8s%c %8.4f%s%s", (long long)row->step,
             w.elapsed, w.rate, w.share, w.best, w.loss, w.all_time, row->new_champion ? '*' : ' ',
             row->spread, row->has_recombinant ? "   " : "", w.mean);
}

void format_plain(char *out, size_t bytes, const struct judging_row *row)
{
    const struct words w = words_of(row);
    snprintf(
        out, bytes,
        "step %lld/%lld  elapsed %s  %s tok/s  MFU %s  best %s %s  all-time %s  spread %.4f%s%s",
        (long long)row->step, (long long)row->steps, w.elapsed, w.rate, w.share, w.best, w.loss,
        w.all_time, row->spread, row->has_recombinant ? "  mean " : "", w.mean);
}

void format_evaluation(char *out, size_t bytes, const struct evaluation *e)
{
    char member[FORMAT_WORD], loss[FORMAT_WORD], tokens[FORMAT_WORD], time[FORMAT_WORD];
    format_member(member, e->member, e->experts);
    format_loss(loss, e->loss);
    format_count(tokens, e->tokens);
    format_duration(time, e->seconds);
    snprintf(out, bytes, "evaluated at step %lld: %s %s (perplexity %.4g) on %s tokens in %s",
             (long long)e->step, member, loss, exp(e->loss), tokens, time);
}

void format_summary(char *out, size_t bytes, const struct run_summary *s)
{
    char time[FORMAT_WORD], tokens[FORMAT_WORD], best[FORMAT_WORD], loss[FORMAT_WORD];
    char skipped[64] = "", lost[96] = "";
    const bool stopped = s->step < s->steps, has_why = s->why[0] != 0;
    format_duration(time, s->time_s);
    format_count(tokens, s->tokens);
    format_member(best, s->champion, s->experts);
    format_loss(loss, s->champion_fitness);
    if (s->skipped > 0)
        snprintf(skipped, sizeof skipped, ", %lld step%s skipped", (long long)s->skipped,
                 s->skipped == 1 ? "" : "s");
    if (s->lost_workers > 0)
        snprintf(lost, sizeof lost, ", without %d of %d experts at the end (%d worker%s lost)",
                 s->lost_experts, s->experts, s->lost_workers, s->lost_workers == 1 ? "" : "s");
    snprintf(out, bytes,
             "%s%s%s%s after %lld of %lld steps, %s tokens, %s%s%s\n"
             "best: %s at step %lld, loss %s (perplexity %.4g, %.4f bits/token)\n"
             "weights: %s%s%s%s",
             stopped ? "stopped" : "finished", has_why ? " (" : "", s->why, has_why ? ")" : "",
             (long long)s->step, (long long)s->steps, tokens, time, skipped, lost, best,
             (long long)s->champion_step, loss, exp(s->champion_fitness),
             s->champion_fitness / 0.693147180559945309, s->best_path,
             stopped ? "\nresume: shoal train " : "", stopped ? s->config_path : "",
             stopped ? " --resume" : "");
}
