/* members.h - which workers take part, and how those that are left go on together after one was
 * lost. Pure, a part of the state machine.
 *
 * Members change by epochs. What workers do together is a row of passes, the same for all: nobody
 * begins the next before all have what this one brings, and whoever knows that has passed it. So
 * the survivors of a loss are at most one pass apart. They say how many they have passed; the most
 * that any of them has is what all can pass, for they have what it brings; and what was begun after
 * it begins again without the lost. */
#pragma once
#include "config/config.h"
#include "evo/protocol.h"

struct membership {
    int workers, experts;
    int n_live;
    uint32_t epoch;
    bool renewing;                   /* the places of the members of this epoch are not all known */
    int64_t passed;                  /* the most passes of those who have said so */
    uint8_t lost[SHOAL_MAX_EXPERTS]; /* workers; there are no more of them than experts */
    uint8_t placed[SHOAL_MAX_EXPERTS]; /* in this epoch */
};

void membership_begin(struct membership *m, int workers, int experts);
/* Whether reports of this number count: it is of no lost worker. */
bool membership_counts(const struct membership *m, int worker);
bool membership_owner_lost(const struct membership *m, int expert);
/* Begin an epoch without this worker. */
void membership_lose(struct membership *m, int worker);
/* A worker's REPORT_PLACE; whether it counted. */
bool membership_place(struct membership *m, const struct report *r);
/* Whether all members have said where they are. */
bool membership_ready(const struct membership *m);
/* What is to be said of the present epoch. */
struct announcement membership_announce(const struct membership *m, int best);
