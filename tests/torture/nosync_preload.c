/* SPDX-License-Identifier: MIT */
/*
 * nosync_preload - syncs say they are done and do nothing
 *
 * The control of the power cuts: with this preloaded, a run acknowledges what has not reached the disk, and a cut must
 * show it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int fsync(int fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

int fdatasync(int fd)
{
	return fsync(fd);
}

int open(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	void *symbol = real ? NULL : dlsym(RTLD_NEXT, "open");
	mode_t mode = 0;
	va_list ap;

	if (!real)
		memcpy(&real, &symbol, sizeof symbol); /* a function pointer out of an object pointer */
	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return real(path, flags & ~(O_SYNC | O_DSYNC), mode);
}
