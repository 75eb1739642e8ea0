/* SPDX-License-Identifier: MIT */
/*
 * io_uring_open - getting a ring that works, or the reason why there is none
 *
 * The good day
 *   - Set up, register the direct descriptors, send every operation through once, register the arena.
 *
 * The bad day
 *   - Set-up flags, ring size, descriptors and registered memory are tried from rich to poor. Only the ring
 *   and one
 *     descriptor are needed; registered memory never is.
 *   - Locked memory is a budget shared by all rings of a user: when it shows, half of what would fit is left to
 *     the others.
 *   - A filter may allow one of the three system calls and deny another, so each is used before the answer
 *   is yes.
 *     The sentence of a denial names the call and what can be done.
 */
#include "ring/io_uring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define ENTRIES_MIN 8u
#define SLOTS_MAX 32768u
/*
 * Pieces of the arena that are registered. Tags are used last in, first out, so the first few carry most reads;
 * pinning all 96 MiB took a small run 30 ms and its memory, and gained a large one nothing that could be measured.
 */
#define BUFFERS_MAX 16u
#define IOWQ_WORKERS \
	32u /* opens of names that are not cached; each is a kernel thread waiting for the disk */
#define TEST_S 5

void pen_uring_free(struct pen_uring *u)
{
	if (u->event >= 0)
		(void)close(u->event); /* nothing is written through it */
	free(u->live);
	free(u->free_index);
	free(u->free_slot);
	free(u);
}

/* Why the kernel said no, and what can be done about it. */
static int denied(struct pen_failure *why, int err, const char *call)
{
	struct rlimit lock = { 0 };
	char off = 0;
	FILE *sysctl;

	switch (err) {
	case -ENOSYS:
		return pen_fail(why, -PEN_IO_DENIED, ENOSYS,
				"%s: this kernel has no io_uring, or a seccomp filter hides it (ENOSYS)",
				call);
	case -EPERM:
		sysctl = fopen("/proc/sys/kernel/io_uring_disabled", "re");
		if (sysctl) {
			off = (char)fgetc(sysctl);
			(void)fclose(sysctl); /* only read */
		}
		if (off == '1' || off == '2')
			return pen_fail(
				why, -PEN_IO_DENIED, EPERM,
				"%s: io_uring is disabled by sysctl kernel.io_uring_disabled=%c; root can "
				"set it to 0%s",
				call, off, off == '1' ? ", or put this user into kernel.io_uring_group" : "");
		return pen_fail(
			why, -PEN_IO_DENIED, EPERM,
			"%s: refused (EPERM), most likely by a seccomp filter; a container needs a profile "
			"that allows io_uring_setup, io_uring_enter and io_uring_register",
			call);
	case -EACCES:
		return pen_fail(why, -PEN_IO_DENIED, EACCES,
				"%s: refused by a security module (EACCES); its policy must allow io_uring",
				call);
	case -ENOMEM:
		(void)getrlimit(RLIMIT_MEMLOCK, &lock); /* cannot fail with a valid resource and address */
		return pen_fail(
			why, -PEN_IO_DENIED, ENOMEM,
			"%s: not enough memory that may be locked (ulimit -l is %llu KiB, shared by all rings "
			"of this user); raise it",
			call, (unsigned long long)lock.rlim_cur / 1024);
	case -EMFILE:
	case -ENFILE:
		return pen_fail(why, -PEN_IO_DENIED, -err, "%s: too many open files; raise ulimit -n", call);
	case -EINVAL:
	case -EOPNOTSUPP:
		return pen_fail(why, -PEN_IO_DENIED, -err,
				"%s: this kernel's io_uring is too old (5.19 is the first that will do)",
				call);
	case -ETIME:
		return pen_fail(why, -PEN_IO_DENIED, ETIME,
				"%s: io_uring took an entry and never completed it", call);
	default:
		return pen_fail(why, -PEN_IO_DENIED, -err, "%s: %s", call, strerrordesc_np(-err));
	}
}

static int set_up(struct pen_uring *u)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
			IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		0,
	};
	int err = -EINVAL;

	/* A submission ring smaller than `entries` only costs more system calls. */
	for (uint32_t entries = u->io.entries; entries >= ENTRIES_MIN; entries /= 2) {
		for (size_t i = 0; i < PEN_COUNT(flags); i++) {
			struct io_uring_params p = { .flags = flags[i] };

			/* All requests at once, a cancel for each, and the wake. */
			if (flags[i] & IORING_SETUP_CQSIZE)
				p.cq_entries = 4 * entries;
			err = io_uring_queue_init_params(entries, &u->ring, &p);
			if (!err) {
				u->flags = flags[i];
				return 0;
			}
			if (err != -EINVAL)
				break;
		}
		if (err != -ENOMEM)
			break;
	}
	return err;
}

static int register_slots(struct pen_uring *u, uint32_t want)
{
	struct rlimit limit = { .rlim_cur = want };
	uint32_t n;
	int err;

	(void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail with a valid resource and address */
	n = (uint32_t)pen_max(1, pen_min(pen_min(want, SLOTS_MAX), limit.rlim_cur));
	while ((err = io_uring_register_files_sparse(&u->ring, n)) && n > 1)
		n /= 2;
	u->slots = n;
	return err;
}

static uint32_t try_buffers(struct pen_uring *u, const struct iovec *all, uint32_t from)
{
	for (uint32_t n = from; n; n /= 2)
		if (!io_uring_register_buffers(&u->ring, all, n))
			return n;
	return 0;
}

/* Never fails: without registered memory reads are only a little slower. */
static void register_arena(struct pen_uring *u, const struct pen_io_options *opt)
{
	uint32_t n, got;
	struct iovec *all;

	if (!opt->arena || !opt->slot_bytes || opt->slot_bytes > PEN_IO_STEP_MAX)
		return;
	n = (uint32_t)pen_min(opt->arena_bytes / opt->slot_bytes, BUFFERS_MAX);
	all = n ? malloc(n * sizeof *all) : NULL;
	if (!all)
		return;
	for (uint32_t i = 0; i < n; i++)
		all[i] = (struct iovec){ (char *)opt->arena + i * opt->slot_bytes, opt->slot_bytes };
	got = try_buffers(u, all, n);
	if (got && got < n) {
		/* There is a limit: leave as much again to the user's other rings. */
		(void)io_uring_unregister_buffers(&u->ring); /* registered just now */
		got = try_buffers(u, all, got / 2);
	}
	free(all);
	u->buffers = got;
	u->arena = opt->arena;
	u->piece = opt->slot_bytes;
}

/* One entry through the whole ring: its result, or the failure of the ring itself in *ret_err. */
static int round_trip(struct pen_uring *u, int *ret_err)
{
	struct __kernel_timespec ts = { .tv_sec = TEST_S };
	struct io_uring_cqe *cqe;
	int err, res;

	do
		err = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	while (err == -EINTR);
	if (err < 0) {
		*ret_err = err;
		return err;
	}
	res = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	return res;
}

/*
 * Every operation that requests are made of, once, against things that are always there: the eventfd (a
 * read that comes short) and the root directory (which opens, may be advised upon, cannot be read, and closes).
 */
static int self_test(struct pen_uring *u)
{
	static struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_NOFOLLOW,
				       .resolve = RESOLVE_NO_MAGICLINKS };
	static uint64_t two[2]; /* static: a ring that hangs may write there later */
	const uint64_t one = 1;
	struct io_uring_sqe *sqe;
	int err = 0, res;

	io_uring_prep_nop(pen_uring_entry(u));
	res = round_trip(u, &err);
	if (err || res)
		return err ? err : res;
	(void)!write(u->event, &one, sizeof one); /* cannot fail: the counter is 0 */
	io_uring_prep_read(pen_uring_entry(u), u->event, two, sizeof two, 0);
	res = round_trip(u, &err);
	if (err || res != sizeof one)
		return err ? err : res < 0 ? res : -EOPNOTSUPP;
	io_uring_prep_openat2_direct(pen_uring_entry(u), AT_FDCWD, "/", &how, 0);
	res = round_trip(u, &err);
	if (err || res == -EACCES)
		return err; /* a root that may not be read: the operation is there */
	if (res)
		return res < 0 ? res : -EOPNOTSUPP;
	sqe = pen_uring_entry(u);
	io_uring_prep_fadvise(sqe, 0, 0, 0, POSIX_FADV_NORMAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	res = round_trip(u, &err);
	if (err || res)
		return err ? err : res;
	sqe = pen_uring_entry(u);
	io_uring_prep_read(sqe, 0, two, sizeof two, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	res = round_trip(u, &err);
	if (err || res != -EISDIR)
		return err ? err : res < 0 ? res : -EOPNOTSUPP;
	io_uring_prep_close_direct(pen_uring_entry(u), 0);
	res = round_trip(u, &err);
	return err ? err : res;
}

static bool allocate(struct pen_uring *u)
{
	u->live = calloc(u->io.entries, sizeof *u->live);
	u->free_index = calloc(u->io.entries, sizeof *u->free_index);
	u->free_slot = calloc(u->slots, sizeof *u->free_slot);
	if (!u->live || !u->free_index || !u->free_slot)
		return false;
	for (uint32_t i = u->io.entries; i; i--)
		u->free_index[u->free_indexes++] = i - 1;
	for (uint32_t i = u->slots; i; i--)
		u->free_slot[u->free_slots++] = (uint16_t)(i - 1);
	return true;
}

/* The ring exists: everything else it needs. */
static int furnish(struct pen_uring *u, const struct pen_io_options *opt, struct pen_failure *why)
{
	unsigned workers[2] = { IOWQ_WORKERS, 0 };
	int err;

	if ((u->ring.features & (IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP)) !=
	    (IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP))
		return denied(why, -EINVAL, "io_uring_setup");
	u->event = eventfd(0, EFD_CLOEXEC);
	if (u->event < 0)
		return denied(why, -errno, "eventfd");
	err = register_slots(u, opt->slots);
	if (err)
		return denied(why, err, "io_uring_register");
	err = self_test(u);
	if (err)
		return denied(why, err, "io_uring_enter");
	if (!allocate(u))
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for %u requests", opt->entries);
	register_arena(u, opt);
	(void)io_uring_register_iowq_max_workers(&u->ring, workers); /* the kernel's own choice will do */
	(void)io_uring_register_ring_fd(&u->ring); /* saves a look-up per call where it exists */
	return 0;
}

int pen_io_uring_open(const struct pen_io_options *opt, struct pen_io **ret, struct pen_failure *why)
{
	struct pen_uring *u = aligned_alloc(_Alignof(struct pen_uring),
					    pen_round_up(sizeof *u, _Alignof(struct pen_uring)));
	int err;

	if (!u)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for %u requests", opt->entries);
	memset(u, 0, sizeof *u);
	u->io = (struct pen_io){ .ops = &pen_uring_ops, .kind = PEN_IO_KIND_URING, .entries = opt->entries };
	u->event = -1;
	u->how =
		pen_io_how(0); /* a direct descriptor is not inherited; the kernel refuses O_CLOEXEC for it */
	atomic_init(&u->rung, false);
	atomic_init(&u->parked, false);
	err = set_up(u);
	if (err) {
		err = denied(why, err, "io_uring_setup");
		pen_uring_free(u);
		return err;
	}
	err = furnish(u, opt, why);
	if (err) {
		io_uring_queue_exit(&u->ring);
		pen_uring_free(u);
		return err;
	}
	*ret = &u->io;
	return 0;
}

void pen_io_uring_describe(const struct pen_io *io, char *ret_text, size_t cap)
{
	const struct pen_uring *u = (const struct pen_uring *)io;

	(void)snprintf(ret_text, cap, "io_uring works (%s)",
		       u->flags & IORING_SETUP_DEFER_TASKRUN  ? "single issuer, deferred task work"
		       : u->flags & IORING_SETUP_COOP_TASKRUN ? "cooperative task work"
							      : "plain set-up");
}
