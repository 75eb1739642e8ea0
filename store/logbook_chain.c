/* SPDX-License-Identifier: MIT */
/*
 * logbook - the chain: appending to it, and looking whether it is whole
 *
 * Who appends holds audit.head locked, finds the last line, and writes the next one; then the head, which so is never
 * ahead of the lines. A line that a crash cut short was never acknowledged: the next one who appends takes it away.
 * The order of the chain is that of the files' names and of the lines in them; a clock that goes back does not change
 * it, the newest file goes on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/error.h"
#include "ring/log_line.h"
#include "store/logbook.h"

#define HEAD "audit.head"
#define PREFIX "audit-"
#define NAME_LEN 20u /* audit-YYYY-MM-DD.log */
#define FILES_MAX 65536u
#define TAIL_BYTES (PEN_LOG_LINE_BYTES + PEN_LOGBOOK_SEAL + 1)
#define PREV ",\"prev\":\""
#define HASH ",\"hash\":\""
/* ,"prev":"..." and ,"hash":"..."} */
#define PREV_LEN (sizeof PREV - 1 + PEN_LOGBOOK_HASH + 1)
#define HASH_LEN (sizeof HASH - 1 + PEN_LOGBOOK_HASH + 2)
_Static_assert(PREV_LEN + HASH_LEN + 1 <= PEN_LOGBOOK_SEAL, "as it is promised");

static const char nothing[PEN_LOGBOOK_HASH + 1] =
	"0000000000000000000000000000000000000000000000000000000000000000";

static bool is_audit(const char *name)
{
	return strlen(name) == NAME_LEN && !strncmp(name, PREFIX, sizeof PREFIX - 1) &&
	       strspn(name + sizeof PREFIX - 1, "0123456789-") == 10 && !strcmp(name + NAME_LEN - 4, ".log");
}

static void hash_of(struct pen_sha256 *hasher, const void *data, size_t len, char ret[PEN_LOGBOOK_HASH])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t sum[PEN_SHA256_BYTES];

	pen_sha256_begin(hasher);
	pen_sha256_add(hasher, data, len);
	pen_sha256_end(hasher, sum);
	for (size_t i = 0; i < sizeof sum; i++) {
		ret[2 * i] = hex[sum[i] >> 4];
		ret[2 * i + 1] = hex[sum[i] & 15];
	}
}

static bool is_hash(const char *text)
{
	for (size_t i = 0; i < PEN_LOGBOOK_HASH; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}

/* A line without its newline: where its two hashes stand. */
static bool sealed(const char *line, size_t len, const char **ret_prev, const char **ret_hash)
{
	const char *hash = line + len - HASH_LEN, *prev = hash - PREV_LEN;

	if (len < HASH_LEN + PREV_LEN + 2 || memcmp(hash, HASH, sizeof HASH - 1) ||
	    memcmp(line + len - 2, "\"}", 2) || memcmp(prev, PREV, sizeof PREV - 1) || hash[-1] != '"')
		return false;
	*ret_prev = prev + sizeof PREV - 1;
	*ret_hash = hash + sizeof HASH - 1;
	return is_hash(*ret_prev) && is_hash(*ret_hash);
}

/* ---- appending ------------------------------------------------------------------------------- */

/* The newest file's name below `below` ("": there is none). */
static int newest(int dirfd, const char *below, char ret[PEN_LOGBOOK_NAME])
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	ret[0] = 0;
	if (!dir) {
		int rc = -errno;

		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	while ((e = readdir(dir)))
		if (is_audit(e->d_name) && (!below[0] || strcmp(e->d_name, below) < 0) &&
		    strcmp(e->d_name, ret) > 0)
			memcpy(ret, e->d_name, NAME_LEN + 1);
	(void)closedir(dir);
	return 0;
}

static int open_plain(int dirfd, const char *name, int flags)
{
	/* Each caller has a name. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	int fd = openat(dirfd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		(void)close(fd);
		return -EPERM;
	}
	return fd;
}

/*
 * The hash of a file's last line, which is cut off if it is not whole. 1: ret is it. 0: there is no line. A line that
 * is no seal stands for its own hash, so that the chain goes on and the check names it.
 */
static int last_hash(struct pen_logbook *book, int fd, char ret[PEN_LOGBOOK_HASH])
{
	char *tail = malloc(TAIL_BYTES);
	const char *prev, *hash, *line, *end;
	struct stat st;
	ssize_t n = -1;
	off_t from = 0;
	int rc = 0;

	if (!tail)
		return -ENOMEM;
	if (!fstat(fd, &st)) {
		from = st.st_size > (off_t)TAIL_BYTES ? st.st_size - (off_t)TAIL_BYTES : 0;
		n = pread(fd, tail, TAIL_BYTES, from);
	}
	if (n < 0)
		rc = -errno;
	end = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;
	/* What comes behind the last newline was never acknowledged. */
	if (n > 0 && end != tail + n - 1 && (end || !from) &&
	    ftruncate(fd, end ? from + (end - tail) + 1 : 0))
		rc = -errno;
	if (!rc && end) {
		line = end > tail ? memrchr(tail, '\n', (size_t)(end - tail)) : NULL;
		line = line ? line + 1 : tail;
		if (sealed(line, (size_t)(end - line), &prev, &hash))
			memcpy(ret, hash, PEN_LOGBOOK_HASH);
		else
			hash_of(book->hasher, line, (size_t)(end - line), ret);
		rc = 1;
	}
	free(tail);
	return rc;
}

/* The file to append to, and the last line's hash. */
static int find_end(struct pen_logbook *book, uint64_t day, int *ret_fd, char ret_prev[PEN_LOGBOOK_HASH])
{
	char name[PEN_LOGBOOK_NAME], at[PEN_LOGBOOK_NAME];
	int rc = newest(book->dir, "", at);

	pen_logbook_name(PEN_LOGBOOK_AUDIT, day, name);
	if (!rc && strcmp(at, name) > 0)
		memcpy(name, at, sizeof at);
	/* A hash has a length. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(ret_prev, nothing, PEN_LOGBOOK_HASH);
	while (!rc && at[0]) {
		int fd = open_plain(book->dir, at, O_RDWR);

		rc = fd < 0 ? fd : last_hash(book, fd, ret_prev);
		if (fd >= 0)
			(void)close(fd);
		if (!rc)
			rc = newest(book->dir, memcpy((char[PEN_LOGBOOK_NAME]){ 0 }, at, NAME_LEN), at);
	}
	if (rc < 0)
		return rc;
	*ret_fd = open_plain(book->dir, name, O_WRONLY | O_APPEND | O_CREAT);
	return *ret_fd < 0 ? *ret_fd : 0;
}

static int lock_head(int dirfd, int how, bool make)
{
	int fd = open_plain(dirfd, HEAD, make ? O_RDWR | O_CREAT : O_RDONLY);

	while (fd >= 0 && flock(fd, how))
		if (errno != EINTR) {
			(void)close(fd);
			return -errno;
		}
	return fd;
}

int pen_logbook_audit(struct pen_logbook *book, uint64_t day, char *line, size_t *len)
{
	char *at = line + *len;
	int head = lock_head(book->dir, LOCK_EX, true), fd, rc;
	ssize_t n;

	if (head < 0)
		return head;
	at = mempcpy(at, PREV, sizeof PREV - 1);
	rc = find_end(book, day, &fd, at);
	if (rc) {
		(void)close(head);
		return rc;
	}
	at += PEN_LOGBOOK_HASH;
	*at++ = '"';
	hash_of(book->hasher, line, (size_t)(at - line), at + sizeof HASH - 1);
	at = mempcpy(at, HASH, sizeof HASH - 1);
	at = mempcpy(at + PEN_LOGBOOK_HASH, "\"}\n", 3);
	*len = (size_t)(at - line);
	do
		n = write(fd, line, *len);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)*len || fdatasync(fd))
		rc = n < 0 ? -errno : -ENOSPC; /* the next one takes a part of a line away */
	else if (pwrite(head, at - 3 - PEN_LOGBOOK_HASH, PEN_LOGBOOK_HASH, 0) != PEN_LOGBOOK_HASH)
		rc = -EIO;
	(void)close(fd);
	(void)close(head);
	return rc;
}

/* ---- the check ------------------------------------------------------------------------------- */

struct check {
	struct pen_sha256 *hasher;
	pen_log_finding_fn *finding;
	void *arg;
	long findings;
	char expected[PEN_LOGBOOK_HASH];
	char head[PEN_LOGBOOK_HASH];
	bool has_head, head_seen, any;
};

__attribute__((format(printf, 2, 3))) static void found(struct check *c, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	c->findings++;
	if (c->finding)
		c->finding(c->arg, text);
}

/* What is wrong with a line; NULL: nothing. The chain goes on behind it either way. */
static const char *check_line(struct check *c, const char *line, size_t len)
{
	const char *prev, *hash, *wrong = NULL;
	char own[PEN_LOGBOOK_HASH];

	if (!sealed(line, len, &prev, &hash)) {
		hash_of(c->hasher, line, len, c->expected);
		return "is no sealed line";
	}
	hash_of(c->hasher, line, len - HASH_LEN, own);
	if (memcmp(own, hash, sizeof own))
		wrong = "is not what was sealed: it was changed";
	else if (memcmp(prev, c->expected, sizeof own))
		wrong = "does not follow the line before it: lines were removed, added or moved";
	memcpy(c->expected, hash, sizeof own);
	c->head_seen |= c->has_head && !memcmp(hash, c->head, sizeof own);
	return wrong;
}

static void check_file(struct check *c, int dirfd, const char *name)
{
	int fd = open_plain(dirfd, name, O_RDONLY);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long number = 0;
	bool told = false;
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	if (!file) {
		found(c, "%s cannot be read: %s", name, strerror(fd < 0 ? -fd : errno));
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((len = getline(&line, &cap, file)) > 0) {
		const char *wrong = NULL;

		number++;
		if (line[len - 1] == '\n')
			wrong = check_line(c, line, (size_t)len - 1);
		/* else: a crash cut it short, and nobody was told that it is there */
		c->any = true;
		if (wrong && !told)
			found(c, "%s line %lu %s", name, number, wrong);
		told |= wrong != NULL;
	}
	free(line);
	(void)fclose(file);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Names of all files, in order. malloc'ed; their number or -errno. */
static long list_files(int dirfd, char (**ret)[PEN_LOGBOOK_NAME])
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char(*names)[PEN_LOGBOOK_NAME] = NULL;
	size_t count = 0, cap = 0;
	struct dirent *e;

	if (!dir)
		return -errno;
	while (count < FILES_MAX && (e = readdir(dir))) {
		if (!is_audit(e->d_name))
			continue;
		if (count == cap) {
			void *grown = realloc(names, (cap = cap ? cap * 2 : 64) * sizeof *names);

			if (!grown) {
				free(names);
				(void)closedir(dir);
				return -ENOMEM;
			}
			names = grown;
		}
		memcpy(names[count++], e->d_name, NAME_LEN + 1);
	}
	(void)closedir(dir);
	if (count)
		qsort(names, count, sizeof *names, by_name);
	*ret = names;
	return (long)count;
}

long pen_log_verify(const char *dir, pen_log_finding_fn *finding, void *arg, struct pen_failure *why)
{
	struct check c = { .finding = finding, .arg = arg };
	char(*names)[PEN_LOGBOOK_NAME] = NULL;
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), head;
	long count;

	if (dirfd < 0 && errno == ENOENT)
		return 0;
	if (dirfd < 0)
		return pen_fail(why, -PEN_LOG_PLACE, errno, "'%s' cannot be opened: %s", dir,
				strerror(errno));
	if (pen_sha256_open(&c.hasher)) {
		(void)close(dirfd);
		return pen_fail(why, -PEN_MEMORY, 0, "no SHA-256 to check audit lines with");
	}
	memcpy(c.expected, nothing, sizeof c.expected);
	head = lock_head(dirfd, LOCK_SH, false); /* nobody appends meanwhile */
	if (head >= 0)
		c.has_head = pread(head, c.head, sizeof c.head, 0) == (ssize_t)sizeof c.head;
	count = list_files(dirfd, &names);
	for (long i = 0; i < count; i++)
		check_file(&c, dirfd, names[i]);
	if (count >= 0 && c.has_head && !c.head_seen)
		found(&c, "%s is not the end: the last line that was written is missing",
		      c.any ? names[count - 1] : HEAD);
	if (count >= 0 && c.any && head == -ENOENT)
		found(&c, "%s is missing: whether lines are missing at the end cannot be told", HEAD);
	free(names);
	if (head >= 0)
		(void)close(head);
	(void)close(dirfd);
	pen_sha256_close(c.hasher);
	if (count < 0)
		return pen_fail(why, -PEN_LOG_PLACE, (int)-count, "'%s' cannot be read: %s", dir,
				strerror((int)-count));
	return c.findings;
}
