/* SPDX-License-Identifier: MIT */
/*
 * oom_preload - the Nth allocation of a process fails
 *
 * Preloaded before the program's allocator. OOM_AT=N: the Nth malloc, calloc, realloc, aligned_alloc or posix_memalign
 * fails with ENOMEM, counted over all threads; OOM_STICKY=1: so do all behind it. OOM_LOG=FILE: how many there were is
 * written there at exit. Operators of C++ that end in these count too; mmap does not, and neither does what the name
 * service switch allocates inside getpwuid_r: glibc 2.36 ends the process by an assertion when that fails.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* dlsym itself may allocate before the real functions are known: from here, never given back. */
static _Alignas(16) char early[65536];
static size_t early_used;

static _Atomic long count;
static long at = -1;
static bool sticky, ready;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void (*real_free)(void *);
static int (*real_getpwuid_r)(uid_t, struct passwd *, char *, size_t, struct passwd **);
static _Thread_local bool spared;

/* A function pointer out of an object pointer, which C has no cast for. */
static void find(const char *name, void *ret)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	memcpy(ret, &symbol, sizeof symbol);
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("OOM_AT");

	find("malloc", &real_malloc);
	find("calloc", &real_calloc);
	find("realloc", &real_realloc);
	find("aligned_alloc", &real_aligned_alloc);
	find("posix_memalign", &real_posix_memalign);
	find("free", &real_free);
	find("getpwuid_r", &real_getpwuid_r);
	at = text ? strtol(text, NULL, 10) : -1;
	sticky = getenv("OOM_STICKY") != NULL;
	ready = true;
}

__attribute__((destructor)) static void end(void)
{
	const char *log = getenv("OOM_LOG");
	int fd = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	(void)dprintf(fd, "%ld\n", atomic_load_explicit(&count, memory_order_relaxed));
	(void)close(fd);
}

static bool fails(void)
{
	long n;

	if (!ready || spared)
		return false;
	n = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1;
	if (at < 0 || (n != at && (!sticky || n < at)))
		return false;
	errno = ENOMEM;
	return true;
}

static void *from_early(size_t size)
{
	void *p = early + early_used;

	early_used += (size + 15) & ~(size_t)15;
	return early_used <= sizeof early ? p : NULL;
}

void *malloc(size_t size)
{
	if (!real_malloc)
		return from_early(size);
	return fails() ? NULL : real_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	if (!real_calloc)
		return from_early(n * size);
	return fails() ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	if (!real_realloc)
		return NULL;
	return fails() ? NULL : real_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	if (!real_aligned_alloc)
		return NULL;
	return fails() ? NULL : real_aligned_alloc(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	if (!real_posix_memalign || fails())
		return ENOMEM;
	return real_posix_memalign(ret, align, size);
}

void free(void *p)
{
	uintptr_t a = (uintptr_t)p, from = (uintptr_t)early;

	if ((a < from || a >= from + sizeof early) && real_free)
		real_free(p);
}

int getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t len, struct passwd **ret)
{
	int rc;

	spared = true;
	rc = real_getpwuid_r(uid, pw, buf, len, ret);
	spared = false;
	return rc;
}
