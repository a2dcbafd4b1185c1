/* job.h - one thread beside the caller's, that does one thing at a time. */
#pragma once
#include "base/status.h"

struct job;
typedef enum shoal_status (*job_fn)(void *argument);

/* Start the thread; it sleeps until there is work. SHOAL_ENOMEM. */
enum shoal_status job_create(struct job **out);
/* Waits for the work in hand, whose result is lost. NULL is fine. */
void job_destroy(struct job **j);
/* Have fn(argument) called on the thread. Nothing may be in hand. What the caller wrote before is
 * seen there. */
void job_start(struct job *j, job_fn fn, void *argument);
/* Whether something was started and not waited for. */
bool job_running(const struct job *j);
/* Sleep until the work is done and return its result, the text of its failure included. Nothing in
 * hand: SHOAL_OK at once. What the work wrote is seen from now on. */
enum shoal_status job_wait(struct job *j);
