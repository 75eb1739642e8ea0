/* SPDX-License-Identifier: MIT */
/*
 * io_backend - what io.c and the two backends share; nobody else includes it
 *
 * io.c counts requests in flight and fills them in; a backend starts them and hands them back. A backend embeds
 * struct pen_io as its first member.
 */
#ifndef PEN_RING_IO_BACKEND_H
#define PEN_RING_IO_BACKEND_H

#include <fcntl.h>
#include <linux/openat2.h>

#include "ring/io.h"

/* How often one step of a request is repeated after EAGAIN or EINTR before that becomes its result. */
#define PEN_IO_TRIES 8

/* One system call moves at most this much (the kernel's own limit is a page below 2 GiB). */
#define PEN_IO_STEP_MAX ((size_t)1 << 30)

struct pen_io_ops {
	void (*start)(struct pen_io *io, struct pen_io_req *req);
	void (*submit)(struct pen_io *io);
	uint32_t (*wait)(struct pen_io *io, struct pen_io_req **ret, uint32_t max, uint64_t timeout_ns);
	void (*wake)(struct pen_io *io);
	void (*cancel)(struct pen_io *io);
	void (*close)(struct pen_io *io); /* nothing is in flight */
};

struct pen_io {
	const struct pen_io_ops *ops;
	enum pen_io_kind kind;
	uint32_t entries;
	uint32_t inflight; /* queued and not yet returned by wait; owner only */
};

/* Requests in a row, first in first out; links through req->next. */
struct pen_io_list {
	struct pen_io_req *head, *tail;
};

static inline void pen_io_list_push(struct pen_io_list *list, struct pen_io_req *req)
{
	req->next = NULL;
	if (list->tail)
		list->tail->next = req;
	else
		list->head = req;
	list->tail = req;
}

static inline struct pen_io_req *pen_io_list_pop(struct pen_io_list *list)
{
	struct pen_io_req *req = list->head;

	if (req) {
		list->head = req->next;
		if (!list->head)
			list->tail = NULL;
	}
	return req;
}

/* Puts all of `from` behind `to`. */
static inline void pen_io_list_move(struct pen_io_list *to, struct pen_io_list *from)
{
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	from->head = from->tail = NULL;
}

/*
 * True when the bytes so far settle a read. A fetch asks for one byte more than the file should have, so
 * one byte short of that is the expected size and needs no further read to prove the end; anything shorter
 * does, because the kernel also returns short when a read fails half-way.
 */
static inline bool pen_io_settled(const struct pen_io_req *req)
{
	return req->got == req->len || (req->fetch && req->got + 1 == req->len);
}

/* extra: O_CLOEXEC where the descriptor is an ordinary one. */
static inline struct open_how pen_io_how(uint64_t extra)
{
	return (struct open_how){
		.flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | extra,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
}

/* 0, or -PEN_IO_DENIED with *why filled. */
int pen_io_uring_open(const struct pen_io_options *opt, struct pen_io **ret, struct pen_failure *why);
/* "io_uring works: ..." about an open ring. */
void pen_io_uring_describe(const struct pen_io *io, char *ret_text, size_t cap);
/* 0, or -errno with *why filled. *ret_walk: openat2 is denied too, paths are walked part by part. */
int pen_io_threads_open(const struct pen_io_options *opt, struct pen_io **ret, bool *ret_walk,
			struct pen_failure *why);

#endif
