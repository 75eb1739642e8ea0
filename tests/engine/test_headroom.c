/* SPDX-License-Identifier: MIT */
#include "engine/headroom.h"

#include "ring/base.h"
#include "tests/store/scratch.h"

#define MIB (UINT64_C(1) << 20)

TestSuite(headroom, .init = scratch_make, .fini = scratch_remove, .timeout = 120);

/* A file below the scratch directory, with the directories that it needs. */
static void lay(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", scratch, name);
	for (char *at = strchr(path + strlen(scratch) + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		(void)mkdir(path, 0700);
		*at = '/';
	}
	f = fopen(path, "w");
	cr_assert(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
}

static struct pen_headroom read_here(void)
{
	struct pen_headroom h;

	pen_headroom_read(scratch, NULL, &h);
	return h;
}

static void lay_machine(void)
{
	lay("proc/meminfo",
	    "MemTotal:       4194304 kB\nMemFree:          10240 kB\nMemAvailable:   2097152 kB\n");
}

Test(headroom, nothing_is_known_and_nothing_is_short)
{
	struct pen_headroom h = read_here();
	char text[200] = "x";

	cr_expect_eq(h.memory, PEN_HEADROOM_UNKNOWN);
	cr_expect_eq(h.disk, PEN_HEADROOM_UNKNOWN);
	cr_expect_eq((int)pen_headroom_judge(&h, &(struct pen_min_free){ UINT64_MAX - 1, UINT64_MAX - 1 },
					     text, sizeof text),
		     PEN_HEADROOM_ENOUGH);
	cr_expect_str_eq(text, "");
}

Test(headroom, the_machine)
{
	struct pen_headroom h;

	lay_machine();
	h = read_here();
	cr_expect_eq(h.memory, 2048 * MIB);
	cr_expect_eq(h.memory_total, 4096 * MIB);
}

Test(headroom, the_tightest_group_of_version_2_counts)
{
	lay_machine();
	lay("proc/self/cgroup", "0::/a/b\n");
	lay("sys/fs/cgroup/a/b/memory.max", "max\n");
	lay("sys/fs/cgroup/a/memory.max", "1073741824\n");
	lay("sys/fs/cgroup/a/memory.current", "1050673152\n"); /* 1002 MiB */
	lay("sys/fs/cgroup/a/memory.stat", "anon 1\nfile 9\ninactive_file 524288000\nslab 3\n");
	cr_expect_eq(read_here().memory, (1024 - 1002 + 500) * MIB);
	cr_expect_eq(read_here().memory_total, 1024 * MIB);
	lay("sys/fs/cgroup/a/b/memory.max", "104857600\n");
	lay("sys/fs/cgroup/a/b/memory.current", "204857600\n");
	cr_expect_eq(read_here().memory, 0, "above its limit: none is left");
}

Test(headroom, version_1_and_what_is_not_there)
{
	lay_machine();
	lay("proc/self/cgroup", "5:cpu,memory:/job\n3:cpuset:/\nnonsense\n");
	cr_expect_eq(read_here().memory, 2048 * MIB, "the path is another namespace's");
	lay("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	cr_expect_eq(read_here().memory, 2048 * MIB, "no limit");
	lay("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "209715200\n");
	lay("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "104857600\n");
	cr_expect_eq(read_here().memory, 100 * MIB);
	lay("sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 52428800\n");
	cr_expect_eq(read_here().memory, 150 * MIB);
	lay("proc/self/cgroup", "5:cpu,memoryless:/job\n");
	cr_expect_eq(read_here().memory, 2048 * MIB, "another controller");
}

Test(headroom, a_store_has_a_disk)
{
	struct pen_store *store = scratch_store("s");
	struct pen_headroom h;

	pen_headroom_read("", store, &h);
	cr_expect_gt(h.disk, 0);
	cr_expect_leq(h.disk, h.disk_total);
	cr_expect_neq(h.disk_total, PEN_HEADROOM_UNKNOWN);
	cr_expect_not(h.map_short);
	cr_expect_neq(h.memory, PEN_HEADROOM_UNKNOWN);
	pen_store_close(store);
}

Test(headroom, judged_at_its_limits)
{
	static const struct {
		struct pen_headroom is;
		struct pen_min_free limits;
		int verdict;
		const char *says;
	} rows[] = {
		{ { 10, 100, 10, 100, false }, { 0, 0 }, PEN_HEADROOM_ENOUGH, "" },
		{ { 10, 100, 10, 100, false }, { 10, 10 }, PEN_HEADROOM_ENOUGH, "" },
		{ { 10, 100, 10, 100, false },
		  { 11, 0 },
		  PEN_HEADROOM_SHORT,
		  "10 B of memory are free; 11 B are to be" },
		{ { 10, 100, 10, 100, false }, { 100, 0 }, PEN_HEADROOM_SHORT, "memory" },
		{ { 10, 100, 10, 100, false }, { 101, 0 }, PEN_HEADROOM_NEVER, "only 100 B in all" },
		{ { 10, 100, 2048, 4096, false }, { 10, 3 * MIB }, PEN_HEADROOM_NEVER, "2.0 KiB of disk" },
		{ { 10, 100, 10, 100, true }, { 10, 10 }, PEN_HEADROOM_SHORT, "ulimit" },
		{ { 10, 100, 10, 100, true }, { 0, 0 }, PEN_HEADROOM_ENOUGH, "" },
	};
	char text[200];

	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		cr_expect_eq((int)pen_headroom_judge(&rows[i].is, &rows[i].limits, text, sizeof text),
			     rows[i].verdict, "row %zu", i);
		cr_expect(*rows[i].says ? strstr(text, rows[i].says) != NULL : !*text, "row %zu: %s", i,
			  text);
	}
}
