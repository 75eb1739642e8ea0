/* SPDX-License-Identifier: MIT */
/*
 * test_cast_open - who may read a ring, what may lie in its place, and what is refused as a ring
 *
 * What needs a second user is skipped unless root runs it.
 */
#include <criterion/criterion.h>
#include <grp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ring/base.h"
#include "tests/lib/cast_case.h"

#define OTHER 65534u /* nobody */
#define THIRD 65533u

TestSuite(cast_open, .init = cast_case_make, .fini = cast_case_drop);

/* What f returns (0 .. 255, an errno) when another user calls it. */
static int as_user(uid_t uid, int (*f)(void))
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
			_exit(255);
		_exit(f());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static void need_root(void)
{
	if (geteuid())
		cr_skip_test("needs root");
}

static int reads(void)
{
	struct pen_ring mine;
	int rc = pen_ring_open(&mine, lab.path, PEN_RING_OWNERS_OWN);

	pen_ring_close(&mine);
	return -rc;
}

static int opens_to_write(void)
{
	return open(lab.path, O_RDWR | O_CLOEXEC) < 0 ? errno : 0;
}

/* A read-only map can be waited on, and stays read-only; the file can neither shrink nor be removed. */
static int waits_and_cannot_write(void)
{
	struct pen_ring mine;

	if (pen_ring_open(&mine, lab.path, PEN_RING_OWNERS_OWN))
		return 1;
	if (pen_ring_wait(&mine, 5))
		return 2;
	if (!mprotect((void *)(uintptr_t)mine.map, mine.len, PROT_READ | PROT_WRITE) || errno != EACCES)
		return 3;
	if (!truncate(lab.path, 0) || errno != EACCES)
		return 4;
	if (!unlink(lab.path))
		return 5;
	pen_ring_close(&mine);
	return 0;
}

Test(cast_open, another_user_gets_eacces_unless_the_work_is_his)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct stat st;

	need_root();
	cr_assert_eq(chmod(lab.dir, 0755), 0);
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	cr_assert_eq(stat(lab.path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(as_user(OTHER, reads), EACCES);
	cr_assert_eq(as_user(OTHER, opens_to_write), EACCES);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);

	opt.owner_uid = OTHER;
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	cr_assert_eq(as_user(OTHER, reads), 0);
	cr_assert_eq(as_user(OTHER, opens_to_write), EACCES);
	cr_assert_eq(as_user(OTHER, waits_and_cannot_write), 0);
	cr_assert_eq(as_user(THIRD, reads), EACCES, "the grant is for one user");
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
	cr_assert_eq(ring.header.owner_uid, OTHER);
	/* Taking the list of rights away takes the grant away. */
	cr_assert_eq(chmod(lab.path, 0600), 0);
	cr_assert_eq(as_user(OTHER, reads), EACCES);
}

/* What somebody may have put where the ring goes. */
static void plant_link(void)
{
	cr_assert_eq(symlink("victim", lab.path), 0);
}

static void plant_fifo(void)
{
	cr_assert_eq(mkfifo(lab.path, 0666), 0);
}

static void plant_short_file(void)
{
	cr_assert_eq(close(creat(lab.path, 0666)), 0);
}

static void plant_noise(void)
{
	static const char noise[3 * PEN_RING_PAGE] = { 1, 2, 3 };
	int fd = creat(lab.path, 0666);

	cr_assert_eq(write(fd, noise, sizeof(noise)), (ssize_t)sizeof(noise));
	close(fd);
}

Test(cast_open, what_lies_in_its_place_is_neither_read_nor_written_through)
{
	static const struct {
		void (*plant)(void);
		int want; /* of a reader that finds it */
	} rows[] = { { plant_link, -EBADMSG },
		     { plant_fifo, -EBADMSG },
		     { plant_short_file, -EBADMSG },
		     { plant_noise, -EBADMSG } };
	char victim[96];
	struct stat st;
	int fd;

	(void)snprintf(victim, sizeof(victim), "%s/victim", lab.dir);
	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		struct pen_cast_options opt = cast_lab_options(&lab);

		fd = creat(victim, 0600);
		cr_assert_eq(write(fd, "precious", 8), 8);
		close(fd);
		rows[i].plant();
		cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), rows[i].want, "row %zu", i);
		cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0, "row %zu", i);
		cr_assert_eq(lstat(lab.path, &st), 0);
		cr_assert(S_ISREG(st.st_mode));
		cr_assert_eq(stat(victim, &st), 0);
		cr_assert_eq(st.st_size, 8, "row %zu: written through", i);
		cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
		pen_ring_close(&ring);
		pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
		cast = NULL;
		cr_assert_eq(cast_lab_files(&lab), 1, "row %zu: something is left", i);
	}
	/* A directory cannot be replaced: an error, and nothing is left of the attempt. */
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_failure why = { 0 };

	cr_assert_eq(mkdir(lab.path, 0700), 0);
	cr_assert_lt(pen_cast_open(&cast, &opt, &why), 0);
	cr_assert_neq(why.code, 0);
	cr_assert_eq(cast_lab_files(&lab), 2);
	cr_assert_eq(rmdir(lab.path), 0);
}

static int squats(void)
{
	int fd = open(lab.path, O_WRONLY | O_CREAT | O_EXCL, 0666);

	return fd < 0 ? errno : 0;
}

/* A directory like /dev/shm, where somebody else was first. */
Test(cast_open, anothers_file_is_not_taken_for_a_ring)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_failure why = { 0 };

	need_root();
	/* Anyone may write there and nothing protects names: refused. */
	cr_assert_eq(chmod(lab.dir, 0777), 0);
	cr_assert_eq(pen_cast_open(&cast, &opt, &why), -EPERM);
	why = (struct pen_failure){ 0 };
	cr_assert_eq(chown(lab.dir, OTHER, OTHER), 0);
	cr_assert_eq(chmod(lab.dir, 0755), 0);
	cr_assert_eq(pen_cast_open(&cast, &opt, &why), -EPERM, "another's directory");
	cr_assert_eq(chown(lab.dir, 0, 0), 0);
	cr_assert_eq(chmod(lab.dir, 01777), 0);
	cr_assert_eq(as_user(OTHER, squats), 0);
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), -EPERM,
		     "another's file is not mapped");
	cr_assert_eq(pen_ring_open(&ring, lab.path, OTHER), -EBADMSG,
		     "unless that other is trusted; then it must be a ring");
}

static char squat[96];

static int takes_the_place(void)
{
	struct pen_failure why = { 0 };
	char path[4096];
	int rc;

	unsetenv("PENSTOCK_RUN");
	unsetenv("XDG_RUNTIME_DIR");
	rc = pen_cast_place(1, path, sizeof(path), &why);

	return rc < 0 ? -rc : 0;
}

/* /dev/shm/penstock-UID made by somebody else beforehand, as a directory or as a link. */
Test(cast_open, a_squatted_place_is_refused)
{
	const uid_t uid = 100000 + (uid_t)getpid();
	struct stat st;

	need_root();
	if (!stat("/run/penstock", &st))
		cr_skip_test("there is a real place here");
	(void)snprintf(squat, sizeof(squat), "/dev/shm/penstock-%u", (unsigned)uid);
	(void)rmdir(squat);
	cr_assert_eq(mkdir(squat, 0777), 0);
	cr_assert_eq(chown(squat, OTHER, OTHER), 0);
	cr_assert_eq(as_user(uid, takes_the_place), EPERM);
	cr_assert_eq(rmdir(squat), 0);
	cr_assert_eq(symlink(lab.dir, squat), 0);
	cr_assert_eq(as_user(uid, takes_the_place), ENOTDIR, "a link is not followed");
	cr_assert_eq(unlink(squat), 0);
	/* The control: nobody was there before. */
	cr_assert_eq(mkdir(squat, 0700), 0);
	cr_assert_eq(chown(squat, uid, uid), 0);
	cr_assert_eq(as_user(uid, takes_the_place), 0);
	(void)snprintf(squat + strlen(squat), 32, "/%016x", 1);
	cr_assert_eq(rmdir(squat), 0);
	*strrchr(squat, '/') = 0;
	cr_assert_eq(rmdir(squat), 0);
}

/* The ring as it is, with 4 or 8 bytes changed; sealed again, so that only the change is wrong. */
static int opened_with(uint32_t at, uint64_t value, unsigned size, bool seal)
{
	uint32_t crc;
	int rc;

	memcpy(cast->map + at, &value, size);
	if (seal) {
		crc = pen_ring_crc32(0, cast->map, PEN_RING_PAGE - 4);
		memcpy(cast->map + PEN_RING_PAGE - 4, &crc, 4);
	}
	rc = pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN);
	pen_ring_close(&ring);
	return rc;
}

Test(cast_open, hostile_headers_are_refused)
{
	static const struct {
		uint32_t at;
		unsigned size;
		uint64_t value;
		bool seal;
		int want;
	} rows[] = {
		{ 0x28, 8, 99, false, -EBADMSG }, /* epoch, without a new checksum */
		{ 0x28, 8, 99, true, 0 },	  /* the control */
		{ 0x00, 8, 0, true, -EAGAIN },	  /* not finished */
		{ 0x00, 8, 1, true, -EBADMSG },
		{ 0x08, 2, 2, true, -EPROTONOSUPPORT },	 /* major */
		{ 0x0a, 2, 9, true, 0 },		 /* minor */
		{ 0x0c, 4, 0x04030201, true, -EBADMSG }, /* byte order */
		{ 0x10, 4, 0xff, true, -EBADMSG },	 /* header_len */
		{ 0x10, 4, 0xffffffff, true, -EBADMSG },
		{ 0x18, 4, 0xfffffff0, true, 0 },	 /* compatible flags */
		{ 0x1c, 4, 1, true, -EPROTONOSUPPORT },	 /* incompatible ones */
		{ 0x20, 8, UINT64_MAX, true, -EBADMSG }, /* total_size */
		{ 0x20, 8, 8192, true, -EBADMSG },	 /* sections beyond it */
		{ 0x80, 4, 32, true, -EBADMSG },	 /* event_slots: not what the section says */
		{ 0x98, 4, 17, true, -EBADMSG },	 /* section_count: beyond header_len */
		{ 0x98, 4, 0xffffffff, true, -EBADMSG },
		{ 0x98, 4, 4, true, -EBADMSG },	 /* no events */
		{ 0x9c, 4, 31, true, -EBADMSG }, /* section_entry_size */
		{ 0x9c, 4, 0xffffffe0, true, -EBADMSG },
		{ 0x108, 8, 0, true, -EBADMSG }, /* HOT offset: in page 0 */
		{ 0x108, 8, UINT64_MAX - 63, true, -EBADMSG },
		{ 0x108, 8, 4097, true, -EBADMSG },
		{ 0x110, 8, UINT64_MAX, true, -EBADMSG }, /* HOT length */
		{ 0x110, 8, 16, true, -EBADMSG },
		{ 0x120, 4, 1, true, -EBADMSG },	  /* two HOT, no COUNTERS */
		{ 0x120, 4, 77, true, 0 },		  /* an unknown section */
		{ 0x158, 4, 8, true, -EBADMSG },	  /* a gauge's size */
		{ 0x15c, 4, 0xffffffff, true, -EBADMSG }, /* gauges */
		{ 0x178, 4, 0, true, -EBADMSG },	  /* a name's size */
		{ 0x198, 4, 65536, true, -EBADMSG },	  /* an event's size */
		{ 0x19c, 4, 24, true, -EBADMSG },	  /* no power of two */
	};

	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		struct pen_cast_options opt = cast_lab_options(&lab);

		cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
		cr_assert_eq(opened_with(rows[i].at, rows[i].value, rows[i].size, rows[i].seal), rows[i].want,
			     "row %zu", i);
		pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
		cast = NULL;
	}
}

/* Newer minor versions may have longer elements: readers go by the sizes in the header. */
Test(cast_open, longer_elements_are_stepped_over)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_section *s;
	struct pen_ring_event event, got[8];
	uint64_t lost;
	uint32_t crc;

	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	s = &((struct pen_ring_header *)(void *)cast->map)->sections[4];
	cr_assert_eq(s->type, PEN_RING_EVENTS);
	s->elem_size = ((struct pen_ring_header *)(void *)cast->map)->event_slot_size = 128;
	s->elem_count = ((struct pen_ring_header *)(void *)cast->map)->event_slots = 8;
	crc = pen_ring_crc32(0, cast->map, PEN_RING_PAGE - 4);
	memcpy(cast->map + PEN_RING_PAGE - 4, &crc, 4);
	for (uint64_t i = 0; i < 8; i++) {
		event = (struct pen_ring_event){ .seq = i + 1, .a = i * 5 };
		memcpy(cast->events + i * 128, &event, sizeof(event));
	}
	cast->hot->claim = cast->hot->tail = 8;
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
	pen_ring_rewind(&ring);
	cr_assert_eq(pen_ring_poll(&ring, got, 8, &lost), 8);
	for (uint64_t i = 0; i < 8; i++)
		cr_assert_eq(got[i].a, i * 5);
}

Test(cast_open, refusals_say_why)
{
	static const char *const names[] = { "a.ring/../x.ring", ".x.ring", "ring", ".ring", "x.0.rin", "" };
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_failure why = { 0 };
	int disk = open("/", O_RDONLY | O_DIRECTORY);

	for (size_t i = 0; i < PEN_COUNT(names); i++) {
		opt.name = names[i];
		cr_assert_eq(pen_cast_open(&cast, &opt, NULL), -EINVAL, "%s", names[i]);
	}
	opt = cast_lab_options(&lab);
	opt.event_slots = 12;
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), -EINVAL);
	opt.event_slots = 4;
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), -EINVAL);
	opt = cast_lab_options(&lab);
	opt.dir = disk;
	if (geteuid() == 0)
		cr_assert_eq(pen_cast_open(&cast, &opt, &why), -EMEDIUMTYPE, "%s", why.text);
	close(disk);
}

/* A full tmpfs is an error now, and no SIGBUS later. */
Test(cast_open, a_full_tmpfs_is_an_error)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_failure why = { 0 };
	char mount_at[96];
	int fd;

	need_root();
	(void)snprintf(mount_at, sizeof(mount_at), "%s/tiny", lab.dir);
	cr_assert_eq(mkdir(mount_at, 0755), 0);
	if (mount("tiny", mount_at, "tmpfs", 0, "size=64k,mode=755")) {
		rmdir(mount_at);
		cr_skip_test("mounting is not allowed here");
	}
	fd = open(mount_at, O_RDONLY | O_DIRECTORY);
	opt.dir = fd;
	opt.event_slots = 4096;
	int full = pen_cast_open(&cast, &opt, &why);
	struct stat st;
	int left = fstatat(fd, "me.0.ring", &st, 0);

	opt.event_slots = 8; /* the control: this one fits */
	int fits = pen_cast_open(&cast, &opt, NULL);

	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
	cast = NULL;
	close(fd);
	cr_expect_eq(umount(mount_at), 0);
	cr_expect_eq(rmdir(mount_at), 0);
	cr_assert_eq(full, -ENOSPC, "%s", why.text);
	cr_assert_neq(left, 0);
	cr_assert_eq(fits, 0);
}

/* Left by a writer that was killed before its file had its name. */
Test(cast_open, leftovers_of_a_killed_writer_are_swept)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	char left[96], others[96];

	(void)snprintf(left, sizeof(left), "%s/.me.0.ring.123.00ff00ff", lab.dir);
	(void)snprintf(others, sizeof(others), "%s/.me.0.ring2.ring.123.00ff00ff", lab.dir);
	close(creat(left, 0600));
	close(creat(others, 0600));
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	cr_assert_neq(access(left, F_OK), 0);
	cr_assert_eq(access(others, F_OK), 0);
}

/* A reader that locks the file and is then stopped: the writer does not care, nor does the next one. */
Test(cast_open, a_reader_that_locks_and_is_stopped_stops_nobody)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_event event = { .type = PEN_RING_EV_STARTED };
	siginfo_t info;
	pid_t pid;

	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (!pid) {
		int fd = open(lab.path, O_RDONLY);

		if (pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN) || flock(fd, LOCK_EX | LOCK_NB))
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	cr_assert_eq(info.si_code, CLD_STOPPED);
	alarm(20);
	for (int i = 0; i < 100000; i++)
		pen_cast_events(cast, &event, 1);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, true);
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	alarm(0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
