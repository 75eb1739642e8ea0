/* SPDX-License-Identifier: MIT */
/*
 * io_threads - the backend of plain system calls, for where io_uring is denied
 *
 * The good day
 *   - submit moves what was queued into one list under a mutex; workers take requests from it one by one and do
 *     them to the end with openat2, pread and close.
 *   - Results go back through a fan-in with one lane per worker, on which the owner parks.
 *   - Reads of pipes may wait for ever, so no worker does them: one more thread, the poller, polls all their
 *     descriptors and reads the ones that are ready. Idle pipes can therefore not use up the workers.
 *
 * The bad day
 *   - cancel counts a generation up; a request of an older generation ends with -ECANCELED at its next
 *   step. Only
 *     the poller sleeps on other people's behalf; an eventfd in its set wakes it.
 *   - Where openat2 is denied too (old seccomp profiles), paths are opened part by part with O_NOFOLLOW. A path
 *     with ".." is then refused with EXDEV, also where it would have stayed inside.
 */
#include "ring/io.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/beneath.h"
#include "ring/clock.h"
#include "ring/fanin.h"
#include "ring/io_backend.h"

#define THREADS_DEFAULT 4u
#define THREADS_MAX 64u
#define TAKE_MAX 64u

struct worker {
	struct pool *pool;
	pthread_t thread;
	uint32_t lane;
};

struct pool {
	struct pen_io io;
	struct pen_io_list queued; /* not yet submitted; owner only */
	struct pen_fanin done;	   /* workers and the poller push, the owner pops */
	_Atomic bool rung;	   /* set by wakers, cleared by the owner */

	/* Guarded by lock. */
	_Alignas(PEN_LINE_PAIR) pthread_mutex_t lock;
	pthread_cond_t work; /* files is not empty, or stop */
	struct pen_io_list files;
	struct pen_io_list streams; /* on their way to the poller */
	bool stop;
	_Atomic uint32_t generation; /* owner writes under lock; workers may look without */

	/* The poller's own. */
	struct pollfd *poll;
	struct pen_io_req **polled;
	uint32_t polled_count;

	/* Constant after open. */
	int event;	/* wakes the poller */
	bool walk;	/* openat2 is denied */
	uint32_t count; /* workers; the poller is one more */
	struct worker worker[THREADS_MAX + 1];
};

/* ---- one request --------------------------------------------------------------------------- */

static bool cancelled(const struct pool *p, const struct pen_io_req *req)
{
	/* Relaxed: a request that sees the cancel late does one step more. */
	return req->generation != atomic_load_explicit(&p->generation, memory_order_relaxed);
}

static int open_beneath(const struct pool *p, int dirfd, const char *path)
{
	struct open_how how = pen_io_how(O_CLOEXEC);
	long fd;

	if (p->walk)
		return pen_beneath_walk(dirfd, path, O_RDONLY);
	fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	return fd < 0 ? -errno : (int)fd;
}

static bool again(struct pen_io_req *req, int err)
{
	return (err == EAGAIN || err == EINTR) && req->tries++ < PEN_IO_TRIES;
}

/* Reads until the request is settled, the file ends, or an error, which is the result. */
static int64_t read_file(const struct pool *p, struct pen_io_req *req, int fd)
{
	req->tries = 0;
	for (;;) {
		size_t len = pen_min(req->len - req->got, PEN_IO_STEP_MAX);
		ssize_t n;

		if (cancelled(p, req))
			return -ECANCELED;
		n = pread(fd, req->buf + req->got, len, (off_t)((uint64_t)req->offset + req->got));
		if (n < 0) {
			if (again(req, errno))
				continue;
			return -errno;
		}
		req->tries = 0;
		req->got += (size_t)n;
		if (!n || pen_io_settled(req))
			return (int64_t)req->got;
	}
}

static int64_t fetch(const struct pool *p, struct pen_io_req *req)
{
	int64_t res;
	int fd;

	do {
		if (cancelled(p, req))
			return -ECANCELED;
		fd = open_beneath(p, req->fd, req->path);
	} while (fd < 0 && again(req, -fd));
	if (fd < 0)
		return fd;
	res = read_file(p, req, fd);
	(void)close(fd); /* read only: nothing can be lost */
	return res;
}

static void complete(struct worker *w, struct pen_io_req *req, int64_t res)
{
	uint64_t word = (uintptr_t)req;

	req->res = res;
	/* The lane holds every request there can be. */
	pen_assert(pen_fanin_push(&w->pool->done, w->lane, &word, 1) == 1);
}

/* ---- workers ------------------------------------------------------------------------------- */

static void wake_poller(struct pool *p)
{
	const uint64_t one = 1;

	(void)!write(p->event, &one, sizeof one); /* fails only when 2^64 wakes already wait */
}

static void hand_to_poller(struct pool *p, struct pen_io_req *req)
{
	(void)pthread_mutex_lock(&p->lock); /* a plain mutex in right hands cannot fail, here and below */
	pen_io_list_push(&p->streams, req);
	(void)pthread_mutex_unlock(&p->lock);
	wake_poller(p);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;

	(void)pthread_setname_np(pthread_self(), "pen-io"); /* for who looks on; nothing hangs on it */
	for (;;) {
		struct pen_io_req *req;
		int64_t res;

		(void)pthread_mutex_lock(&p->lock);
		while (!(req = pen_io_list_pop(&p->files)) && !p->stop)
			(void)pthread_cond_wait(&p->work, &p->lock);
		(void)pthread_mutex_unlock(&p->lock);
		if (!req)
			return NULL;
		res = req->fetch ? fetch(p, req) : read_file(p, req, req->fd);
		if (res == -ESPIPE && !req->fetch)
			hand_to_poller(p, req); /* a pipe, read as if it were a file: until len or its end */
		else
			complete(w, req, res);
	}
}

/* ---- the poller ---------------------------------------------------------------------------- */

/* True when the request is over. */
static bool read_stream(struct worker *w, struct pen_io_req *req)
{
	ssize_t n = read(req->fd, req->buf + req->got, pen_min(req->len - req->got, PEN_IO_STEP_MAX));

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return false;
		complete(w, req, -errno);
		return true;
	}
	req->got += (size_t)n;
	if (n && req->offset >= 0 && req->got < req->len)
		return false;
	complete(w, req, (int64_t)req->got);
	return true;
}

/* New requests in, cancelled ones out. False: stop. */
static bool poller_refill(struct worker *w)
{
	struct pool *p = w->pool;
	struct pen_io_req *req;
	uint32_t kept = 0;
	bool stop;

	(void)pthread_mutex_lock(&p->lock);
	while ((req = pen_io_list_pop(&p->streams)))
		p->polled[p->polled_count++] = req;
	stop = p->stop;
	(void)pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < p->polled_count; i++) {
		req = p->polled[i];
		if (cancelled(p, req))
			complete(w, req, -ECANCELED);
		else
			p->polled[kept++] = req;
	}
	p->polled_count = kept;
	return !stop;
}

static void *poll_streams(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;

	(void)pthread_setname_np(pthread_self(), "pen-poll"); /* as the workers' */
	while (poller_refill(w)) {
		uint32_t kept = 0, n = p->polled_count;
		uint64_t count;

		p->poll[n] = (struct pollfd){ .fd = p->event, .events = POLLIN };
		for (uint32_t i = 0; i < n; i++)
			p->poll[i] = (struct pollfd){ .fd = p->polled[i]->fd, .events = POLLIN };
		if (poll(p->poll, n + 1, -1) < 0)
			continue; /* EINTR, or no memory in the kernel just now */
		if (p->poll[n].revents)
			(void)!read(p->event, &count, sizeof count); /* cannot fail: it is readable */
		/* Whatever is reported, the read says what it is: bytes, the end, EBADF. */
		for (uint32_t i = 0; i < n; i++)
			if (!p->poll[i].revents || !read_stream(w, p->polled[i]))
				p->polled[kept++] = p->polled[i];
		p->polled_count = kept;
	}
	return NULL;
}

/* ---- owner --------------------------------------------------------------------------------- */

static void threads_start(struct pen_io *io, struct pen_io_req *req)
{
	struct pool *p = (struct pool *)io;

	req->generation = atomic_load_explicit(&p->generation, memory_order_relaxed); /* own word */
	pen_io_list_push(&p->queued, req);
}

static void threads_submit(struct pen_io *io)
{
	struct pool *p = (struct pool *)io;
	struct pen_io_list files = { 0 }, streams = { 0 };
	struct pen_io_req *req;
	uint32_t n = 0;

	if (!p->queued.head)
		return;
	while ((req = pen_io_list_pop(&p->queued))) {
		pen_io_list_push(req->offset < 0 ? &streams : &files, req);
		n += req->offset >= 0;
	}
	req = streams.head;
	(void)pthread_mutex_lock(&p->lock);
	pen_io_list_move(&p->files, &files);
	pen_io_list_move(&p->streams, &streams);
	if (n == 1)
		(void)pthread_cond_signal(&p->work); /* cannot fail, like the next */
	else if (n)
		(void)pthread_cond_broadcast(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	if (req)
		wake_poller(p);
}

static uint32_t take(struct pool *p, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns)
{
	uint64_t word[TAKE_MAX];
	uint32_t want = (uint32_t)pen_min(max, TAKE_MAX), n;

	n = timeout_ns ? pen_fanin_pop_wait(&p->done, word, want, timeout_ns)
		       : pen_fanin_pop(&p->done, word, want);
	for (uint32_t i = 0; i < n; i++)
		ret[i] = (struct pen_io_req *)(uintptr_t)word[i];
	return n;
}

static uint32_t threads_wait(struct pen_io *io, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns)
{
	struct pool *p = (struct pool *)io;
	uint64_t end = UINT64_MAX;
	uint32_t n;

	threads_submit(io);
	if (timeout_ns && timeout_ns != UINT64_MAX) {
		uint64_t now = pen_mono_ns(&pen_clock_real);

		end = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
	}
	do {
		uint64_t now = end == UINT64_MAX ? 0 : pen_mono_ns(&pen_clock_real);
		/*
		 * PAIR(io.rung): what the waker wrote before is seen after. Without it the owner may look
		 * at its lanes too early, find nothing and sleep. That no wake is lost is the park's
		 * promise: rung is set before the ring, and a ring since the last wait ends the next one.
		 */
		bool woken = atomic_exchange_explicit(&p->rung, false, memory_order_acquire);

		if (woken || now >= end)
			timeout_ns = 0;
		n = take(p, ret, max, !timeout_ns || end == UINT64_MAX ? timeout_ns : end - now);
	} while (!n && timeout_ns);
	return n;
}

static void threads_wake(struct pen_io *io)
{
	struct pool *p = (struct pool *)io;
	int saved = errno;

	/* PAIR(io.rung): see threads_wait. */
	atomic_store_explicit(&p->rung, true, memory_order_release);
	pen_fanin_ring(&p->done);
	errno = saved;
}

static void threads_cancel(struct pen_io *io)
{
	struct pool *p = (struct pool *)io;

	threads_submit(io);
	/* Under the lock: the poller, woken below, takes the lock before it looks. */
	(void)pthread_mutex_lock(&p->lock);
	atomic_fetch_add_explicit(&p->generation, 1, memory_order_relaxed);
	(void)pthread_mutex_unlock(&p->lock);
	wake_poller(p);
}

static void stop(struct pool *p, uint32_t started)
{
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	wake_poller(p);
	for (uint32_t i = 0; i < started; i++)
		(void)pthread_join(p->worker[i].thread, NULL); /* ours, and joined once */
}

static void pool_free(struct pool *p)
{
	if (p->done.lanes)
		pen_fanin_fini(&p->done);
	if (p->event >= 0)
		(void)close(p->event);	      /* nothing is written through it */
	(void)pthread_cond_destroy(&p->work); /* nobody waits, nobody holds: cannot fail */
	(void)pthread_mutex_destroy(&p->lock);
	free(p->poll);
	free(p->polled);
	free(p);
}

static void threads_close(struct pen_io *io)
{
	struct pool *p = (struct pool *)io;

	stop(p, p->count + 1);
	pool_free(p);
}

static const struct pen_io_ops threads_ops = {
	.start = threads_start,
	.submit = threads_submit,
	.wait = threads_wait,
	.wake = threads_wake,
	.cancel = threads_cancel,
	.close = threads_close,
};

/* ---- open ---------------------------------------------------------------------------------- */

/* Starts the workers and the poller with every signal blocked: signals belong to the program's own threads. */
static int start_all(struct pool *p, uint32_t *ret_started)
{
	sigset_t all, before;
	int err = 0;

	(void)sigfillset(&all); /* cannot fail with a valid address, nor can the mask calls */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	for (*ret_started = 0; *ret_started <= p->count; ++*ret_started) {
		struct worker *w = &p->worker[*ret_started];

		*w = (struct worker){ .pool = p, .lane = *ret_started };
		err = -pthread_create(&w->thread, NULL, w->lane < p->count ? work : poll_streams, w);
		if (err)
			break;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static bool openat2_denied(void)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC };
	long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how);

	if (fd >= 0)
		(void)close((int)fd); /* an O_PATH descriptor holds nothing back */
	return fd < 0 && (errno == ENOSYS || errno == EPERM);
}

static struct pool *pool_new(const struct pen_io_options *opt)
{
	struct pool *p = aligned_alloc(_Alignof(struct pool), pen_round_up(sizeof *p, _Alignof(struct pool)));

	if (!p)
		return NULL;
	memset(p, 0, sizeof *p);
	p->io = (struct pen_io){ .ops = &threads_ops, .kind = PEN_IO_KIND_THREADS, .entries = opt->entries };
	p->count = opt->threads ? (uint32_t)pen_min(opt->threads, THREADS_MAX) : THREADS_DEFAULT;
	p->walk = openat2_denied();
	atomic_init(&p->rung, false);
	atomic_init(&p->generation, 0);
	(void)pthread_mutex_init(&p->lock, NULL); /* cannot fail on Linux without attributes */
	(void)pthread_cond_init(&p->work, NULL);
	p->poll = calloc((size_t)opt->entries + 1, sizeof *p->poll);
	p->polled = calloc(opt->entries, sizeof *p->polled);
	p->event = eventfd(0, EFD_CLOEXEC);
	return p;
}

int pen_io_threads_open(const struct pen_io_options *opt, struct pen_io **ret, bool *ret_walk,
			struct pen_failure *why)
{
	struct pool *p = pool_new(opt);
	uint32_t started;
	int err = 0;

	if (!p)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for %u requests", opt->entries);
	if (p->event < 0)
		err = -errno;
	else if (!p->poll || !p->polled)
		err = -ENOMEM;
	else
		err = pen_fanin_init(&p->done, p->count + 1, opt->entries);
	if (err) {
		pool_free(p);
		return pen_fail(why, err, -err, "the I/O threads cannot be set up: %s",
				strerrordesc_np(-err));
	}
	err = start_all(p, &started);
	if (err) {
		stop(p, started);
		pool_free(p);
		return pen_fail(why, err, -err, "the I/O threads cannot be started: %s",
				strerrordesc_np(-err));
	}
	*ret_walk = p->walk;
	*ret = &p->io;
	return 0;
}
