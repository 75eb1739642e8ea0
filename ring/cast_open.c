/* SPDX-License-Identifier: MIT */
/*
 * cast_open - makes the file of a progress ring, and finds the directory for it
 *
 * The file is complete before it has its name: all of it is allocated (a full tmpfs is an error here, not a
 * SIGBUS later), filled, granted, and then renamed. It never gets another size, and its inode is never used
 * again: a later start makes a new one, so maps of this one stay what they are.
 */
#include "ring/cast.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/cast_private.h"
#include "ring/error.h"

#define EVENTS_DEFAULT 16384u
#define GAUGES_DEFAULT 1024u
#define EVENTS_MAX (1u << 18)
#define GAUGES_MAX (1u << 16)
#define THREADS_MAX 1024u
#define BLOCK_BYTES (PEN_RING_BLOCK * 8u)

/* ---- the directory -------------------------------------------------------------------------- */

int pen_cast_place_check(int dir, struct pen_failure *why)
{
	struct statfs fs;
	struct stat st;

	if (fstat(dir, &st) || fstatfs(dir, &fs))
		return pen_fail(why, -errno, errno, "cannot look at the directory for progress rings");
	if (!S_ISDIR(st.st_mode))
		return pen_fail(why, -ENOTDIR, ENOTDIR, "the place for progress rings is no directory");
	if (st.st_uid && st.st_uid != geteuid())
		return pen_fail(why, -EPERM, EPERM, "the directory for progress rings belongs to user %u",
				(unsigned)st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH) && !(st.st_mode & S_ISVTX && !st.st_uid))
		return pen_fail(why, -EPERM, EPERM,
				"others may write into the directory for progress rings (mode %04o)",
				(unsigned)(st.st_mode & 07777));
	/* A store into a map of a disk's file can wait for that disk. */
	if (fs.f_type != TMPFS_MAGIC && (unsigned long)fs.f_type != RAMFS_MAGIC)
		return pen_fail(why, -EMEDIUMTYPE, EMEDIUMTYPE,
				"the directory for progress rings is not in memory (tmpfs)");
	return 0;
}

/* Below parent, made if it may be; a negative code if it is not there, cannot be opened, or is not safe. */
static int open_dir(int parent, const char *name, mode_t make, struct pen_failure *why)
{
	int dir, rc;

	if (make && mkdirat(parent, name, make) && errno != EEXIST && errno != EROFS)
		return pen_fail(why, -errno, errno, "cannot make the directory %s for progress rings", name);
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return pen_fail(why, -errno, errno, "cannot open the directory %s for progress rings", name);
	rc = pen_cast_place_check(dir, why);
	if (rc) {
		(void)close(dir);
		return rc;
	}
	return dir;
}

int pen_cast_place(uint64_t store_id, char *ret_path, size_t cap, struct pen_failure *why)
{
	char base[3072], store[17];
	int rc = -ENOENT;

	(void)snprintf(store, sizeof(store), "%016llx", (unsigned long long)store_id);
	for (unsigned i = 0; pen_ring_rundir(i, base, sizeof(base)); i++) {
		struct stat st;
		int run, dir;

		if (!base[0])
			continue;
		if (why)
			*why = (struct pen_failure){ 0 }; /* the last place's reason is the one to tell */
		/* What is common to all users is made by the administrator. */
		run = open_dir(AT_FDCWD, base, strcmp(base, "/run/penstock") ? 0700 : 0, why);
		if (run < 0) {
			rc = run;
			continue;
		}
		/* Files say who may read them; whoever may enter the upper directory may enter this one. */
		dir = open_dir(run, store, fstat(run, &st) || !(st.st_mode & S_IXOTH) ? 0700 : 0755, why);
		(void)close(run);
		if (dir < 0) {
			rc = dir;
			continue;
		}
		if (why)
			*why = (struct pen_failure){ 0 };
		(void)snprintf(ret_path, cap, "%s/%s", base, store);
		return dir;
	}
	if (why && !why->code)
		(void)pen_fail(why, rc, -rc, "there is no directory for progress rings");
	return rc;
}

void pen_cast_owner(const char *owner, char ret[65])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0, cut = 0;

	for (const char *c = owner; *c; c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			     (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || (*c == '.' && n);
		size_t more = plain ? 1 : 3;

		if (n + more > 64) {
			(void)snprintf(ret + cut, 10, "~%08x", pen_ring_crc32(0, owner, strlen(owner)));
			return;
		}
		if (plain) {
			ret[n] = *c;
		} else {
			ret[n] = '%';
			ret[n + 1] = hex[(unsigned char)*c >> 4];
			ret[n + 2] = hex[*c & 15];
		}
		n += more;
		cut = n <= 64 - 9 ? n : cut;
	}
	if (!n)
		ret[n++] = '_';
	ret[n] = 0;
}

/* ---- the bytes ------------------------------------------------------------------------------ */

static uint64_t section(struct pen_ring_header *h, uint32_t type, uint64_t length, uint32_t elem_size,
			uint32_t elem_count)
{
	struct pen_ring_section *s = &h->sections[h->section_count++];

	*s = (struct pen_ring_section){ .type = type,
					.offset = h->total_size,
					.length = length,
					.elem_size = elem_size,
					.elem_count = elem_count };
	h->total_size += pen_round_up(length, PEN_RING_PAGE);
	return s->offset;
}

/* Where each section lies, and everything else in page 0 but the magic. */
static int describe(struct pen_ring_header *h, uint64_t offsets[PEN_RING_NAMES + 1],
		    const struct pen_cast_options *opt)
{
	const struct pen_clock *clock = opt->clock ? opt->clock : &pen_clock_real;
	uint32_t events = opt->event_slots ? opt->event_slots : EVENTS_DEFAULT;
	uint32_t gauges = opt->gauge_slots ? opt->gauge_slots : GAUGES_DEFAULT;
	size_t descriptors = pen_round_up(opt->counter_count * sizeof(struct pen_ring_counter), BLOCK_BYTES);

	if (!pen_is_pow2(events) || events < 8 || events > EVENTS_MAX || gauges > GAUGES_MAX ||
	    opt->threads > THREADS_MAX)
		return -EINVAL;
	*h = (struct pen_ring_header){
		.abi_major = PEN_RING_ABI_MAJOR,
		.abi_minor = PEN_RING_ABI_MINOR,
		.endian_tag = PEN_RING_ENDIAN,
		.header_len = sizeof(*h),
		.section_align = PEN_RING_PAGE,
		.compat_flags = (opt->crc ? PEN_RING_COMPAT_CRC : 0) |
				(opt->uring ? PEN_RING_COMPAT_URING : 0),
		.total_size = PEN_RING_PAGE,
		.epoch = opt->epoch,
		.pidns_ino = pen_ring_pidns(),
		.writer_pid = (uint32_t)getpid(),
		.writer_uid = geteuid(),
		.owner_uid = opt->owner_uid,
		.clock_id = CLOCK_MONOTONIC,
		.created_mono_ns = pen_mono_ns(clock),
		.created_real_ns = pen_real_ms(clock) * PEN_NS_PER_MS,
		.event_slots = events,
		.event_slot_size = sizeof(struct pen_ring_event),
		.gauge_slots = gauges,
		.gauge_slot_size = sizeof(struct pen_ring_gauge_slot),
		.hb_period_ms = opt->hb_period_ms ? opt->hb_period_ms : 250,
		.wake_period_us = opt->wake_period_us > 1000 ? opt->wake_period_us : 1000,
		.section_entry_size = sizeof(struct pen_ring_section),
	};
	if (getrandom(h->instance, sizeof(h->instance), 0) != sizeof(h->instance))
		return -EIO;
	pen_ring_boot_id(h->boot_id);
	h->writer_start_ticks = pen_ring_start_ticks(h->writer_pid);
	offsets[PEN_RING_HOT] = section(h, PEN_RING_HOT, PEN_RING_PAGE, 0, 0);
	offsets[PEN_RING_COUNTERS] = section(h, PEN_RING_COUNTERS,
					     descriptors + (uint64_t)opt->threads * BLOCK_BYTES,
					     sizeof(struct pen_ring_counter), opt->counter_count);
	offsets[PEN_RING_GAUGES] = section(h, PEN_RING_GAUGES, (uint64_t)gauges * h->gauge_slot_size,
					   h->gauge_slot_size, gauges);
	offsets[PEN_RING_NAMES] = section(h, PEN_RING_NAMES, (gauges + 1ull) * sizeof(struct pen_ring_names),
					  sizeof(struct pen_ring_names), gauges + 1);
	offsets[PEN_RING_EVENTS] = section(h, PEN_RING_EVENTS, (uint64_t)events * h->event_slot_size,
					   h->event_slot_size, events);
	return 0;
}

static void fill_counters(struct pen_cast *cast, uint8_t *at, const struct pen_cast_options *opt)
{
	struct pen_ring_counter *to = (struct pen_ring_counter *)(void *)at;

	cast->blocks = at + pen_round_up(opt->counter_count * sizeof(*to), BLOCK_BYTES);
	for (uint32_t i = 0; i < opt->counter_count; i++) {
		const struct pen_cast_counter *c = &opt->counters[i];

		pen_assert(c->thread < opt->threads && c->word < PEN_RING_BLOCK);
		to[i].id = c->id;
		to[i].kind = c->kind;
		to[i].unit = c->unit;
		to[i].thread = c->thread;
		to[i].value_off = (uint64_t)(cast->blocks - at) + c->thread * BLOCK_BYTES + c->word * 8u;
		(void)snprintf(to[i].name, sizeof(to[i].name), "%s", c->name);
	}
}

/* The map is all zeros: both copies of each gauge say "free", no event has a number. */
static void fill(struct pen_cast *cast, const struct pen_ring_header *h,
		 const uint64_t offsets[PEN_RING_NAMES + 1], const struct pen_cast_options *opt)
{
	uint64_t magic = PEN_RING_MAGIC;
	uint32_t crc;

	cast->hot = (struct pen_ring_hot *)(void *)(cast->map + offsets[PEN_RING_HOT]);
	cast->gauges = cast->map + offsets[PEN_RING_GAUGES];
	cast->names = cast->map + offsets[PEN_RING_NAMES];
	cast->events = cast->map + offsets[PEN_RING_EVENTS];
	fill_counters(cast, cast->map + offsets[PEN_RING_COUNTERS], opt);
	for (unsigned i = 0; i < PEN_RING_STAGES; i++)
		if (opt->stages[i])
			(void)snprintf((char *)cast->names + i * 32, 32, "%s", opt->stages[i]);
	cast->tail = opt->first_index;
	cast->hot->claim = cast->hot->tail = cast->tail;
	cast->hot->state = PEN_RING_RUNNING;
	pen_cast_beat(cast);

	memcpy(cast->map, h, sizeof(*h));
	memcpy(cast->map, &(uint64_t){ magic }, 8);
	crc = pen_ring_crc32(0, cast->map, PEN_RING_PAGE - 4);
	memset(cast->map, 0, 8);
	memcpy(cast->map + PEN_RING_PAGE - 4, &crc, 4);
	PEN_CAST_POINT(filled);
	/*
	 * PAIR(cast.magic): after all else. Without it a reader that opens the file by another name may take
	 * half of it.
	 */
	__atomic_store_n((uint64_t *)(void *)cast->map, magic, __ATOMIC_RELEASE);
}

/* ---- the file ------------------------------------------------------------------------------- */

/*
 * A list of rights for one more user, as the kernel keeps it: it needs no privilege, unlike giving the file
 * away. The group's rights become the mask, so the mode shows r for the group where only this user has it.
 */
static int grant(int fd, uint32_t uid, uint32_t mode)
{
	struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entries[5];
	} acl = { 2,
		  { { 0x01, 6, UINT32_MAX },			  /* the owner: rw */
		    { 0x02, 4, uid },				  /* this user: r */
		    { 0x04, mode & S_IRGRP ? 4 : 0, UINT32_MAX }, /* the group */
		    { 0x10, 4, UINT32_MAX },			  /* the mask */
		    { 0x20, 0, UINT32_MAX } } };		  /* others: nothing */

	return fsetxattr(fd, "system.posix_acl_access", &acl, sizeof(acl), 0) ? -errno : 0;
}

/* A new file of that size, mapped; no name but a temporary one. */
static int make_file(struct pen_cast *cast, const char *temporary, const struct pen_cast_options *opt,
		     struct pen_failure *why)
{
	uint32_t mode = opt->mode ? opt->mode : 0600;
	int fd = openat(cast->dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	void *map;
	int rc;

	if (fd < 0)
		return pen_fail(why, -errno, errno, "cannot create a progress ring");
	rc = posix_fallocate(fd, 0, (off_t)cast->len);
	if (rc) {
		rc = pen_fail(why, -rc, rc, "no room for a progress ring of %zu bytes", cast->len);
	} else if (fchmod(fd, mode)) {
		rc = pen_fail(why, -errno, errno, "cannot set the mode of a progress ring");
	} else if (opt->owner_uid != geteuid() && (rc = grant(fd, opt->owner_uid, mode))) {
		rc = pen_fail(why, rc, -rc, "cannot let user %u read a progress ring",
			      (unsigned)opt->owner_uid);
	} else {
		map = mmap(NULL, cast->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
		if (map == MAP_FAILED)
			rc = pen_fail(why, -errno, errno, "cannot map a progress ring of %zu bytes",
				      cast->len);
		else
			cast->map = map;
	}
	if (!rc) {
		struct stat st;

		if (fstat(fd, &st) == 0)
			cast->ino = st.st_ino;
	}
	(void)close(fd);
	return rc;
}

/* The file that has the name so far; -1 if there is none that could have been ours. */
static int open_old(const struct pen_cast *cast)
{
	int fd = openat(cast->dir, cast->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
			st.st_size < 2 * (off_t)PEN_RING_PAGE)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

/* Best effort: a reader finds out by the inode as well, only later. */
static void supersede(int old)
{
	uint8_t *map;

	if (old < 0)
		return;
	map = mmap(NULL, 2 * (size_t)PEN_RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, old, 0);
	(void)close(old);
	if (map == MAP_FAILED)
		return;
	if (pen_ring_load(map) == PEN_RING_MAGIC) {
		struct pen_ring_hot *hot = (struct pen_ring_hot *)(void *)(map + PEN_RING_PAGE);
		uint32_t state = __atomic_load_n(&hot->state, __ATOMIC_RELAXED);

		if (state != PEN_RING_CLOSED && state != PEN_RING_FAILED) {
			struct pen_cast gone = { .hot = hot,
						 .clock = &pen_clock_real,
						 .cpu_ns = pen_ring_mono_ns };

			gone.wake_seq = __atomic_load_n(&hot->wake_seq, __ATOMIC_RELAXED);
			__atomic_store_n(&hot->state, PEN_RING_SUPERSEDED, __ATOMIC_RELAXED);
			pen_cast_wake_now(&gone);
		}
	}
	(void)munmap(map, 2 * (size_t)PEN_RING_PAGE);
}

static int prepare(struct pen_cast *cast, const struct pen_ring_header *h, const struct pen_cast_options *opt)
{
	cast->clock = opt->clock ? opt->clock : &pen_clock_real;
	cast->cpu_ns = pen_thread_cpu_ns;
	cast->len = h->total_size;
	cast->mask = h->event_slots - 1;
	cast->crc = opt->crc;
	cast->hb_period_ns = h->hb_period_ms * PEN_NS_PER_MS;
	cast->wake_period_ns = h->wake_period_us * 1000ull;
	cast->wakes.period_ns = cast->wake_period_ns;
	cast->threads = opt->threads;
	cast->slot_count = h->gauge_slots;
	cast->rest_first = cast->rest_last = PEN_RING_NONE;
	cast->slots = calloc(h->gauge_slots, sizeof(*cast->slots));
	cast->dir = fcntl(opt->dir, F_DUPFD_CLOEXEC, 0);
	if (!cast->slots || cast->dir < 0)
		return cast->slots ? -errno : -ENOMEM;
	for (uint32_t i = 0; i < h->gauge_slots; i++)
		cast->slots[i].next = i + 1 < h->gauge_slots ? i + 1 : PEN_RING_NONE;
	return 0;
}

static void discard(struct pen_cast *cast)
{
	if (cast->map)
		(void)munmap(cast->map, cast->len);
	if (cast->dir >= 0)
		(void)close(cast->dir);
	free(cast->slots);
	free(cast);
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && len < sizeof(((struct pen_cast *)0)->name) && name[0] != '.' &&
	       !strchr(name, '/') && !strcmp(name + len - 5, ".ring");
}

/*
 * A writer that was killed before its file had its name left it under a temporary one. One writer at a time
 * has the name.
 */
static void sweep(const struct pen_cast *cast)
{
	size_t len = strlen(cast->name);
	int fd = openat(cast->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] == '.' && !strncmp(entry->d_name + 1, cast->name, len) &&
		    entry->d_name[len + 1] == '.')
			(void)unlinkat(cast->dir, entry->d_name, 0);
	(void)closedir(dir);
}

static int make(struct pen_cast *cast, const struct pen_ring_header *h,
		const uint64_t offsets[PEN_RING_NAMES + 1], const struct pen_cast_options *opt,
		struct pen_failure *why)
{
	char temporary[192];
	int old, rc;

	(void)snprintf(temporary, sizeof(temporary), ".%s.%d.%02x%02x%02x%02x", cast->name, (int)getpid(),
		       h->instance[0], h->instance[1], h->instance[2], h->instance[3]);
	sweep(cast);
	rc = make_file(cast, temporary, opt, why);
	if (rc)
		goto out;
	fill(cast, h, offsets, opt);
	old = open_old(cast);
	PEN_CAST_POINT(before_rename);
	if (renameat(cast->dir, temporary, cast->dir, cast->name)) {
		rc = pen_fail(why, -errno, errno, "cannot name the progress ring %s", cast->name);
		if (old >= 0)
			(void)close(old);
		goto out;
	}
	PEN_CAST_POINT(renamed);
	supersede(old);
out:
	if (rc && rc != -EEXIST)
		(void)unlinkat(cast->dir, temporary, 0);
	return rc;
}

int pen_cast_open(struct pen_cast **ret, const struct pen_cast_options *opt, struct pen_failure *why)
{
	uint64_t offsets[PEN_RING_NAMES + 1] = { 0 };
	struct pen_ring_header header;
	struct pen_cast *cast;
	int rc;

	*ret = NULL;
	if (!name_ok(opt->name))
		return pen_fail(why, -EINVAL, EINVAL, "'%s' cannot be the name of a progress ring",
				opt->name);
	rc = pen_cast_place_check(opt->dir, why);
	if (rc)
		return rc;
	rc = describe(&header, offsets, opt);
	if (rc)
		return pen_fail(why, rc, -rc, "a progress ring cannot have these sizes");
	cast = calloc(1, sizeof(*cast));
	if (!cast)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a progress ring");
	cast->dir = -1;
	(void)snprintf(cast->name, sizeof(cast->name), "%s", opt->name);
	rc = prepare(cast, &header, opt);
	if (rc)
		(void)pen_fail(why, rc, -rc, "no memory for a progress ring");
	else
		rc = make(cast, &header, offsets, opt, why);
	if (rc) {
		discard(cast);
		return rc;
	}
	*ret = cast;
	return 0;
}

void pen_cast_close(struct pen_cast *cast, uint32_t state, uint32_t reason, bool keep)
{
	struct stat st;

	if (!cast)
		return;
	pen_assert(state == PEN_RING_CLOSED || state == PEN_RING_FAILED);
	pen_cast_state(cast, state, reason);
	/* A later start may have given the name to its own file. */
	if (!keep && !fstatat(cast->dir, cast->name, &st, AT_SYMLINK_NOFOLLOW) && st.st_ino == cast->ino)
		(void)unlinkat(cast->dir, cast->name, 0);
	discard(cast);
}
