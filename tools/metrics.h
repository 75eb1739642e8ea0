/* SPDX-License-Identifier: MIT */
/*
 * metrics - the store and the engines that work on it, as text that Prometheus scrapes
 *
 * Two forms. The text format of Prometheus (what a textfile collector reads, what promtool checks): counters are
 * declared under the name that their samples have. OpenMetrics: declared without `_total`, as its grammar asks for.
 * Neither reader takes the other's counters without complaint, so there is a form for each; `# EOF` ends both.
 *
 *   Sources    rows that the store keeps (totals, queue), and the counters of the rings of engines that live. Nothing
 *              is counted here and nothing is waited for.
 *   Limits     PEN_METRICS_ENGINES engines, the 1,000 newest batches are asked whether they run.
 */
#ifndef PEN_TOOLS_METRICS_H
#define PEN_TOOLS_METRICS_H

#include <stdbool.h>

#include "include/penstock.h"
#include "tools/out.h"

#define PEN_METRICS_ENGINES 64u

/* 0, or a code when the store cannot be read: nothing was written then. */
int pen_metrics_put(struct pen_out *out, struct pen_store *store, bool openmetrics);

#endif
