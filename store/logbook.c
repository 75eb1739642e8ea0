/* SPDX-License-Identifier: MIT */
#include "store/logbook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/error.h"
#include "ring/log_line.h"

#define FILE_BYTES (256ull << 20)
#define NAMES_MAX 4096u
#define REMOVE_MAX 64u
#define DAY_MS 86400000ull

static const char *const prefixes[PEN_LOGBOOK_STREAMS] = { "application-", "error-", "security-", "audit-" };

/* ---- names ----------------------------------------------------------------------------------- */

void pen_logbook_name(enum pen_logbook_stream stream, uint64_t day, char ret[PEN_LOGBOOK_NAME])
{
	size_t len = strlen(prefixes[stream]);
	char time[24];

	pen_log_line_time(time, day * DAY_MS);
	memcpy(ret, prefixes[stream], len);
	memcpy(ret + len, time, 10);
	memcpy(ret + len + 10, ".log", 5);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Others could put links and files of their own into it. */
static int check_dir(int fd, const char *dir, struct pen_failure *why)
{
	struct stat st;

	if (fstat(fd, &st))
		return pen_fail(why, -PEN_LOG_PLACE, errno, "'%s' cannot be looked at: %s", dir,
				strerror(errno));
	if ((st.st_uid && st.st_uid != geteuid()) || (st.st_mode & S_IWOTH))
		return pen_fail(why, -PEN_LOG_PLACE, EPERM,
				"'%s' belongs to user %u and has mode %04o: a log is not safe there", dir,
				(unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
	return 0;
}

int pen_logbook_open(struct pen_logbook *book, const char *dir, struct pen_failure *why)
{
	int rc;

	*book = (struct pen_logbook){ .file_bytes = FILE_BYTES };
	for (int i = 0; i < PEN_LOGBOOK_STREAMS; i++)
		book->files[i].fd = -1;
	book->keep_days[PEN_LOGBOOK_APPLICATION] = book->keep_days[PEN_LOGBOOK_ERROR] = 14;
	book->keep_days[PEN_LOGBOOK_SECURITY] = 30;
	if (mkdir(dir, 0750) && errno != EEXIST && errno != EROFS)
		return pen_fail(why, -PEN_LOG_PLACE, errno, "'%s' cannot be made: %s", dir, strerror(errno));
	book->dir = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (book->dir < 0)
		return pen_fail(why, -PEN_LOG_PLACE, errno, "'%s' cannot be opened: %s", dir,
				strerror(errno));
	rc = check_dir(book->dir, dir, why);
	if (!rc && pen_sha256_open(&book->hasher))
		rc = pen_fail(why, -PEN_MEMORY, 0, "no SHA-256 for the log");
	if (rc)
		pen_logbook_close(book);
	return rc;
}

static void close_file(struct pen_logbook *book, enum pen_logbook_stream stream)
{
	if (book->files[stream].fd >= 0)
		(void)close(book->files[stream].fd);
	book->files[stream].fd = -1;
	book->files[stream].torn = book->files[stream].full = false;
}

void pen_logbook_close(struct pen_logbook *book)
{
	for (int i = 0; i < PEN_LOGBOOK_STREAMS; i++)
		close_file(book, (enum pen_logbook_stream)i);
	if (book->dir >= 0)
		(void)close(book->dir);
	book->dir = -1;
	pen_sha256_close(book->hasher);
	book->hasher = NULL;
}

static int open_file(struct pen_logbook *book, enum pen_logbook_stream stream, uint64_t day, struct stat *ret)
{
	char name[PEN_LOGBOOK_NAME];
	int fd, rc = 0;

	pen_logbook_name(stream, day, name);
	fd = openat(book->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		    0640);
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret))
		rc = -errno;
	else if (!S_ISREG(ret->st_mode) || ret->st_nlink != 1)
		rc = -EPERM;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	book->files[stream].fd = fd;
	book->files[stream].day = day;
	return 0;
}

/* The day's file, whatever became of it meanwhile. */
static int ready(struct pen_logbook *book, enum pen_logbook_stream stream, uint64_t day, struct stat *ret)
{
	if (book->files[stream].fd >= 0 &&
	    (book->files[stream].day != day || fstat(book->files[stream].fd, ret) || !ret->st_nlink))
		close_file(book, stream);
	return book->files[stream].fd >= 0 ? 0 : open_file(book, stream, day, ret);
}

int pen_logbook_write(struct pen_logbook *book, enum pen_logbook_stream stream, uint64_t day,
		      const char *lines, size_t len, uint32_t count)
{
	struct stat st = { 0 };
	int rc = ready(book, stream, day, &st);
	size_t done = 0;

	if (!rc && (uint64_t)st.st_size + len > book->file_bytes) {
		book->files[stream].full = true;
		rc = -EFBIG;
	}
	if (!rc && book->files[stream].torn) {
		ssize_t n = write(book->files[stream].fd, "\n", 1);

		if (n == 1)
			book->files[stream].torn = false;
		else
			rc = n < 0 ? -errno : -ENOSPC;
	}
	while (!rc && done < len) {
		ssize_t n = write(book->files[stream].fd, lines + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			rc = n < 0 ? -errno : -ENOSPC;
	}
	if (rc) {
		/* Those that are whole count as written; the rest of a cut one is left out by who reads. */
		book->files[stream].torn |= done > 0 && lines[done - 1] != '\n';
		for (size_t i = 0; i < done; i++)
			count -= lines[i] == '\n';
		book->dropped += count;
	}
	return rc;
}

/* ---- retention ------------------------------------------------------------------------------- */

uint32_t pen_logbook_tidy(struct pen_logbook *book, uint64_t today)
{
	int fd = openat(book->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char oldest[PEN_LOGBOOK_STREAMS][PEN_LOGBOOK_NAME];
	uint32_t removed = 0;
	struct dirent *e;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return 0;
	}
	/* Names of one length, so their order is that of the days. */
	for (int s = 0; s < PEN_LOGBOOK_STREAMS; s++)
		pen_logbook_name((enum pen_logbook_stream)s,
				 today >= book->keep_days[s] ? today - book->keep_days[s] : 0, oldest[s]);
	for (uint32_t seen = 0; seen < NAMES_MAX && removed < REMOVE_MAX && (e = readdir(dir)); seen++) {
		for (int s = 0; s < PEN_LOGBOOK_STREAMS; s++) {
			const char *date = e->d_name + strlen(prefixes[s]);

			if (!book->keep_days[s] || strlen(e->d_name) != strlen(oldest[s]) ||
			    strncmp(e->d_name, prefixes[s], strlen(prefixes[s])) != 0 ||
			    strspn(date, "0123456789-") != 10 || strcmp(date + 10, ".log") != 0)
				continue;
			if (strcmp(e->d_name, oldest[s]) < 0 && !unlinkat(book->dir, e->d_name, 0))
				removed++;
		}
	}
	(void)closedir(dir);
	return removed;
}
