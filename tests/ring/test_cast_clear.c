/* SPDX-License-Identifier: MIT */
/*
 * test_cast_clear - what dead engines left goes after a day; what lives, is young, or is no ring of ours stays
 *
 * The lab's directory is the run directory; the clock is turned by hand, and files' times are set. A writer that
 * died is a process that a test makes and waits for.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void (*meanwhile)(void);
#define PEN_CAST_POINT(name) (meanwhile ? meanwhile() : (void)0)
#include "ring/cast_clear.c"

#include "ring/base.h"
#include "tests/lib/cast_case.h"

#define DAY_S 86400
#define NOW_S 1700000000ll
#define OWN "00000000000000aa"
#define STORE "00112233445566ff"

static int own = -1;

static void lab_make(void)
{
	cast_case_make();
	cr_assert_eq(mkdirat(lab.fd, OWN, 0700), 0);
	own = openat(lab.fd, OWN, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(own, 0);
}

static void lab_drop(void)
{
	char command[128];

	(void)close(own);
	(void)snprintf(command, sizeof(command), "rm -rf %s/*", lab.dir);
	cr_expect_eq(system(command), 0);
	cast_case_drop();
}

TestSuite(cast_clear, .init = lab_make, .fini = lab_drop, .timeout = 60);

static void age(int dir, const char *name, long seconds)
{
	struct timespec t[2] = { { .tv_sec = NOW_S - seconds }, { .tv_sec = NOW_S - seconds } };

	cr_assert_eq(utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW), 0, "%s", name);
}

static int store_dir(const char *name)
{
	int dir;

	(void)mkdirat(lab.fd, name, 0700);
	dir = openat(lab.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(dir, 0);
	return dir;
}

static void make_ring(int dir, const char *name)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_cast *made;

	opt.dir = dir;
	opt.name = name;
	cr_assert_eq(pen_cast_open(&made, &opt, NULL), 0);
	pen_cast_close(made, PEN_RING_FAILED, 1, true);
}

/* A ring whose writer ended without closing it. */
static void leave_ring(int dir, const char *name, long seconds)
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		make_ring(dir, name);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	age(dir, name, seconds);
}

static void leave_bytes(int dir, const char *name, const void *bytes, size_t len, long seconds)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	(void)close(fd);
	age(dir, name, seconds);
}

static bool there(int dir, const char *name)
{
	struct stat st;

	return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
}

static uint32_t clear_all(void)
{
	return pen_cast_clear(own, &lab.clock);
}

Test(cast_clear, a_dead_writer_s_ring_goes_after_a_day_and_its_directory_with_it)
{
	int dir = store_dir(STORE);

	leave_ring(dir, "bob.0.ring", DAY_S - 10);
	leave_ring(dir, "bob.1.ring", DAY_S + 10);
	cr_expect_eq(clear_all(), 1);
	cr_expect(there(dir, "bob.0.ring"), "it is not a day old");
	cr_expect_not(there(dir, "bob.1.ring"));
	cr_expect(there(lab.fd, STORE), "it is not empty");
	lab.now_ns += 20 * PEN_NS_PER_S;
	cr_expect_eq(clear_all(), 1);
	cr_expect_not(there(lab.fd, STORE));
	cr_expect(there(lab.fd, OWN), "young, and about to be used");
	(void)close(dir);
}

Test(cast_clear, a_ring_whose_writer_lives_stays_however_old)
{
	int dir = store_dir(STORE);

	make_ring(dir, "me.0.ring");
	age(dir, "me.0.ring", 100 * DAY_S);
	age(lab.fd, STORE, 100 * DAY_S);
	cr_expect_eq(clear_all(), 0);
	cr_expect(there(dir, "me.0.ring"));
	(void)close(dir);
}

Test(cast_clear, a_pid_that_somebody_else_has_by_now_is_a_dead_writer)
{
	uint8_t page[2 * PEN_RING_PAGE + 65536];
	struct pen_ring_header h;
	int dir = store_dir(STORE), fd;
	ssize_t len;
	uint32_t crc;

	make_ring(dir, "me.0.ring");
	fd = openat(dir, "me.0.ring", O_RDONLY | O_CLOEXEC);
	len = pread(fd, page, sizeof(page), 0);
	(void)close(fd);
	memcpy(&h, page, sizeof(h));
	h.writer_start_ticks++;
	memcpy(page, &h, sizeof(h));
	crc = pen_ring_crc32(0, page, PEN_RING_PAGE - 4);
	memcpy(page + PEN_RING_PAGE - 4, &crc, 4);
	leave_bytes(dir, "me.0.ring", page, (size_t)len, 2 * DAY_S);
	h.pidns_ino++;
	memcpy(page, &h, sizeof(h));
	crc = pen_ring_crc32(0, page, PEN_RING_PAGE - 4);
	memcpy(page + PEN_RING_PAGE - 4, &crc, 4);
	leave_bytes(dir, "me.1.ring", page, (size_t)len, 2 * DAY_S);
	cr_expect_eq(clear_all(), 1);
	cr_expect_not(there(dir, "me.0.ring"));
	cr_expect(there(dir, "me.1.ring"), "a container's: its pid means nothing here");
	(void)close(dir);
}

Test(cast_clear, files_in_the_making_go_when_they_are_old)
{
	int dir = store_dir(STORE);

	leave_bytes(dir, ".bob.0.ring.77.0a0b0c0d", "", 0, 2 * DAY_S);
	leave_bytes(dir, ".bob.1.ring.77.0a0b0c0d", "x", 1, DAY_S / 2);
	make_ring(dir, "me.0.ring");
	cr_assert_eq(renameat(dir, "me.0.ring", dir, ".gone.1.0"), 0);
	age(dir, ".gone.1.0", 2 * DAY_S);
	cr_expect_eq(clear_all(), 1);
	cr_expect_not(there(dir, ".bob.0.ring.77.0a0b0c0d"));
	cr_expect(there(dir, ".bob.1.ring.77.0a0b0c0d"));
	cr_expect(there(dir, ".gone.1.0"), "a ring of somebody who lives");
	(void)close(dir);
}

Test(cast_clear, what_is_no_ring_of_ours_stays)
{
	static const char *const names[] = { "garbage.0.ring", "short.0.ring",	"notes.txt",
					     "link.0.ring",    "fifo.0.ring",	"dir.0.ring",
					     "theirs.0.ring",  "other.1.ring.x" };
	uint8_t page[PEN_RING_PAGE] = { 1, 2, 3 };
	int dir = store_dir(STORE), outside = store_dir("outside");

	leave_ring(outside, "real.0.ring", 2 * DAY_S);
	leave_bytes(dir, names[0], page, sizeof(page), 2 * DAY_S);
	leave_bytes(dir, names[1], "PENRNG", 6, 2 * DAY_S);
	leave_bytes(dir, names[2], "", 0, 2 * DAY_S);
	cr_assert_eq(symlinkat("../outside/real.0.ring", dir, names[3]), 0);
	age(dir, names[3], 2 * DAY_S);
	cr_assert_eq(mkfifoat(dir, names[4], 0600), 0);
	age(dir, names[4], 2 * DAY_S);
	cr_assert_eq(mkdirat(dir, names[5], 0700), 0);
	age(dir, names[5], 2 * DAY_S);
	leave_ring(dir, names[6], 2 * DAY_S);
	if (geteuid() || fchownat(dir, names[6], 65534, 65534, 0))
		age(dir, names[6], 0); /* another's file takes root to make */
	else
		age(dir, names[6], 2 * DAY_S);
	leave_bytes(dir, names[7], "", 0, 2 * DAY_S);
	cr_expect_eq(clear_all(), 0);
	for (size_t i = 0; i < PEN_COUNT(names); i++)
		cr_expect(there(dir, names[i]), "%s", names[i]);
	cr_expect(there(outside, "real.0.ring"), "what a link leads to");
	(void)close(dir);
	(void)close(outside);
}

Test(cast_clear, only_directories_of_stores_that_are_ours_alone_are_looked_into)
{
	static const char *const names[] = { "backup", "00112233445566FF", "00112233445566f",
					     "1111111111111111", "2222222222222222" };
	int outside;

	for (size_t i = 0; i < PEN_COUNT(names); i++) {
		int dir = store_dir(names[i]);

		leave_ring(dir, "bob.0.ring", 2 * DAY_S);
		(void)close(dir);
	}
	cr_assert_eq(fchmodat(lab.fd, "1111111111111111", 0777, 0), 0);
	if (geteuid() || fchownat(lab.fd, "2222222222222222", 65534, 65534, 0))
		cr_assert_eq(fchmodat(lab.fd, "2222222222222222", 0770, 0), 0);
	outside = store_dir("backup");
	cr_assert_eq(symlinkat("backup", lab.fd, "3333333333333333"), 0);
	cr_expect_eq(clear_all(), 0);
	cr_expect(there(outside, "bob.0.ring"));
	cr_expect(there(lab.fd, "3333333333333333"));
	(void)close(outside);
	cr_assert_eq(fchmod(lab.fd, 0777), 0);
	(void)close(store_dir(STORE));
	outside = store_dir(STORE);
	leave_ring(outside, "bob.0.ring", 2 * DAY_S);
	cr_expect_eq(clear_all(), 0, "anybody may rename things there");
	(void)close(outside);
}

Test(cast_clear, work_is_bounded_and_starts_elsewhere_the_next_time)
{
	char name[32];
	uint32_t removed, all = 0;
	int dir = store_dir(STORE);

	for (unsigned i = 0; i < 1500; i++) {
		(void)snprintf(name, sizeof(name), ".b.0.ring.%u", i);
		leave_bytes(dir, name, "", 0, 2 * DAY_S);
	}
	cr_expect_eq(clear_all(), 1024);
	cr_expect_eq(clear_all(), 1500 - 1024);
	(void)close(dir);
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "%016x", i + 1000);
		dir = store_dir(name);
		leave_bytes(dir, ".b.0.ring.1", "", 0, 2 * DAY_S);
		leave_bytes(dir, "keep", "", 0, 0);
		(void)close(dir);
	}
	removed = clear_all();
	cr_expect_geq(removed, 255);
	cr_expect_leq(removed, 256);
	for (unsigned i = 0; i < 301; i++) {
		lab.now_ns += 1000;
		all += clear_all();
	}
	cr_expect_eq(removed + all, 300, "%u", removed + all);
}

static ino_t started;

/* An engine starts between the look at a file and its removal. */
static void start_engine(void)
{
	struct stat st;
	int dir = store_dir(STORE);

	meanwhile = NULL;
	make_ring(dir, "bob.0.ring");
	cr_assert_eq(fstatat(dir, "bob.0.ring", &st, 0), 0);
	started = st.st_ino;
	(void)close(dir);
}

Test(cast_clear, a_ring_that_gets_the_name_just_then_is_put_back)
{
	int dir = store_dir(STORE);
	struct stat st;

	leave_ring(dir, "bob.0.ring", 2 * DAY_S);
	meanwhile = start_engine;
	cr_expect_eq(clear_all(), 0);
	cr_expect_null(meanwhile);
	cr_assert_eq(fstatat(dir, "bob.0.ring", &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_expect_eq(st.st_ino, started);
	cr_expect(there(lab.fd, STORE));
	(void)close(dir);
}
