/* SPDX-License-Identifier: MIT */
/*
 * launcher_private - what the two sides of a launcher say to each other
 *
 * Messages of a SOCK_SEQPACKET pair, each one whole. Both sides are the same program or the same release; READY
 * carries PEN_LAUNCH_MAGIC so that another program is told from a launcher.
 *
 *   to the launcher     SETUP once; then LAUNCH (a few records, three descriptors each) and KILL
 *   from the launcher   READY once; then ENDS (an array of struct pen_launch_end)
 */
#ifndef PEN_ENGINE_LAUNCHER_PRIVATE_H
#define PEN_ENGINE_LAUNCHER_PRIVATE_H

#include <stdint.h>

#include "engine/launcher.h"

#define PEN_LAUNCH_MAGIC 0x314e5550u /* "PUN1" */
#define PEN_LAUNCH_FD 3
#define PEN_LAUNCH_BATCH 32u /* records in one message */
#define PEN_LAUNCH_MESSAGE (PEN_LAUNCH_BYTES + 4096u)

enum pen_launch_kind {
	PEN_LAUNCH_SETUP = 1,
	PEN_LAUNCH_READY,
	PEN_LAUNCH_LAUNCH,
	PEN_LAUNCH_KILL,
	PEN_LAUNCH_ENDED
};

struct pen_launch_head {
	uint32_t kind;
	uint32_t count; /* records; READY and SETUP: the magic */
};

struct pen_launch_setup {
	struct pen_launch_head head;
	uint32_t jobs;
	uint32_t slots;
	uint64_t memory_max;
	char tmpdir[]; /* NUL-terminated, "" for none */
};

/* Followed by path, arguments and environment, each NUL-terminated, padded to 8. */
struct pen_launch_record {
	uint64_t tag;
	uint64_t timeout_ns;
	uint64_t grace_ns;
	uint32_t bytes; /* of what follows, with padding */
	uint16_t argc;
	uint16_t envc;
};

struct pen_launch_kill {
	struct pen_launch_head head;
	uint64_t tag;
	uint64_t grace_ns;
	uint64_t signal;
};

_Static_assert(PEN_LAUNCH_BYTES + sizeof(struct pen_launch_record) + sizeof(struct pen_launch_head) <=
		       PEN_LAUNCH_MESSAGE,
	       "the largest launch fits in a message");
/* The kernel takes at most 253 descriptors in one message. */
_Static_assert(PEN_LAUNCH_BATCH * 3 <= 253, "SCM_MAX_FD");

/* Removes a directory of files, as far as it can; "" is none. */
void pen_launcher_remove(const char *dir);

#endif
