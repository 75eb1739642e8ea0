/* SPDX-License-Identifier: MIT */
/*
 * io_uring - the ring backend: how a request runs
 *
 * The good day
 *   - A request is a small machine: open, advise, read (as often as it takes), close. Each step is one entry of
 *     the submission ring, prepared when the result of the step before was reaped, so a request never has more
 *     than one entry on its way and completions cannot outnumber what the ring was sized for.
 *   - Steps are not linked. A linked chain saves no system call at depth (a wait submits the next steps of all
 *     requests at once), the kernel issues linked reads one by one instead of as a batch (measured: 85,000 cold
 *     files/s against 125,000), and a short read or failing open breaks the chain and leaks its slot.
 *   - Files are opened into direct descriptors: explicit slots, taken before the open and given back after the
 *     close, never chosen by the kernel.
 *   - Reads that lie inside one registered piece of the arena use it.
 *   - A FIFO in place of a file would make the ring wait for a writer. The advise step is there to find it:
 *   it is
 *     the one cheap operation the kernel refuses on pipes, and it takes no bytes from them.
 *
 * The bad day
 *   - A cancelled request that still owns a slot is closed first, so its last result is always its own.
 *   - A close that fails is repeated; a slot that is empty already says EBADF, which is as good.
 *
 * Sleeping: wait blocks inside the ring. A read of an eventfd is kept armed there; wake writes to it only
 * when the owner said that it sleeps (PAIR(io.wake)).
 */
#include "ring/io_uring.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/clock.h"

#define REAP_MAX 64u

/* user_data: index << 3 | stage for requests, whose stage is never 0. */
enum stage { STAGE_NONE, STAGE_OPEN, STAGE_ADVISE, STAGE_READ, STAGE_POLL, STAGE_CLOSE };
#define DATA_WAKE 0u
#define DATA_CANCEL 8u

/* ---- entries ------------------------------------------------------------------------------- */

/* Failures after which the entries are still queued and may be submitted again. */
static bool passes(int res)
{
	return res >= 0 || res == -EAGAIN || res == -EBUSY || res == -EINTR || res == -ENOMEM ||
	       res == -ETIME;
}

struct io_uring_sqe *pen_uring_entry(struct pen_uring *u)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&u->ring))) {
		int res = io_uring_submit(&u->ring);

		pen_assert(passes(res));
		if (res < 0)
			(void)sched_yield(); /* cannot fail on Linux */
	}
	return sqe;
}

static void label(struct io_uring_sqe *sqe, struct pen_io_req *req, enum stage stage)
{
	req->stage = (uint8_t)stage;
	io_uring_sqe_set_data64(sqe, (uint64_t)req->index << 3 | stage);
}

static void prep_open(struct pen_uring *u, struct pen_io_req *req)
{
	struct io_uring_sqe *sqe = pen_uring_entry(u);

	io_uring_prep_openat2_direct(sqe, req->fd, req->path, &u->how, req->slot);
	label(sqe, req, STAGE_OPEN);
}

static void prep_advise(struct pen_uring *u, struct pen_io_req *req)
{
	struct io_uring_sqe *sqe = pen_uring_entry(u);

	io_uring_prep_fadvise(sqe, req->slot, 0, 0, POSIX_FADV_NORMAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	label(sqe, req, STAGE_ADVISE);
}

static void prep_read(struct pen_uring *u, struct pen_io_req *req)
{
	struct io_uring_sqe *sqe = pen_uring_entry(u);
	unsigned len = (unsigned)pen_min(req->len - req->got, PEN_IO_STEP_MAX);
	uint64_t at = req->offset < 0 ? UINT64_MAX : (uint64_t)req->offset + req->got;
	int fd = req->fetch ? req->slot : req->fd;

	if (req->buffer == UINT32_MAX)
		io_uring_prep_read(sqe, fd, req->buf + req->got, len, at);
	else
		io_uring_prep_read_fixed(sqe, fd, req->buf + req->got, len, at, (int)req->buffer);
	if (req->fetch)
		sqe->flags |= IOSQE_FIXED_FILE;
	label(sqe, req, STAGE_READ);
}

static void prep_poll(struct pen_uring *u, struct pen_io_req *req)
{
	struct io_uring_sqe *sqe = pen_uring_entry(u);

	io_uring_prep_poll_add(sqe, req->fd, POLLIN);
	label(sqe, req, STAGE_POLL);
}

static void prep_close(struct pen_uring *u, struct pen_io_req *req)
{
	struct io_uring_sqe *sqe = pen_uring_entry(u);

	io_uring_prep_close_direct(sqe, req->slot);
	label(sqe, req, STAGE_CLOSE);
}

/* ---- requests ------------------------------------------------------------------------------ */

static void complete(struct pen_uring *u, struct pen_io_req *req)
{
	u->live[req->index] = NULL;
	u->free_index[u->free_indexes++] = req->index;
	req->stage = STAGE_NONE;
	pen_io_list_push(&u->done, req);
}

static void take_slot(struct pen_uring *u, struct pen_io_req *req)
{
	req->slot = u->free_slot[--u->free_slots];
	prep_open(u, req);
}

static void put_slot(struct pen_uring *u, struct pen_io_req *req)
{
	struct pen_io_req *next = pen_io_list_pop(&u->starved);

	u->free_slot[u->free_slots++] = req->slot;
	if (next)
		take_slot(u, next);
}

static uint32_t buffer_of(const struct pen_uring *u, const struct pen_io_req *req)
{
	uintptr_t at = (uintptr_t)req->buf - (uintptr_t)u->arena;
	size_t i, within;

	if (!u->buffers || req->offset < 0 || !req->len || (uintptr_t)req->buf < (uintptr_t)u->arena)
		return UINT32_MAX;
	i = at / u->piece;
	within = at % u->piece;
	return i < u->buffers && req->len <= u->piece - within ? (uint32_t)i : UINT32_MAX;
}

static void uring_start(struct pen_io *io, struct pen_io_req *req)
{
	struct pen_uring *u = (struct pen_uring *)io;

	req->index = u->free_index[--u->free_indexes];
	req->buffer = buffer_of(u, req);
	u->live[req->index] = req;
	req->stage = STAGE_NONE;
	if (!req->fetch)
		prep_read(u, req);
	else if (u->free_slots)
		take_slot(u, req);
	else
		pen_io_list_push(&u->starved, req);
}

/* The result is known; what is left is to give the slot back. */
static void settle(struct pen_uring *u, struct pen_io_req *req, int64_t res)
{
	req->res = res;
	req->tries = 0;
	if (req->fetch)
		prep_close(u, req);
	else
		complete(u, req);
}

static bool again(struct pen_io_req *req, int res)
{
	return (res == -EAGAIN || res == -EINTR) && !req->cancelled && req->tries++ < PEN_IO_TRIES;
}

/* raw: what the kernel said, before the hook; it decides whether there is something to close. */
static void opened(struct pen_uring *u, struct pen_io_req *req, int res, int raw)
{
	if (res < 0 && raw >= 0) {
		settle(u, req, res);
	} else if (res < 0) {
		if (again(req, res)) {
			prep_open(u, req);
			return;
		}
		req->res = req->cancelled ? -ECANCELED : res;
		put_slot(u, req);
		complete(u, req);
	} else if (req->cancelled) {
		settle(u, req, -ECANCELED);
	} else {
		req->tries = 0;
		prep_advise(u, req);
	}
}

static void read_failed(struct pen_uring *u, struct pen_io_req *req, int res)
{
	bool passing = res == -EAGAIN || res == -EINTR;

	if (passing && req->cancelled)
		settle(u, req, -ECANCELED);
	else if (res == -EAGAIN && req->offset < 0)
		prep_poll(
			u,
			req); /* a non-blocking descriptor on a kernel that does not wait for it by itself */
	else if (passing && (req->offset < 0 || again(req, res)))
		prep_read(u, req);
	else
		settle(u, req, res);
}

static void have_read(struct pen_uring *u, struct pen_io_req *req, int res)
{
	if (res < 0) {
		read_failed(u, req, res);
		return;
	}
	pen_assert((size_t)res <= req->len - req->got);
	req->got += (size_t)res;
	req->tries = 0;
	if (!res || req->offset < 0 || pen_io_settled(req))
		settle(u, req, (int64_t)req->got);
	else if (req->cancelled)
		settle(u, req, -ECANCELED);
	else
		prep_read(u, req);
}

static void closed(struct pen_uring *u, struct pen_io_req *req, int res)
{
	/* A slot that cannot be closed is used all the same: the next open replaces what lies in it. */
	if (res < 0 && res != -EBADF && req->tries++ < PEN_IO_TRIES) {
		prep_close(u, req);
		return;
	}
	put_slot(u, req);
	complete(u, req);
}

static void step(struct pen_uring *u, uint64_t data, int raw)
{
	struct pen_io_req *req;
	int res = raw;

	if (data == DATA_WAKE) {
		u->armed = false;
		return;
	}
	if (data == DATA_CANCEL)
		return;
	pen_assert(data >> 3 < u->io.entries);
	req = u->live[data >> 3];
	pen_assert(req && req->stage == (data & 7));
	if (pen_cqe_hook)
		res = pen_cqe_hook(req, raw);
	switch ((enum stage)req->stage) {
	case STAGE_OPEN:
		opened(u, req, res, raw);
		break;
	case STAGE_ADVISE:
		/* The advice is nothing to us; that it was refused for a pipe is. */
		if (req->cancelled || res == -ESPIPE)
			settle(u, req, req->cancelled ? -ECANCELED : res);
		else
			prep_read(u, req);
		break;
	case STAGE_READ:
		have_read(u, req, res);
		break;
	case STAGE_POLL:
		if (req->cancelled || (res < 0 && res != -EINTR && res != -EAGAIN))
			settle(u, req, req->cancelled ? -ECANCELED : res);
		else
			prep_read(u, req);
		break;
	case STAGE_CLOSE:
		closed(u, req, res);
		break;
	case STAGE_NONE:
		PEN_UNREACHABLE();
	}
}

/* ---- waiting ------------------------------------------------------------------------------- */

static void reap(struct pen_uring *u)
{
	struct io_uring_cqe *cqe[REAP_MAX];
	uint64_t data[REAP_MAX];
	int res[REAP_MAX];
	unsigned n;

	/* Copied and given back first: a step may submit, and its completions need the room. */
	while ((n = io_uring_peek_batch_cqe(&u->ring, cqe, REAP_MAX))) {
		for (unsigned i = 0; i < n; i++) {
			data[i] = cqe[i]->user_data;
			res[i] = cqe[i]->res;
		}
		io_uring_cq_advance(&u->ring, n);
		for (unsigned i = 0; i < n; i++)
			step(u, data[i], res[i]);
	}
}

static void arm(struct pen_uring *u)
{
	struct io_uring_sqe *sqe;

	if (u->armed)
		return;
	sqe = pen_uring_entry(u);
	io_uring_prep_read(sqe, u->event, &u->wakes, sizeof u->wakes, 0);
	io_uring_sqe_set_data64(sqe, DATA_WAKE);
	u->armed = true;
}

static void uring_submit(struct pen_io *io)
{
	struct pen_uring *u = (struct pen_uring *)io;
	int res;

	if (!io_uring_sq_ready(&u->ring))
		return;
	res = io_uring_submit(&u->ring);
	pen_assert(passes(res));
}

/* Submits and takes what is complete, which the richest set-up shows only to an entry that asks for it. */
static void poll_ring(struct pen_uring *u)
{
	int res = io_uring_submit_and_get_events(&u->ring);

	pen_assert(passes(res));
	reap(u);
}

static void sleep_in_ring(struct pen_uring *u, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = { .tv_sec = (int64_t)(timeout_ns / PEN_NS_PER_S),
					.tv_nsec = (long long)(timeout_ns % PEN_NS_PER_S) };
	struct io_uring_cqe *cqe;
	int res;

	arm(u);
	/*
	 * PAIR(io.wake): seq_cst on both sides. Parked is stored before rung is looked at here, rung before
	 * parked in wake, so one of the two sees the other. Without it both may miss: the owner sleeps on a
	 * wake it was given, and the waker saves a system call it owed.
	 */
	atomic_store_explicit(&u->parked, true, memory_order_seq_cst);
	if (atomic_load_explicit(&u->rung, memory_order_seq_cst)) {
		atomic_store_explicit(&u->parked, false,
				      memory_order_relaxed); /* at worst a write too many */
		poll_ring(u);
		return;
	}
	res = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, timeout_ns == UINT64_MAX ? NULL : &ts,
					       NULL);
	atomic_store_explicit(&u->parked, false, memory_order_relaxed); /* as above */
	pen_assert(passes(res));
	reap(u);
}

static uint32_t take(struct pen_uring *u, struct pen_io_req **ret, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && u->done.head)
		ret[n++] = pen_io_list_pop(&u->done);
	return n;
}

static uint32_t uring_wait(struct pen_io *io, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns)
{
	struct pen_uring *u = (struct pen_uring *)io;
	uint64_t end = UINT64_MAX;
	bool woken = false;

	if (u->done.head) {
		uring_submit(io);
		return take(u, ret, max);
	}
	if (timeout_ns && timeout_ns != UINT64_MAX) {
		uint64_t now = pen_mono_ns(&pen_clock_real);

		end = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
	}
	while (!u->done.head && !woken) {
		uint64_t now = end == UINT64_MAX ? 0 : pen_mono_ns(&pen_clock_real);

		/*
		 * PAIR(io.wake): also acquire, so that what the waker wrote before is seen after. Without
		 * it the owner may look at its lanes too early, find nothing and sleep.
		 */
		woken = atomic_exchange_explicit(&u->rung, false, memory_order_seq_cst);
		if (woken || !timeout_ns || now >= end) {
			poll_ring(u);
			break;
		}
		sleep_in_ring(u, end == UINT64_MAX ? UINT64_MAX : end - now);
	}
	return take(u, ret, max);
}

static void uring_wake(struct pen_io *io)
{
	struct pen_uring *u = (struct pen_uring *)io;
	const uint64_t one = 1;
	int saved = errno;

	/* PAIR(io.wake): see sleep_in_ring. */
	atomic_store_explicit(&u->rung, true, memory_order_seq_cst);
	if (atomic_load_explicit(&u->parked, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&u->parked, false, memory_order_seq_cst))
		(void)!write(u->event, &one, sizeof one); /* fails only when 2^64 wakes already wait */
	errno = saved;
}

static void uring_cancel(struct pen_io *io)
{
	struct pen_uring *u = (struct pen_uring *)io;
	struct pen_io_req *req;

	while ((req = pen_io_list_pop(&u->starved))) {
		req->res = -ECANCELED;
		complete(u, req);
	}
	for (uint32_t i = 0; i < u->io.entries; i++) {
		struct io_uring_sqe *sqe;

		req = u->live[i];
		if (!req || req->cancelled || req->stage == STAGE_CLOSE)
			continue;
		req->cancelled = true;
		sqe = pen_uring_entry(u);
		io_uring_prep_cancel64(sqe, (uint64_t)i << 3 | req->stage, 0);
		io_uring_sqe_set_data64(sqe, DATA_CANCEL);
	}
	uring_submit(io);
}

static void uring_close(struct pen_io *io)
{
	struct pen_uring *u = (struct pen_uring *)io;
	const uint64_t one = 1;

	/* The kernel owns the armed read's buffer until that read completed; leaving the ring is not enough. */
	if (u->armed)
		(void)!write(u->event, &one, sizeof one); /* cannot fail: see uring_wake */
	while (u->armed) {
		struct io_uring_cqe *cqe;
		int res = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, NULL, NULL);

		pen_assert(passes(res));
		reap(u);
	}
	io_uring_queue_exit(&u->ring);
	pen_uring_free(u);
}

const struct pen_io_ops pen_uring_ops = {
	.start = uring_start,
	.submit = uring_submit,
	.wait = uring_wait,
	.wake = uring_wake,
	.cancel = uring_cancel,
	.close = uring_close,
};

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

const char *pen_io_version(void)
{
#ifdef IO_URING_VERSION_MAJOR
	return TEXT(IO_URING_VERSION_MAJOR) "." TEXT(IO_URING_VERSION_MINOR);
#else
	return "2.3 or older"; /* which did not say */
#endif
}
