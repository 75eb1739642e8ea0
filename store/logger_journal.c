/* SPDX-License-Identifier: MIT */
/*
 * logger - the system's journal, by its own protocol: a datagram a line, of NAME=VALUE or of a name, a length and a
 * value
 *
 * No library is needed for it, and a journal that is slow or gone costs nothing: sending never waits.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/logger.h"

int pen_journal_open(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof to.sun_path)
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof to)) {
		int rc = -errno;

		(void)close(fd);
		return rc;
	}
	return fd;
}

void pen_journal_send(int fd, const struct pen_log_record *rec, const char *line, size_t len,
		      struct pen_log_scratch *scratch)
{
	static const char *const priorities[PEN_LOG_LEVELS] = { "6", "3", "4", "6", "6", "7" };
	const char *message = (const char *)(rec + 1) + rec->correlation_len + rec->user_len;
	uint64_t message_len =
		pen_log_line_redact(message, rec->message_len, rec->cut, scratch->text, sizeof scratch->text);
	const char *level = rec->level < PEN_LOG_LEVELS ? priorities[rec->level] : priorities[0];
	const char *kind = pen_log_kind_name(rec->kind), *module = pen_log_module_name(rec->module);
	const struct iovec parts[] = {
#define TEXT(text) { (void *)(uintptr_t)(text), strlen(text) }
		TEXT("SYSLOG_IDENTIFIER=penstock\nPRIORITY="),
		TEXT(level),
		TEXT("\nPENSTOCK_KIND="),
		TEXT(kind),
		TEXT("\nPENSTOCK_MODULE="),
		TEXT(module),
		/* A line has no newline in it, a message may. */
		TEXT("\nPENSTOCK_LINE="),
		{ (void *)(uintptr_t)line, len },
		TEXT("\nMESSAGE\n"),
		{ &message_len, 8 },
		{ scratch->text, message_len },
		TEXT("\n"),
#undef TEXT
	};
	const struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)parts,
				    .msg_iovlen = PEN_COUNT(parts) };

	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT); /* the files have it */
}
