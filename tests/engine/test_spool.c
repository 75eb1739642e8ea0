/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#include "include/penstock.h"
#include "ring/error.h"
#include "tests/store/scratch.h"

static struct pen_store *store;

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(spool, .init = begin, .fini = end, .timeout = 120);

static const char *staged(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof path, "s/staging/%s", name);
	return scratch_path(path);
}

static size_t files_in_staging(void)
{
	DIR *dir = opendir(staged(""));
	size_t n = 0;

	cr_assert(dir);
	for (struct dirent *d; (d = readdir(dir));)
		n += *d->d_name != '.';
	closedir(dir);
	return n;
}

struct writer {
	int fd;
	size_t bytes;
};

/* Some pipes full, in pieces. */
static void *write_some(void *arg)
{
	struct writer *w = arg;
	char block[1000];

	for (size_t i = 0; i < w->bytes;) {
		size_t n = w->bytes - i < sizeof block ? w->bytes - i : sizeof block;
		ssize_t done;

		for (size_t k = 0; k < n; k++)
			block[k] = (char)((i + k) % 251);
		done = write(w->fd, block, n);
		cr_assert_gt(done, 0);
		i += (size_t)done;
	}
	close(w->fd);
	return NULL;
}

static void keep(size_t bytes)
{
	struct pen_failure why = { 0 };
	struct writer w = { .bytes = bytes };
	char name[64];
	uint64_t got = 1;
	pthread_t thread;
	int fds[2], c;
	FILE *f;

	cr_assert(!pipe(fds));
	w.fd = fds[1];
	cr_assert(!pthread_create(&thread, NULL, write_some, &w));
	cr_assert_eq(pen_spool(store, fds[0], name, &got, &why), 0, "%s", why.text);
	pthread_join(thread, NULL);
	close(fds[0]);
	cr_expect_eq(got, bytes);
	cr_expect(!strncmp(name, "items.", 6));
	f = fopen(staged(name), "r");
	cr_assert(f);
	for (size_t i = 0; i < bytes; i++) {
		c = getc(f);
		cr_assert_eq(c, (int)(i % 251), "byte %zu", i);
	}
	cr_expect_eq(getc(f), EOF);
	fclose(f);
	cr_expect_eq(files_in_staging(), 1);
	pen_spool_drop(store, name);
	cr_expect_eq(files_in_staging(), 0);
}

Test(spool, a_stream_is_kept_whole)
{
	keep(3000000);
}

Test(spool, an_empty_stream_is_kept_too)
{
	keep(0);
}

Test(spool, what_cannot_be_read_leaves_nothing)
{
	struct pen_failure why = { 0 };
	char name[64] = "untouched";
	int fd = open(scratch_path("s"), O_RDONLY | O_DIRECTORY);

	cr_assert_geq(fd, 0);
	cr_expect_eq(pen_spool(store, fd, name, NULL, &why), -EISDIR);
	cr_expect_eq(why.code, -EISDIR);
	cr_expect_str_eq(name, "untouched");
	cr_expect_eq(files_in_staging(), 0);
	close(fd);
}

Test(spool, what_cannot_be_written_leaves_nothing)
{
	struct pen_failure why = { 0 };
	char name[64];
	int fd;

	fd = open("/dev/zero", O_RDONLY);
	cr_assert_geq(fd, 0);
	/* The file may not grow beyond this. */
	cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	cr_assert(!setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 5 << 20, 5 << 20 }));
	cr_expect_eq(pen_spool(store, fd, name, NULL, &why), -EFBIG);
	cr_expect_eq(files_in_staging(), 0);
	close(fd);
}

Test(spool, only_what_it_made_is_dropped)
{
	static const char *const names[] = { "items./../../kept", "owed.1", "../kept" };
	FILE *f = fopen(scratch_path("kept"), "w");

	cr_assert(f && !fclose(f));
	f = fopen(staged("owed.1"), "w");
	cr_assert(f && !fclose(f));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		pen_spool_drop(store, names[i]);
	cr_expect_eq(access(scratch_path("kept"), F_OK), 0);
	cr_expect_eq(access(staged("owed.1"), F_OK), 0);
}
