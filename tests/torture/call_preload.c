/* SPDX-License-Identifier: MIT */
/*
 * call_preload - the Nth call of a process that changes files fails, or is its last one
 *
 * Preloaded before the C library. All kinds of such calls and all threads share one count, so that N reaches every one
 * of them. CALL_AT=N: the Nth call returns CALL_ERRNO (a number) without being made; without CALL_ERRNO the process is
 * killed instead. CALL_LOG=FILE: what was hit is written there ("name\n"); at exit how many calls there were ("N\n"),
 * unless there is something already. What is written to pipes, sockets and terminals does not count.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long count;
static long at = -1;
static int error;

static void note(const char *text)
{
	const char *log = getenv("CALL_LOG");
	int fd = log ? open(log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	(void)dprintf(fd, "%s", text);
	(void)close(fd);
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("CALL_AT");

	at = text ? strtol(text, NULL, 10) : -1;
	text = getenv("CALL_ERRNO");
	error = text ? (int)strtol(text, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%ld\n", atomic_load_explicit(&count, memory_order_relaxed));
	note(text);
}

static bool fails(const char *name)
{
	if (atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1 != at)
		return false;
	note(name);
	if (!error)
		(void)kill(getpid(), SIGKILL);
	errno = error;
	return true;
}

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* A function pointer out of an object pointer, which C has no cast for. */
#define CALL(type, name, params, args)               \
	type name params;                            \
	type name params                             \
	{                                            \
		type(*call) params;                  \
		void *symbol = real(#name);          \
                                                     \
		if (fails(#name "\n"))               \
			return -1;                   \
		memcpy(&call, &symbol, sizeof call); \
		return call args;                    \
	}

CALL(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t o), (fd, p, n, o))
CALL(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t o), (fd, p, n, o))
CALL(ssize_t, writev, (int fd, const struct iovec *p, int n), (fd, p, n))
CALL(ssize_t, pwritev, (int fd, const struct iovec *p, int n, off_t o), (fd, p, n, o))
CALL(ssize_t, pwritev64, (int fd, const struct iovec *p, int n, off64_t o), (fd, p, n, o))
CALL(int, fdatasync, (int fd), (fd))
CALL(int, fsync, (int fd), (fd))
CALL(int, ftruncate, (int fd, off_t n), (fd, n))
CALL(int, ftruncate64, (int fd, off64_t n), (fd, n))
CALL(int, rename, (const char *a, const char *b), (a, b))
CALL(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b))
CALL(int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f))
CALL(int, link, (const char *a, const char *b), (a, b))
CALL(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f))
CALL(int, mkdir, (const char *a, mode_t m), (a, m))
CALL(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m))
CALL(int, unlink, (const char *a), (a))
CALL(int, unlinkat, (int d, const char *a, int f), (d, a, f))
CALL(int, rmdir, (const char *a), (a))
CALL(int, fchmod, (int fd, mode_t m), (fd, m))
CALL(int, fchmodat, (int d, const char *a, mode_t m, int f), (d, a, m, f))
CALL(int, fallocate, (int fd, int m, off_t o, off_t n), (fd, m, o, n))
CALL(int, fallocate64, (int fd, int m, off64_t o, off64_t n), (fd, m, o, n))

/* The one that returns what is wrong. */
int posix_fallocate(int fd, off_t from, off_t len)
{
	int (*call)(int, off_t, off_t);
	void *symbol = real("posix_fallocate");

	if (fails("posix_fallocate\n"))
		return error;
	memcpy(&call, &symbol, sizeof call);
	return call(fd, from, len);
}

/* Its directory is made inside the C library. */
char *mkdtemp(char *path)
{
	char *(*call)(char *);
	void *symbol = real("mkdtemp");

	if (fails("mkdtemp\n"))
		return NULL;
	memcpy(&call, &symbol, sizeof call);
	return call(path);
}
