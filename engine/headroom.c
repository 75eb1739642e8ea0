/* SPDX-License-Identifier: MIT */
#include "engine/headroom.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ring/base.h"

#define MAP_LEAST (UINT64_C(16) << 20)
#define TEXT 4096u

/* ---- files of the kernel --------------------------------------------------------------------- */

/* A whole small file, with a NUL: false when it is not there. */
static bool slurp(const char *path, char ret[TEXT])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, ret, TEXT - 1) : -1;

	if (fd >= 0)
		close(fd);
	ret[n > 0 ? n : 0] = 0;
	return n > 0;
}

/* The number behind a word at the beginning of a line. */
static bool number_of(const char *text, const char *word, uint64_t *ret)
{
	size_t len = strlen(word);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (!strncmp(text, word, len)) {
			*ret = strtoull(text + len, NULL, 10);
			return true;
		}
		if (!*text)
			break;
	}
	return false;
}

static void read_machine(const char *root, struct pen_headroom *ret)
{
	char path[PATH_MAX], text[TEXT];
	uint64_t kib;

	(void)snprintf(path, sizeof path, "%s/proc/meminfo", root);
	if (!slurp(path, text))
		return;
	if (number_of(text, "MemAvailable:", &kib))
		ret->memory = kib << 10;
	if (number_of(text, "MemTotal:", &kib))
		ret->memory_total = kib << 10;
}

/* How the two versions name the same. */
struct kind {
	const char *mount, *limit, *usage, *droppable;
};
static const struct kind version_2 = { "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file " };
static const struct kind version_1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
				       "memory.usage_in_bytes", "total_inactive_file " };

static bool read_in(const char *dir, const char *name, char text[TEXT])
{
	char path[PATH_MAX];

	return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && slurp(path, text);
}

/* One group; "max" and absurd limits are none. */
static void read_group(const struct kind *kind, const char *dir, struct pen_headroom *ret)
{
	uint64_t limit, usage, droppable = 0;
	char text[TEXT];

	if (!read_in(dir, kind->limit, text) || *text < '0' || *text > '9')
		return;
	limit = strtoull(text, NULL, 10);
	if (limit >= UINT64_C(1) << 62 || !read_in(dir, kind->usage, text))
		return;
	usage = strtoull(text, NULL, 10);
	if (read_in(dir, "memory.stat", text) && number_of(text, kind->droppable, &droppable))
		usage -= pen_min(usage, droppable);
	ret->memory = pen_min(ret->memory, limit - pen_min(limit, usage));
	ret->memory_total = pen_min(ret->memory_total, limit);
}

/* The group and all above it. In a container the path may be the host's: what is not there says nothing. */
static void read_groups(const struct kind *kind, const char *root, const char *group,
			struct pen_headroom *ret)
{
	char dir[PATH_MAX];
	size_t top = strlen(root) + strlen(kind->mount);
	int n = snprintf(dir, sizeof dir, "%s%s%s", root, kind->mount, group);

	while (n > 0 && n < (int)sizeof dir) {
		char *slash;

		read_group(kind, dir, ret);
		slash = strrchr(dir, '/');
		if (strlen(dir) <= top || !slash || (size_t)(slash - dir) < top)
			return;
		*slash = 0;
	}
}

static bool has_memory(const char *controllers, size_t len)
{
	for (const char *at = controllers; at < controllers + len; at++) {
		const char *end = memchr(at, ',', (size_t)(controllers + len - at));

		end = end ? end : controllers + len;
		if (end - at == 6 && !memcmp(at, "memory", 6))
			return true;
		at = end;
	}
	return false;
}

/* Lines "0::/group" (version 2) and "4:cpu,memory:/group" (version 1). */
static void read_cgroups(const char *root, struct pen_headroom *ret)
{
	char path[PATH_MAX], text[TEXT], *line, *save = NULL;

	(void)snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
	if (!slurp(path, text))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		if (!strncmp(line, "0::", 3))
			read_groups(&version_2, root, second + 1, ret);
		else if (has_memory(first + 1, (size_t)(second - first - 1)))
			read_groups(&version_1, root, second + 1, ret);
	}
}

/* The map must grow soon, and the address space has no room for that. */
static bool is_map_short(const char *root, const struct pen_store_info *info)
{
	uint64_t left = info->map_bytes - pen_min(info->map_bytes, info->used_bytes), more, pages;
	char path[PATH_MAX], text[TEXT];
	struct rlimit limit;

	if (left >= MAP_LEAST || getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return false;
	(void)snprintf(path, sizeof path, "%s/proc/self/statm", root);
	if (!slurp(path, text))
		return false;
	pages = strtoull(text, NULL, 10);
	more = 2 * info->used_bytes > info->map_bytes ? 2 * info->used_bytes - info->map_bytes : MAP_LEAST;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE) + more > limit.rlim_cur;
}

void pen_headroom_read(const char *root, struct pen_store *store, struct pen_headroom *ret)
{
	struct pen_store_info info;
	struct statvfs fs;

	*ret = (struct pen_headroom){ PEN_HEADROOM_UNKNOWN, PEN_HEADROOM_UNKNOWN, PEN_HEADROOM_UNKNOWN,
				      PEN_HEADROOM_UNKNOWN, false };
	read_machine(root, ret);
	read_cgroups(root, ret);
	if (!store)
		return;
	if (!statvfs(pen_store_path(store), &fs)) {
		ret->disk = (uint64_t)fs.f_bavail * fs.f_frsize;
		ret->disk_total = (uint64_t)fs.f_blocks * fs.f_frsize;
	}
	if (!pen_store_info(store, &info))
		ret->map_short = is_map_short(root, &info);
}

/* ---- judging --------------------------------------------------------------------------------- */

static void say_bytes(char ret[24], uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes;
	size_t unit = 0;

	while (n >= 1024 && unit + 1 < PEN_COUNT(units)) {
		n /= 1024;
		unit++;
	}
	(void)snprintf(ret, 24, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

static bool judge_one(const char *what, uint64_t is, uint64_t total, uint64_t limit, char *ret_text,
		      size_t cap, enum pen_headroom_verdict *ret)
{
	char a[24], b[24];

	if (!limit || is == PEN_HEADROOM_UNKNOWN || is >= limit)
		return false;
	*ret = total != PEN_HEADROOM_UNKNOWN && total < limit ? PEN_HEADROOM_NEVER : PEN_HEADROOM_SHORT;
	say_bytes(a, is);
	say_bytes(b, *ret == PEN_HEADROOM_NEVER ? total : limit);
	(void)snprintf(ret_text, cap,
		       *ret == PEN_HEADROOM_NEVER
			       ? "%s of %s are free, and there are only %s in all: less than is to be free"
			       : "%s of %s are free; %s are to be",
		       a, what, b);
	return true;
}

enum pen_headroom_verdict pen_headroom_judge(const struct pen_headroom *headroom,
					     const struct pen_min_free *limits, char *ret_text, size_t cap)
{
	enum pen_headroom_verdict verdict = PEN_HEADROOM_ENOUGH;

	if (cap)
		*ret_text = 0;
	if (judge_one("memory", headroom->memory, headroom->memory_total, limits->memory, ret_text, cap,
		      &verdict) ||
	    judge_one("disk", headroom->disk, headroom->disk_total, limits->disk, ret_text, cap, &verdict))
		return verdict;
	if (!headroom->map_short || (!limits->memory && !limits->disk))
		return PEN_HEADROOM_ENOUGH;
	(void)snprintf(ret_text, cap,
		       "the store's map is full, and the address space (ulimit -v) lets it not grow");
	return PEN_HEADROOM_SHORT;
}
