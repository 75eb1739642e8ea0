/* SPDX-License-Identifier: MIT */
/*
 * trace - static probes at the edges of stages, for bpftrace, perf and SystemTap
 *
 * A probe is one nop and a note in the binary; it costs nothing until somebody attaches to it. They are there when
 * <sys/sdt.h> was at build time (Debian: systemtap-sdt-dev). Names are stable; arguments only ever grow in number.
 *
 *   penstock:chunk_cut       batch, first item, bytes        the reader has cut a chunk
 *   penstock:chunk_processed batch, first item, items        a processor is done with it
 *   penstock:group_begin     batch, ns waited                the committer has the write lock
 *   penstock:group_commit    batch, items decided, ns held   the transaction is committed
 *   penstock:item_given      batch, item, try                a child is given an item
 *   penstock:item_ended      batch, item, fate               and it ended so (enum pen_task_fate)
 *
 *	bpftrace -e 'usdt:/usr/bin/penstock:penstock:group_commit { @ms = hist(arg2 / 1000000); }'
 */
#ifndef PEN_RING_TRACE_H
#define PEN_RING_TRACE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PEN_TRACE2(name, a, b) DTRACE_PROBE2(penstock, name, a, b)
#define PEN_TRACE3(name, a, b, c) DTRACE_PROBE3(penstock, name, a, b, c)
#endif
#endif

#ifndef PEN_TRACE2
#define PEN_TRACE2(name, a, b) ((void)(a), (void)(b))
#define PEN_TRACE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
