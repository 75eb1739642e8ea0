/* SPDX-License-Identifier: MIT */
/*
 * headroom - is there enough memory, disk and map to start something more?
 *
 *   memory   the least of what the machine has available (MemAvailable) and what the memory cgroups of this process
 *            leave it, each up to the root, version 2 or 1; pages of files that can be dropped count as free.
 *   disk     what an unprivileged process may still write beside the store.
 *   map      has no limit of its own: it grows with the file, and is short only where the address space is bounded
 *            (RLIMIT_AS) and does not let it.
 *
 *   Threads    any.
 *   Memory     8 KiB on the stack.
 *   Errors     what cannot be read is not known, and never short.
 */
#ifndef PEN_ENGINE_HEADROOM_H
#define PEN_ENGINE_HEADROOM_H

#include "include/penstock.h"

#define PEN_HEADROOM_UNKNOWN UINT64_MAX

struct pen_headroom {
	uint64_t memory, memory_total; /* bytes */
	uint64_t disk, disk_total;
	bool map_short;
};

/* root: where /proc and /sys lie, "" on a machine, a directory in tests. store NULL: neither disk nor map are asked. */
void pen_headroom_read(const char *root, struct pen_store *store, struct pen_headroom *ret);

enum pen_headroom_verdict {
	PEN_HEADROOM_ENOUGH,
	PEN_HEADROOM_SHORT,
	PEN_HEADROOM_NEVER, /* more is asked for than there is in all */
};
/* Against limits, of which 0 asks for nothing. ret_text: what is short, for people; "" when nothing is. */
enum pen_headroom_verdict pen_headroom_judge(const struct pen_headroom *headroom,
					     const struct pen_min_free *limits, char *ret_text, size_t cap);

#endif
