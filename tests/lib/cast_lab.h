/* SPDX-License-Identifier: MIT */
/*
 * cast_lab - a directory in memory, a clock that is turned by hand, and a ring in it
 */
#ifndef PEN_TESTS_CAST_LAB_H
#define PEN_TESTS_CAST_LAB_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/cast_private.h"

struct cast_lab {
	struct pen_clock clock; /* first: the clock's functions get its address */
	uint64_t now_ns, step_ns;
	char dir[64], path[128];
	int fd;
};

static inline uint64_t cast_lab_mono(const struct pen_clock *clock)
{
	struct cast_lab *lab = (struct cast_lab *)(uintptr_t)clock;

	return lab->now_ns += lab->step_ns;
}

static inline uint64_t cast_lab_real(const struct pen_clock *clock)
{
	return 1700000000000u + ((const struct cast_lab *)(const void *)clock)->now_ns / PEN_NS_PER_MS;
}

/* False: there is no memory file system here. */
static inline bool cast_lab_make(struct cast_lab *lab)
{
	*lab = (struct cast_lab){ .clock = { cast_lab_mono, cast_lab_real }, .now_ns = 1000000000 };
	(void)snprintf(lab->dir, sizeof(lab->dir), "/dev/shm/penstock-test-XXXXXX");
	if (!mkdtemp(lab->dir))
		return false;
	(void)snprintf(lab->path, sizeof(lab->path), "%s/me.0.ring", lab->dir);
	lab->fd = open(lab->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return lab->fd >= 0;
}

static inline unsigned cast_lab_files(const struct cast_lab *lab)
{
	DIR *dir = opendir(lab->dir);
	struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	if (dir)
		(void)closedir(dir);
	return n;
}

static inline void cast_lab_drop(struct cast_lab *lab)
{
	DIR *dir = opendir(lab->dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(lab->fd, entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
	(void)rmdir(lab->dir);
	if (lab->fd >= 0)
		(void)close(lab->fd);
}

static inline struct pen_cast_options cast_lab_options(const struct cast_lab *lab)
{
	return (struct pen_cast_options){ .dir = lab->fd,
					  .name = "me.0.ring",
					  .event_slots = 16,
					  .gauge_slots = 4,
					  .epoch = 1,
					  .owner_uid = geteuid(),
					  .clock = &lab->clock };
}

#endif
