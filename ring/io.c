/* SPDX-License-Identifier: MIT */
/*
 * io - choosing a backend, and what both have in common
 *
 * Everything here runs in the owner thread, except wake, which only passes the call on.
 */
#include "ring/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/io_backend.h"

#define ENTRIES_MIN 8u
#define ENTRIES_MAX 4096u

int (*pen_cqe_hook)(const struct pen_io_req *req, int res);

/* A second denial behind the first one: say it in the same sentence's text. */
static void note_walk(struct pen_failure *denied)
{
	static const char note[] = "openat2 is denied too: paths are opened part by part";
	size_t used = strlen(denied->text);

	(void)snprintf(denied->text + used, sizeof denied->text - used, "%s%s", used ? "; " : "", note);
}

static int open_threads(const struct pen_io_options *opt, struct pen_io **ret, struct pen_failure *denied)
{
	struct pen_failure why = { 0 };
	bool walk = false;
	int err = pen_io_threads_open(opt, ret, &walk, &why);

	if (err)
		*denied = why;
	else if (walk)
		note_walk(denied);
	return err;
}

int pen_io_open(const struct pen_io_options *opt, struct pen_io **ret, struct pen_failure *ret_denied)
{
	struct pen_failure mine = { 0 }, *denied = ret_denied ? ret_denied : &mine;
	int err;

	memset(denied, 0, sizeof *denied);
	if (!pen_is_pow2(opt->entries) || opt->entries < ENTRIES_MIN || opt->entries > ENTRIES_MAX ||
	    !opt->slots)
		return pen_fail(denied, -EINVAL, EINVAL,
				"%u entries and %u slots are no sizes for an I/O queue", opt->entries,
				opt->slots);
	if (opt->choice == PEN_IO_THREADS)
		return open_threads(opt, ret, denied);
	err = pen_io_uring_open(opt, ret, denied);
	if (!err || opt->choice == PEN_IO_URING)
		return err;
	return open_threads(opt, ret, denied);
}

void pen_io_close(struct pen_io *io)
{
	struct pen_io_req *req[64];

	if (!io)
		return;
	if (io->inflight)
		pen_io_cancel(io);
	while (io->inflight)
		(void)pen_io_wait(io, req, PEN_COUNT(req), UINT64_MAX);
	io->ops->close(io);
}

enum pen_io_kind pen_io_kind(const struct pen_io *io)
{
	return io->kind;
}

static bool start(struct pen_io *io, struct pen_io_req *req)
{
	if (io->inflight == io->entries)
		return false;
	req->res = 0;
	req->cancelled = false;
	req->tries = 0;
	req->got = 0;
	req->next = NULL;
	io->inflight++;
	io->ops->start(io, req);
	return true;
}

bool pen_io_read(struct pen_io *io, struct pen_io_req *req, int fd, void *buf, size_t len, int64_t offset)
{
	req->fetch = false;
	req->fd = fd;
	req->path = NULL;
	req->buf = buf;
	req->len = len;
	req->offset = offset < 0 ? PEN_IO_STREAM : offset;
	return start(io, req);
}

bool pen_io_fetch(struct pen_io *io, struct pen_io_req *req, int dirfd, const char *path, void *buf,
		  size_t cap)
{
	req->fetch = true;
	req->fd = dirfd;
	req->path = path;
	req->buf = buf;
	req->len = cap;
	req->offset = 0;
	return start(io, req);
}

void pen_io_submit(struct pen_io *io)
{
	io->ops->submit(io);
}

uint32_t pen_io_wait(struct pen_io *io, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns)
{
	uint32_t n = io->ops->wait(io, ret, max, timeout_ns);

	pen_assert(n <= io->inflight);
	io->inflight -= n;
	return n;
}

void pen_io_wake(struct pen_io *io)
{
	io->ops->wake(io);
}

void pen_io_cancel(struct pen_io *io)
{
	io->ops->cancel(io);
}

int pen_io_probe(char *ret_text, size_t cap)
{
	struct pen_io_options opt = { .choice = PEN_IO_URING, .entries = ENTRIES_MIN, .slots = 4 };
	struct pen_failure why = { 0 };
	struct pen_io *io;
	int err = pen_io_uring_open(&opt, &io, &why);

	if (err) {
		if (cap)
			(void)snprintf(ret_text, cap, "%s", why.text);
		return why.os_errno ? -why.os_errno : err;
	}
	if (cap)
		pen_io_uring_describe(io, ret_text, cap);
	pen_io_close(io);
	return 0;
}
