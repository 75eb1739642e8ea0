/* SPDX-License-Identifier: MIT */
/*
 * penstock_progress.h - reads a progress ring: a file in which an engine shows what it is doing
 *
 * Self-contained: C11 or C++17, Linux, nothing to link. The bytes are described in docs/RING.md; the structs
 * below are those bytes. A reader maps the file read-only, so it can neither slow nor harm the engine, and it
 * always knows whether it missed something:
 *
 *	struct pen_ring ring;
 *	if (pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN)) ...       the stream starts here ...
 *	for (slot = 0; pen_ring_next(&ring, &slot, &gauge) > 0; slot++)
 *		...                                                    ... and this is what was so then
 *	while ((n = pen_ring_poll(&ring, events, 64, &lost)) >= 0) {
 *		if (lost) ...          read all gauges again: they contain what was lost
 *		for (i = 0; i < n; i++)
 *			...            skip an event whose index (seq - 1) is below its gauge's as_of
 *		if (!n) ...            pen_ring_wait(&ring, 100), and look at pen_ring_life(&ring)
 *	}
 *	pen_ring_close(&ring);
 *
 *   Progress   every call is bounded whatever the writer does or did; only pen_ring_wait sleeps.
 *   Threads    one struct pen_ring belongs to one thread; any number of them may read one file.
 *   Memory     one shared mapping, about 2 MiB; nothing is allocated. struct pen_ring holds a path: 5 KiB.
 *   Limits     files up to 1 GiB.
 *   Trust      a file of root, of ourselves or of the one uid named is mapped; another's is refused, since its
 *              owner could truncate it under the map (SIGBUS). Whatever is in the file is checked or masked.
 *   Errors     -errno. -EBADMSG: no ring, or damaged. -EPROTONOSUPPORT: a ring of another major version.
 *              -EPERM: not the owner's. -EAGAIN: try again soon. Others come from the kernel.
 */
#ifndef PENSTOCK_PROGRESS_H
#define PENSTOCK_PROGRESS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
#define PEN_RING_CHECK(cond, what) static_assert(cond, what)
#else
#define PEN_RING_CHECK(cond, what) _Static_assert(cond, what)
#endif
PEN_RING_CHECK(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian, and read as it lies");

/* ---- the bytes ----------------------------------------------------------------------------- */

#define PEN_RING_MAGIC 0x0a1a474e524e4550ull /* "PENRNG\x1a\n" */
#define PEN_RING_ABI_MAJOR 1u
#define PEN_RING_ABI_MINOR 0u
#define PEN_RING_ENDIAN 0x01020304u
#define PEN_RING_PAGE 4096u
#define PEN_RING_SECTIONS 16u
#define PEN_RING_STAGES 8u
#define PEN_RING_LIVE 8u
#define PEN_RING_BLOCK 32u	    /* counters of one thread: u64 words of its 256 bytes */
#define PEN_RING_NONE 0xffffffffu   /* no gauge slot */
#define PEN_RING_UNKNOWN UINT64_MAX /* eta_ms: not known */

enum { PEN_RING_COMPAT_CRC = 1, PEN_RING_COMPAT_URING = 2 }; /* bits of compat_flags */
enum { PEN_RING_HOT = 1, PEN_RING_COUNTERS, PEN_RING_GAUGES, PEN_RING_EVENTS, PEN_RING_NAMES };
enum {
	PEN_RING_INIT = 1,
	PEN_RING_RUNNING,
	PEN_RING_DRAINING,
	PEN_RING_CLOSED,
	PEN_RING_FAILED,
	PEN_RING_SUPERSEDED
};

/*
 * The types of events. Unknown ones: skip. All numbers in events are absolute, so applying one twice is
 * harmless.
 */
enum {
	PEN_RING_EV_QUEUED = 1, /* a = bytes_total, b = items_total */
	PEN_RING_EV_STARTED = 2,
	PEN_RING_EV_PROGRESS = 3,  /* a = bytes_done, b = items committed */
	PEN_RING_EV_RETRY = 4,	   /* a = attempt, b = not before (real ms), code */
	PEN_RING_EV_COMPLETED = 5, /* a = bytes_done, b = items committed */
	PEN_RING_EV_FAILED = 6,	   /* code */
	PEN_RING_EV_CANCELLED = 7,
	PEN_RING_EV_STALL = 8,	      /* stage, a = us */
	PEN_RING_EV_WRITER_STATE = 9, /* a = PEN_RING_RUNNING .. */
	PEN_RING_EV_CHECKPOINT = 10,  /* a = lsn */
	PEN_RING_EV_COALESCED = 11,   /* a = n */
	PEN_RING_EV_PAUSED = 13,      /* 12 is not written */
	PEN_RING_EV_RESUMED = 14,
	PEN_RING_EV_STALLED = 15,
	PEN_RING_EV_SKIPPED = 16,
	PEN_RING_EV_DEDUPLICATED = 17,
	PEN_RING_EV_RATE_LIMITED = 18,
	PEN_RING_EV_DEAD_LETTERED = 19,
	PEN_RING_EV_DEPENDENCY_READY = 20,
	PEN_RING_EV_CLEANED = 21,
	PEN_RING_EV_DRAINED = 22,
	PEN_RING_EV_STOPPED = 23,
	PEN_RING_EV_INTERRUPTED = 24,
	PEN_RING_EV_ERROR = 25,		 /* a program said so */
	PEN_RING_EV_ERROR_STANDARD = 26, /* code */
	PEN_RING_EV_ERROR_DOMAIN = 27,	 /* a = the user's domain, code */
	PEN_RING_EV_DONE = 28,		 /* a = count */
};

struct pen_ring_section {
	uint32_t type, flags;
	uint64_t offset, length;
	uint32_t elem_size, elem_count;
};

/* Page 0 up to 0x300; the rest of the page is 0, and its last four bytes are a CRC of all before them. */
struct pen_ring_header {
	uint64_t magic;
	uint16_t abi_major, abi_minor;
	uint32_t endian_tag, header_len, section_align, compat_flags, incompat_flags;
	uint64_t total_size, epoch;
	uint8_t instance[16], boot_id[16];
	uint64_t writer_start_ticks, pidns_ino;
	uint32_t writer_pid, writer_uid, owner_uid, clock_id;
	uint64_t created_mono_ns, created_real_ns;
	uint32_t event_slots, event_slot_size, gauge_slots, gauge_slot_size;
	uint32_t hb_period_ms, wake_period_us, section_count, section_entry_size;
	uint8_t reserved[0x60];
	struct pen_ring_section sections[PEN_RING_SECTIONS];
};

/* Page 1, in three pairs of lines; one thread writes it. */
struct pen_ring_hot {
	uint64_t claim, tail;
	uint32_t wake_seq, reserved0; /* wake_seq is the futex */
	uint64_t coalesced_total;
	uint64_t reserved1[12];
	uint64_t hb_mono_ns, hb_count;
	int64_t real_minus_mono; /* ns */
	uint32_t state, state_reason;
	uint64_t reserved2[12];
	uint64_t last_batch_id, commit_lsn, durable_lsn, inflight_chunks, inflight_bytes, queued_batches;
	uint64_t reserved3[10];
};

/* One copy of a gauge: the numbers of a batch. state is enum pen_state of penstock.h; 0: the slot is free. */
struct pen_ring_gauge {
	uint64_t batch_id;
	uint32_t state, attempt;
	uint64_t t_queued_ms, t_started_ms, t_updated_ms; /* real time */
	uint64_t bytes_total, bytes_done;		  /* total 0: not known */
	uint64_t items_total, committed, rejected, failed, skipped, duplicates, retrying;
	uint64_t rate_milli; /* items a second, times 1000 */
	uint64_t eta_ms;     /* PEN_RING_UNKNOWN: not known */
	uint32_t stage, err; /* err: a positive PEN_ number, 0 none */
	uint64_t commit_lsn;
	uint64_t as_of; /* events below this index are already in these numbers */
	uint64_t user_tag;
	uint64_t live[PEN_RING_LIVE];
	uint64_t reserved[4];
};

struct pen_ring_gauge_slot {
	uint64_t seq; /* copies[seq & 1] is good */
	uint64_t reserved[7];
	struct pen_ring_gauge copies[2];
};

struct pen_ring_event {
	uint64_t seq;	/* index + 1 */
	uint64_t ts_ns; /* CLOCK_MONOTONIC of the writer */
	uint64_t batch_id;
	uint16_t type;
	uint8_t rec_ver, stage;
	uint32_t gauge_idx; /* PEN_RING_NONE: no batch's */
	uint64_t a, b, c;   /* c: the event's number in the store's journal if it is durable, else 0 */
	uint32_t code;	    /* a positive PEN_ number or a program's own, 0 none */
	uint32_t crc;
};

/*
 * Element 1 + g of NAMES, for gauge slot g. Element 0 is char[8][32]: the stages. Names end at a NUL or at
 * their size.
 */
struct pen_ring_names {
	uint64_t batch_id;
	char label[56];
	char live[PEN_RING_LIVE][24];
};

struct pen_ring_counter {
	uint32_t id;
	uint8_t kind, unit; /* PEN_RING_COUNT .., PEN_RING_UNIT_NONE .. */
	uint16_t thread;
	uint64_t value_off; /* from the section's start */
	char name[48];
};

enum { PEN_RING_COUNT = 1, PEN_RING_LEVEL }; /* only grows; goes up and down */
enum {
	PEN_RING_UNIT_NONE,
	PEN_RING_UNIT_ITEMS,
	PEN_RING_UNIT_BYTES,
	PEN_RING_UNIT_NS,
	PEN_RING_UNIT_US,
	PEN_RING_UNIT_BATCHES
};

/*
 * Counter ids. A stage's are PEN_RING_ID(stage, what); several threads may have the same id: add them up.
 * some_us grows while at least one of the stage's threads waits for another stage, full_us while all of them
 * do.
 */
#define PEN_RING_ID(stage, what) ((uint32_t)(stage) << 8 | (uint32_t)(what))
enum {
	PEN_RING_ITEMS = 1,
	PEN_RING_BYTES,
	PEN_RING_BATCHES,
	PEN_RING_SOJOURN_NS, /* time of items in the stage, summed */
	PEN_RING_SOME_US,
	PEN_RING_FULL_US,
	PEN_RING_QUEUED,   /* level: chunks waiting before the stage */
	PEN_RING_CAPACITY, /* level: how many could */
	PEN_RING_BUSY_NS = 0x20,
	PEN_RING_PUBLISH_CPU_US, /* CPU time of the thread that writes the ring, spent on that */
	PEN_RING_P50_US,	 /* level: time of a commit, over the last 10 to 20 s; 0: there was none */
	PEN_RING_P99_US,
	PEN_RING_IO_SHORT = 0x1001,
	PEN_RING_IO_ERRORS,
	PEN_RING_IO_RETRIES,
};
enum { PEN_RING_READ, PEN_RING_CUT, PEN_RING_PROCESS, PEN_RING_COMMIT, PEN_RING_DECODE };

#define PEN_RING_AT(type, field, at) \
	PEN_RING_CHECK(offsetof(struct type, field) == (at), #type "." #field " has moved")
PEN_RING_AT(pen_ring_header, total_size, 0x20);
PEN_RING_AT(pen_ring_header, instance, 0x30);
PEN_RING_AT(pen_ring_header, writer_start_ticks, 0x50);
PEN_RING_AT(pen_ring_header, writer_pid, 0x60);
PEN_RING_AT(pen_ring_header, created_mono_ns, 0x70);
PEN_RING_AT(pen_ring_header, event_slots, 0x80);
PEN_RING_AT(pen_ring_header, hb_period_ms, 0x90);
PEN_RING_AT(pen_ring_header, reserved, 0xa0);
PEN_RING_AT(pen_ring_header, sections, 0x100);
PEN_RING_AT(pen_ring_hot, wake_seq, 0x10);
PEN_RING_AT(pen_ring_hot, coalesced_total, 0x18);
PEN_RING_AT(pen_ring_hot, hb_mono_ns, 0x80);
PEN_RING_AT(pen_ring_hot, state, 0x98);
PEN_RING_AT(pen_ring_hot, last_batch_id, 0x100);
PEN_RING_AT(pen_ring_hot, queued_batches, 0x128);
PEN_RING_AT(pen_ring_gauge, state, 0x08);
PEN_RING_AT(pen_ring_gauge, items_total, 0x38);
PEN_RING_AT(pen_ring_gauge, eta_ms, 0x78);
PEN_RING_AT(pen_ring_gauge, stage, 0x80);
PEN_RING_AT(pen_ring_gauge, as_of, 0x90);
PEN_RING_AT(pen_ring_gauge, live, 0xa0);
PEN_RING_AT(pen_ring_gauge_slot, copies, 0x40);
PEN_RING_AT(pen_ring_event, type, 0x18);
PEN_RING_AT(pen_ring_event, gauge_idx, 0x1c);
PEN_RING_AT(pen_ring_event, code, 0x38);
PEN_RING_AT(pen_ring_names, live, 0x40);
PEN_RING_AT(pen_ring_counter, name, 0x10);
PEN_RING_CHECK(sizeof(struct pen_ring_header) == 0x300, "header");
PEN_RING_CHECK(sizeof(struct pen_ring_hot) == 0x180, "hot words");
PEN_RING_CHECK(sizeof(struct pen_ring_gauge) == 256, "gauge");
PEN_RING_CHECK(sizeof(struct pen_ring_gauge_slot) == 576, "gauge slot");
PEN_RING_CHECK(sizeof(struct pen_ring_event) == 64, "event");
PEN_RING_CHECK(sizeof(struct pen_ring_names) == 256, "names");
PEN_RING_CHECK(sizeof(struct pen_ring_counter) == 64, "counter");

/* ---- the reader ---------------------------------------------------------------------------- */

/* A part of the map that was found to lie inside the file. */
struct pen_ring_part {
	const uint8_t *at;
	uint64_t offset, length; /* length 0: the file has no such section */
	uint32_t stride, count;
};

struct pen_ring {
	const uint8_t *map;
	size_t len;
	uint64_t dev, ino;
	struct pen_ring_header header; /* a private copy, checked */
	struct pen_ring_part parts[PEN_RING_NAMES + 1];
	char stages[PEN_RING_STAGES][32]; /* names, each ending in NUL; "" where there is none */
	uint64_t cursor;		  /* index of the next event */
	uint64_t hb_count, hb_seen_ns;	  /* the last heartbeat that was new to us, by our clock */
	char path[4096];
};

enum pen_ring_life {
	PEN_RING_ALIVE = 1,
	PEN_RING_STALLED, /* no heartbeat, and its process may still be there */
	PEN_RING_DEAD, /* no heartbeat, and its process is gone: what it ran can be resumed from the store */
	PEN_RING_REPLACED, /* another file has its name, or it was removed: open again */
	PEN_RING_ENDED,	   /* closed in good order, or failed: the hot state says which */
};

#define PEN_RING_OWNERS_OWN UINT32_MAX /* no third uid */

/* Whose files are read: root's, our own, and other_uid's. The stream starts at the present tail. */
static inline int pen_ring_open(struct pen_ring *ring, const char *path, uint32_t other_uid);
static inline void pen_ring_close(struct pen_ring *ring);

/* The stream goes on at the present tail. Read all gauges after it. */
static inline void pen_ring_join(struct pen_ring *ring);
/* The stream goes on at the oldest event that is still there: for who shows a history. */
static inline void pen_ring_rewind(struct pen_ring *ring);
/*
 * Copies up to cap events, advances, and returns how many; -EBADMSG if the file is no longer a ring. *lost is
 * the exact number of events that were overwritten before the first of them: read all gauges after that. 0
 * and no loss: nothing new.
 */
static inline int pen_ring_poll(struct pen_ring *ring, struct pen_ring_event *ret, uint32_t cap,
				uint64_t *lost);
/* Sleeps until there are events to poll or timeout_ms is over. True: there are. */
static inline bool pen_ring_wait(const struct pen_ring *ring, uint32_t timeout_ms);

/*
 * The gauge in a slot: 1 read, 0 the slot is free (or does not exist), -EAGAIN the writer was always faster.
 */
static inline int pen_ring_gauge(const struct pen_ring *ring, uint32_t slot, struct pen_ring_gauge *ret);
/* The first one in use at or after *slot, which is set to it. Returns as above; 0: there are no more. */
static inline int pen_ring_next(const struct pen_ring *ring, uint32_t *slot, struct pen_ring_gauge *ret);
/*
 * The names that belong to a gauge that was read. False, and all empty: there are none, or they are being
 * written.
 */
static inline bool pen_ring_names(const struct pen_ring *ring, uint32_t slot, uint64_t batch_id,
				  struct pen_ring_names *ret);

/* Counter number i. False: there are no more. Names end in NUL. */
static inline bool pen_ring_counter(const struct pen_ring *ring, uint32_t i, struct pen_ring_counter *ret,
				    uint64_t *value);
/* The sum over all threads of one id. */
static inline uint64_t pen_ring_total(const struct pen_ring *ring, uint32_t id);
/* The hot words, each by itself. */
static inline void pen_ring_hot(const struct pen_ring *ring, struct pen_ring_hot *ret);
/*
 * Looks at the heartbeat and, when that is stale, at the process. Call it a few times a second at most:
 * system calls.
 */
static inline enum pen_ring_life pen_ring_life(struct pen_ring *ring);

/*
 * The directories in which rings may be, in order; "" where one does not apply here. False: i is past the
 * last. Below it are STORE/OWNER.SLOT.ring, STORE being 16 hex digits.
 */
static inline bool pen_ring_rundir(unsigned i, char *ret, size_t cap);
/* Calls each with the path of every ring of a store, until it returns other than 0; returns that. */
static inline int pen_ring_scan(uint64_t store_id, int (*each)(void *arg, const char *path), void *arg);

/* ---- how it is done ------------------------------------------------------------------------ */

/* The file as words, whatever struct lies over them. */
typedef uint64_t __attribute__((may_alias)) pen_ring_word;

/*
 * Orders are on the words they are about: the same instructions as fences on x86-64, and a race checker sees
 * them.
 */
static inline uint64_t pen_ring_load(const void *at)
{
	return __atomic_load_n((const pen_ring_word *)at, __ATOMIC_RELAXED);
}

static inline uint64_t pen_ring_acquire(const void *at)
{
	return __atomic_load_n((const pen_ring_word *)at, __ATOMIC_ACQUIRE);
}

/* Copies words that a writer may be changing; each load keeps what follows it below. */
static inline void pen_ring_copy(void *to, const void *from, size_t size)
{
	pen_ring_word *out = (pen_ring_word *)to;
	const pen_ring_word *in = (const pen_ring_word *)from;

	for (size_t i = 0; i < size / 8; i++) {
		/*
		 * PAIR(cast.reuse), PAIR(cast.refill): who sees a word of a later write sees, in the load
		 * after the copy, the number that was raised before that write. Without it a mix of two
		 * writes is accepted.
		 */
		out[i] = pen_ring_acquire(&in[i]);
	}
}

/* CRC-32 as in zlib; state is 0 at first. */
static inline uint32_t pen_ring_crc32(uint32_t state, const void *data, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const uint8_t *at = (const uint8_t *)data;

	state = ~state;
	for (; len; len--) {
		state ^= *at++;
		state = state >> 4 ^ table[state & 15];
		state = state >> 4 ^ table[state & 15];
	}
	return ~state;
}

static inline uint64_t pen_ring_mono_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline const struct pen_ring_hot *pen_ring_hot_at(const struct pen_ring *ring)
{
	return (const struct pen_ring_hot *)(const void *)ring->parts[PEN_RING_HOT].at;
}

/* This boot's id; all 0 if it cannot be read. */
static inline void pen_ring_boot_id(uint8_t ret[16])
{
	char text[37];
	unsigned digits = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(ret, 0, 16);
	if (fd < 0)
		return;
	if (read(fd, text, 36) == 36) {
		for (unsigned i = 0; i < 36 && digits < 32; i++) {
			char c = text[i];

			if (c == '-')
				continue;
			ret[digits / 2] =
				(uint8_t)(ret[digits / 2] << 4 | (c <= '9' ? c - '0' : (c | 32) - 'a' + 10));
			digits++;
		}
	}
	(void)close(fd);
}

/*
 * When a process started, in ticks; 0 if there is none (a zombie is none); UINT64_MAX if it cannot be known.
 */
static inline uint64_t pen_ring_start_ticks(uint32_t pid)
{
	char path[32], text[1024];
	const char *at;
	ssize_t got;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return kill((pid_t)pid, 0) && errno == ESRCH ? 0 : UINT64_MAX;
	got = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (got <= 0)
		return got < 0 && errno == ESRCH ? 0 : UINT64_MAX;
	text[got] = 0;
	at = strrchr(text, ')'); /* the name in parentheses may hold anything */
	if (!at || strlen(at) < 4)
		return UINT64_MAX;
	if (at[2] == 'Z' || at[2] == 'X')
		return 0;
	for (int field = 2; field < 22; field++) {
		at = strchr(at + 1, ' ');
		if (!at)
			return UINT64_MAX;
	}
	return strtoull(at + 1, NULL, 10);
}

static inline uint64_t pen_ring_pidns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint64_t)st.st_ino;
}

/*
 * Element sizes come from the file, as newer writers may have longer ones; these are what this reader needs
 * of each.
 */
static inline bool pen_ring_section_ok(const struct pen_ring_header *h, const struct pen_ring_section *s)
{
	static const uint32_t least[PEN_RING_NAMES + 1] = {
		0,
		0,
		sizeof(struct pen_ring_counter),
		sizeof(struct pen_ring_gauge_slot),
		sizeof(struct pen_ring_event),
		sizeof(struct pen_ring_names),
	};

	if (s->offset < PEN_RING_PAGE || s->offset % 64 || s->offset > h->total_size ||
	    s->length > h->total_size - s->offset)
		return false;
	if (s->type == PEN_RING_HOT)
		return s->length >= sizeof(struct pen_ring_hot);
	if (s->elem_size < least[s->type] || s->elem_size % 8 || s->elem_size > PEN_RING_PAGE)
		return false;
	if ((uint64_t)s->elem_size * s->elem_count > s->length)
		return false;
	if (s->type == PEN_RING_GAUGES)
		return s->elem_size == h->gauge_slot_size && s->elem_count == h->gauge_slots;
	if (s->type == PEN_RING_EVENTS)
		return s->elem_size == h->event_slot_size && s->elem_count == h->event_slots &&
		       s->elem_count >= 4 && !(s->elem_count & (s->elem_count - 1));
	return true;
}

/* page is all of page 0. Fills header and parts, but for their addresses. */
static inline int pen_ring_take(struct pen_ring *ring, const uint8_t *page, uint64_t size)
{
	struct pen_ring_header *h = &ring->header;
	uint32_t crc;

	memcpy(h, page, sizeof(*h));
	memcpy(&crc, page + PEN_RING_PAGE - 4, 4);
	if (!h->magic)
		return -EAGAIN;
	if (h->magic != PEN_RING_MAGIC || h->endian_tag != PEN_RING_ENDIAN)
		return -EBADMSG;
	if (h->abi_major != PEN_RING_ABI_MAJOR || h->incompat_flags)
		return -EPROTONOSUPPORT;
	if (crc != pen_ring_crc32(0, page, PEN_RING_PAGE - 4))
		return -EBADMSG;
	if (h->header_len < 0x100 || h->header_len > PEN_RING_PAGE - 4 || h->total_size < 2 * PEN_RING_PAGE ||
	    h->total_size > size || h->total_size > 1u << 30)
		return -EBADMSG;
	if (h->section_entry_size < sizeof(struct pen_ring_section) ||
	    h->section_entry_size > PEN_RING_PAGE || h->section_count > 1024 ||
	    0x100 + (uint64_t)h->section_count * h->section_entry_size > h->header_len)
		return -EBADMSG;
	for (uint32_t i = 0; i < h->section_count; i++) {
		struct pen_ring_section s;
		struct pen_ring_part *part;

		memcpy(&s, page + 0x100 + (size_t)i * h->section_entry_size, sizeof(s));
		if (s.type < PEN_RING_HOT || s.type > PEN_RING_NAMES)
			continue;
		part = &ring->parts[s.type];
		if (part->length || !pen_ring_section_ok(h, &s))
			return -EBADMSG;
		part->offset = s.offset;
		part->length = s.length;
		part->stride = s.elem_size;
		part->count = s.elem_count;
	}
	if (!ring->parts[PEN_RING_HOT].length || !ring->parts[PEN_RING_GAUGES].length ||
	    !ring->parts[PEN_RING_EVENTS].length)
		return -EBADMSG;
	return 0;
}

static inline int pen_ring_map(struct pen_ring *ring, int fd, uint32_t other_uid)
{
	uint8_t page[PEN_RING_PAGE];
	struct stat st;
	void *map;
	int rc;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if (st.st_uid && st.st_uid != geteuid() &&
	    (other_uid == PEN_RING_OWNERS_OWN || st.st_uid != other_uid))
		return -EPERM;
	if (pread(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		return -EBADMSG;
	rc = pen_ring_take(ring, page, (uint64_t)st.st_size);
	if (rc)
		return rc;
	map = mmap(NULL, (size_t)ring->header.total_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ring->map = (const uint8_t *)map;
	ring->len = (size_t)ring->header.total_size;
	ring->dev = (uint64_t)st.st_dev;
	ring->ino = (uint64_t)st.st_ino;
	for (unsigned i = PEN_RING_HOT; i <= PEN_RING_NAMES; i++)
		ring->parts[i].at = ring->map + ring->parts[i].offset;
	/*
	 * PAIR(cast.magic): who sees the magic sees a file that was filled. Without it a reader might find
	 * gauges of a file that is just being made.
	 */
	return pen_ring_acquire(ring->map) == PEN_RING_MAGIC ? 0 : -EAGAIN;
}

static inline int pen_ring_open(struct pen_ring *ring, const char *path, uint32_t other_uid)
{
	const struct pen_ring_part *names = &ring->parts[PEN_RING_NAMES];
	size_t len = strlen(path);
	int fd, rc;

	memset(ring, 0, sizeof(*ring));
	if (len >= sizeof(ring->path))
		return -ENAMETOOLONG;
	memcpy(ring->path, path, len + 1);
	/* NONBLOCK: a FIFO in its place must not hold us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	rc = pen_ring_map(ring, fd, other_uid);
	(void)close(fd);
	if (rc) {
		pen_ring_close(ring);
		return rc;
	}
	if (names->length && names->count)
		pen_ring_copy(ring->stages, names->at, sizeof(ring->stages));
	for (unsigned i = 0; i < PEN_RING_STAGES; i++)
		ring->stages[i][sizeof(ring->stages[i]) - 1] = 0;
	ring->hb_count = pen_ring_load(&pen_ring_hot_at(ring)->hb_count);
	ring->hb_seen_ns = pen_ring_mono_ns();
	pen_ring_join(ring);
	return 0;
}

static inline void pen_ring_close(struct pen_ring *ring)
{
	if (ring->map)
		(void)munmap((void *)(uintptr_t)ring->map, ring->len);
	ring->map = NULL;
}

static inline uint64_t pen_ring_tail(const struct pen_ring *ring)
{
	/*
	 * PAIR(cast.publish): who sees tail sees the events below it. Without it an event is copied before it
	 * was written.
	 */
	return pen_ring_acquire(&pen_ring_hot_at(ring)->tail);
}

static inline void pen_ring_join(struct pen_ring *ring)
{
	ring->cursor = pen_ring_tail(ring);
}

static inline void pen_ring_rewind(struct pen_ring *ring)
{
	uint64_t slots = ring->parts[PEN_RING_EVENTS].count, tail = pen_ring_tail(ring);

	ring->cursor = tail > slots ? tail - slots : 0;
}

static inline int pen_ring_poll(struct pen_ring *ring, struct pen_ring_event *ret, uint32_t cap,
				uint64_t *lost)
{
	const struct pen_ring_part *events = &ring->parts[PEN_RING_EVENTS];
	uint64_t slots = events->count, begun = ring->cursor, from = begun, tail = pen_ring_tail(ring), claim,
		 ready;
	uint32_t n, drop = 0;

	*lost = 0;
	if (tail == begun)
		return 0;
	if (tail - begun > INT64_MAX)
		return -EBADMSG;
	if (tail - from > slots)
		from = tail - slots;
	ready = tail - from;
	n = ready < cap ? (uint32_t)ready : cap;
	n = n < INT32_MAX ? n : INT32_MAX;
	for (uint32_t i = 0; i < n; i++)
		pen_ring_copy(&ret[i], events->at + ((from + i) & (slots - 1)) * events->stride,
			      sizeof(*ret));
	/*
	 * PAIR(cast.claim): whoever counts an event as lost sees the gauges that the writer set before it
	 * claimed the slot. Without it gauges read after a loss may lack what was lost.
	 */
	claim = pen_ring_acquire(&pen_ring_hot_at(ring)->claim);
	if (claim - tail > INT64_MAX)
		return -EBADMSG;
	/* Event i is whole if its slot was not claimed again: i + slots >= claim. */
	if (claim - from > slots) {
		uint64_t over = claim - from - slots;

		from += over;
		drop = over < n ? (uint32_t)over : n;
	}
	*lost = from - begun;
	n -= drop;
	if (drop && n)
		memmove(ret, ret + drop, n * sizeof(*ret));
	for (uint32_t i = 0; i < n; i++)
		if (ret[i].seq != from + i + 1)
			return -EBADMSG;
	ring->cursor = from + n;
	return (int)n;
}

static inline bool pen_ring_wait(const struct pen_ring *ring, uint32_t timeout_ms)
{
	const uint32_t *word = &pen_ring_hot_at(ring)->wake_seq;
	struct timespec timeout = { (time_t)(timeout_ms / 1000), (long)(timeout_ms % 1000) * 1000000 };
	/*
	 * PAIR(cast.wake): who sees this number sees the tail that was set before it, so the look below finds
	 * those events; a later number ends the sleep. Without it a reader sleeps beside events until the
	 * timeout.
	 */
	uint32_t seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (pen_ring_tail(ring) != ring->cursor)
		return true;
	/* Not FUTEX_PRIVATE: the writer is another process. */
	(void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
	return pen_ring_tail(ring) != ring->cursor;
}

static inline int pen_ring_gauge(const struct pen_ring *ring, uint32_t slot, struct pen_ring_gauge *ret)
{
	const struct pen_ring_part *gauges = &ring->parts[PEN_RING_GAUGES];
	const struct pen_ring_gauge_slot *at;

	if (slot >= gauges->count)
		return 0;
	at = (const struct pen_ring_gauge_slot *)(const void *)(gauges->at + (size_t)slot * gauges->stride);
	for (int tries = 0; tries < 256; tries++) {
		/*
		 * PAIR(cast.flip): who sees the number sees the words of that write. Without it they may be
		 * older.
		 */
		uint64_t seq = pen_ring_acquire(&at->seq);

		pen_ring_copy(ret, &at->copies[seq & 1], sizeof(*ret));
		if (pen_ring_load(&at->seq) == seq)
			return ret->state != 0;
		if (tries % 8 == 7)
			(void)sched_yield();
	}
	return -EAGAIN;
}

static inline int pen_ring_next(const struct pen_ring *ring, uint32_t *slot, struct pen_ring_gauge *ret)
{
	for (; *slot < ring->parts[PEN_RING_GAUGES].count; ++*slot) {
		int rc = pen_ring_gauge(ring, *slot, ret);

		if (rc)
			return rc;
	}
	return 0;
}

static inline bool pen_ring_names(const struct pen_ring *ring, uint32_t slot, uint64_t batch_id,
				  struct pen_ring_names *ret)
{
	const struct pen_ring_part *names = &ring->parts[PEN_RING_NAMES];
	const uint8_t *at = names->at + ((size_t)slot + 1) * names->stride;

	if (names->length && slot < names->count && slot + 1 < names->count) {
		/*
		 * PAIR(cast.names): who sees the batch sees its names. Without it they may be another batch's.
		 */
		uint64_t before = pen_ring_acquire(at);

		pen_ring_copy(ret, at, sizeof(*ret));
		if (before == batch_id && batch_id && pen_ring_load(at) == batch_id) {
			ret->label[sizeof(ret->label) - 1] = 0;
			for (unsigned i = 0; i < PEN_RING_LIVE; i++)
				ret->live[i][sizeof(ret->live[i]) - 1] = 0;
			return true;
		}
	}
	memset(ret, 0, sizeof(*ret));
	return false;
}

static inline bool pen_ring_counter(const struct pen_ring *ring, uint32_t i, struct pen_ring_counter *ret,
				    uint64_t *value)
{
	const struct pen_ring_part *counters = &ring->parts[PEN_RING_COUNTERS];

	if (i >= counters->count)
		return false;
	/* Never changed after the start. */
	memcpy(ret, counters->at + (size_t)i * counters->stride, sizeof(*ret));
	ret->name[sizeof(ret->name) - 1] = 0;
	*value = 0;
	if (ret->value_off % 8 == 0 && counters->length >= 8 && ret->value_off <= counters->length - 8)
		*value = pen_ring_load(counters->at + ret->value_off);
	return true;
}

static inline uint64_t pen_ring_total(const struct pen_ring *ring, uint32_t id)
{
	struct pen_ring_counter counter;
	uint64_t value, sum = 0;

	for (uint32_t i = 0; pen_ring_counter(ring, i, &counter, &value); i++)
		sum += counter.id == id ? value : 0;
	return sum;
}

static inline void pen_ring_hot(const struct pen_ring *ring, struct pen_ring_hot *ret)
{
	const pen_ring_word *at = (const pen_ring_word *)(const void *)pen_ring_hot_at(ring);
	pen_ring_word *out = (pen_ring_word *)(void *)ret;

	for (size_t i = 0; i < sizeof(*ret) / 8; i++)
		out[i] = pen_ring_load(&at[i]);
}

static inline bool pen_ring_process_gone(const struct pen_ring *ring)
{
	static const uint8_t unknown[16] = { 0 };
	const struct pen_ring_header *h = &ring->header;
	uint8_t boot[16];
	uint64_t pidns = pen_ring_pidns(), ticks;

	pen_ring_boot_id(boot);
	if (memcmp(boot, h->boot_id, 16) && memcmp(boot, unknown, 16) && memcmp(h->boot_id, unknown, 16))
		return true;
	if (!pidns || pidns != h->pidns_ino || !h->writer_pid)
		return false; /* its pid means nothing here */
	ticks = pen_ring_start_ticks(h->writer_pid);
	return !ticks || (ticks != UINT64_MAX && ticks != h->writer_start_ticks);
}

static inline enum pen_ring_life pen_ring_life(struct pen_ring *ring)
{
	uint64_t now = pen_ring_mono_ns(), period = (uint64_t)ring->header.hb_period_ms * 1000000;
	struct pen_ring_hot hot;
	struct stat st;

	pen_ring_hot(ring, &hot);
	if (hot.state == PEN_RING_CLOSED || hot.state == PEN_RING_FAILED)
		return PEN_RING_ENDED;
	if (hot.state == PEN_RING_SUPERSEDED || lstat(ring->path, &st) || (uint64_t)st.st_ino != ring->ino ||
	    (uint64_t)st.st_dev != ring->dev)
		return PEN_RING_REPLACED;
	if (hot.hb_count != ring->hb_count) {
		ring->hb_count = hot.hb_count;
		ring->hb_seen_ns = now;
	}
	/* Its clock reads like ours unless time namespaces differ, and then only what we saw counts. */
	if (now - ring->hb_seen_ns <= 4 * period)
		if (ring->header.pidns_ino != pen_ring_pidns() || now - hot.hb_mono_ns <= 4 * period ||
		    hot.hb_mono_ns > now)
			return PEN_RING_ALIVE;
	return pen_ring_process_gone(ring) ? PEN_RING_DEAD : PEN_RING_STALLED;
}

static inline bool pen_ring_rundir(unsigned i, char *ret, size_t cap)
{
	const char *given = getenv("PENSTOCK_RUN"), *session = getenv("XDG_RUNTIME_DIR");
	int len = 0;

	ret[0] = 0;
	if (given && *given) {
		if (i)
			return false;
		len = snprintf(ret, cap, "%s", given);
	} else if (i == 0) {
		len = snprintf(ret, cap, "/run/penstock");
	} else if (i == 1) {
		if (session && *session)
			len = snprintf(ret, cap, "%s/penstock", session);
	} else if (i == 2) {
		len = snprintf(ret, cap, "/dev/shm/penstock-%u", (unsigned)geteuid());
	} else {
		return false;
	}
	if (len < 0 || (size_t)len >= cap)
		ret[0] = 0;
	return true;
}

static inline int pen_ring_scan(uint64_t store_id, int (*each)(void *arg, const char *path), void *arg)
{
	char base[3072], path[4096];
	int rc = 0;

	for (unsigned i = 0; !rc && pen_ring_rundir(i, base, sizeof(base)); i++) {
		struct dirent *entry;
		DIR *dir;

		if (!base[0] || snprintf(path, sizeof(path), "%s/%016llx", base,
					 (unsigned long long)store_id) >= (int)sizeof(path))
			continue;
		dir = opendir(path);
		if (!dir)
			continue;
		while (!rc && (entry = readdir(dir))) {
			size_t len = strlen(entry->d_name);

			if (len < 6 || entry->d_name[0] == '.' || strcmp(entry->d_name + len - 5, ".ring"))
				continue;
			if (snprintf(path, sizeof(path), "%s/%016llx/%s", base, (unsigned long long)store_id,
				     entry->d_name) < (int)sizeof(path))
				rc = each(arg, path);
		}
		(void)closedir(dir);
	}
	return rc;
}

#endif
