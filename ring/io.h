/* SPDX-License-Identifier: MIT */
/*
 * io - read requests in, completions out
 *
 * Two backends behind one interface: io_uring, and a pool of threads that use plain system calls where io_uring
 * is denied. Both give the same bytes and the same results for the same requests.
 *
 *   read   up to len bytes at an offset of a regular file: short reads are continued until len bytes came
 *          or the file ended. With offset PEN_IO_STREAM, one read of a pipe or terminal: what is there now.
 *   fetch  a whole small file below a directory: open, read up to cap bytes, close, without the caller seeing a
 *          descriptor. With res == cap the file may be longer (ask for one byte more than it should have).
 *          The open never leaves the directory, never follows a symbolic link, never blocks on a FIFO (openat2
 *          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC).
 *          Errors are the kernel's: ELOOP for a symbolic link, EXDEV for a way out, EISDIR for a directory,
 *          ESPIPE for a FIFO (none of whose bytes are taken).
 *
 * An error after some bytes is the error, not the bytes: a result shorter than asked always means the
 * file's end.
 *
 * A request belongs to the caller and must stay where it is until its completion was returned; res is then the
 * number of bytes, or -errno. Nothing is allocated per request.
 *
 *   Threads    open, read, fetch, submit, wait, cancel, close: the one owner thread, which must be the same for
 *              all of them. wake: anyone.
 *   Limits     `entries` requests in flight (read and fetch return false beyond); `slots` direct descriptors.
 *   Progress   read, fetch and submit never block. wait blocks until a completion, a wake or the timeout.
 */
#ifndef PEN_RING_IO_H
#define PEN_RING_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/base.h"
#include "ring/error.h"

enum pen_io_kind { PEN_IO_KIND_URING = 1, PEN_IO_KIND_THREADS };

#define PEN_IO_STREAM (-1)

struct pen_io_req {
	/* Set by read and fetch; the caller's again after completion. */
	void *user; /* the caller's, untouched */
	char *buf;
	size_t len; /* bytes wanted */
	int64_t offset;
	const char *path; /* fetch only */
	int fd;		  /* read: the file; fetch: the directory */
	int64_t res;	  /* after completion: bytes, or -errno */
	/* Backend only. */
	bool fetch;
	bool cancelled;
	uint8_t stage;	     /* the step whose result is awaited */
	uint8_t tries;	     /* of this step, after EAGAIN or EINTR */
	uint16_t slot;	     /* direct descriptor */
	uint32_t index;	     /* in the table of requests in flight */
	uint32_t buffer;     /* registered buffer index, or UINT32_MAX */
	uint32_t generation; /* threads: cancel calls before it was queued */
	size_t got;	     /* bytes so far */
	struct pen_io_req *next;
};

struct pen_io_options {
	enum pen_io_choice choice;
	uint32_t entries; /* requests in flight, a power of two, 8 .. 4096 */
	uint32_t slots;	  /* files open at once by fetch; lowered to what RLIMIT_NOFILE allows */
	uint32_t threads; /* of the thread backend; 0: 4 */
	void *arena;	  /* memory to register for reads, NULL: none; used where memlock allows */
	size_t arena_bytes;
	size_t slot_bytes; /* registered piecewise in this size */
};

struct pen_io;

/*
 * Opens the backend the choice asks for. AUTO tries io_uring (set-up, a NOP round trip and a linked
 * open/read/close self-test) and falls back to threads; *ret_denied is then filled with why (its code is 0 when
 * nothing was denied). URING: -PEN_IO_DENIED instead. To be called in the thread that will use it.
 */
int pen_io_open(const struct pen_io_options *opt, struct pen_io **ret, struct pen_failure *ret_denied);
/* Cancels what is in flight, waits for every completion, then frees. NULL is allowed. */
void pen_io_close(struct pen_io *io);
enum pen_io_kind pen_io_kind(const struct pen_io *io);

/* Queue a request; false when `entries` are in flight. */
bool pen_io_read(struct pen_io *io, struct pen_io_req *req, int fd, void *buf, size_t len, int64_t offset);
bool pen_io_fetch(struct pen_io *io, struct pen_io_req *req, int dirfd, const char *path, void *buf,
		  size_t cap);
/* Start what was queued. */
void pen_io_submit(struct pen_io *io);
/*
 * Completed requests, up to max; 0 after a wake or the timeout (0: do not block, UINT64_MAX: for ever). Submits
 * first.
 */
uint32_t pen_io_wait(struct pen_io *io, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns);
/* Makes a wait in progress, or the next one, return. Cheap when nobody waits. */
void pen_io_wake(struct pen_io *io);
/* Asks for early completion (-ECANCELED) of everything in flight; the completions still come through wait. */
void pen_io_cancel(struct pen_io *io);

/*
 * Test seam: called with each io_uring result before it is used, may replace it (short reads, errors).
 * NULL: off.
 */
extern int (*pen_cqe_hook)(const struct pen_io_req *req, int res);

/* The version of liburing this was built with. */
const char *pen_io_version(void);

#endif
