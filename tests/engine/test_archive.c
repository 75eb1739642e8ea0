/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <zstd.h>

#include "engine/archive.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOM (8u << 20)
#define BIG (1u << 20)

static uint8_t *packed, *big;
static size_t packed_len;
static sem_t woken;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

static void make_room(void)
{
	packed = malloc(ROOM);
	big = malloc(BIG);
	cr_assert(packed && big && sem_init(&woken, 0, 0) == 0);
	for (uint32_t i = 0, x = 1; i < BIG; i++) {
		x = x * 1664525 + 1013904223;
		big[i] = (uint8_t)(x >> 24);
	}
}

static void drop_room(void)
{
	free(packed);
	free(big);
	sem_destroy(&woken);
}

TestSuite(archive, .init = make_room, .fini = drop_room, .timeout = 60);

struct row {
	const char *name;
	const char *data; /* NULL: BIG bytes of noise */
	unsigned type;
	const char *seen; /* its name as a member; NULL: it is none */
	int code;
};

static const struct row rows[] = {
	{ "dir/", "", AE_IFDIR, NULL, 0 },
	{ "dir/one.txt", "the first\n", AE_IFREG, "dir/one.txt", 0 },
	{ "./dir//./two", "2", AE_IFREG, "dir/two", 0 },
	{ "empty", "", AE_IFREG, "empty", 0 },
	{ "link", "dir/one.txt", AE_IFLNK, NULL, 0 },
	{ "big", NULL, AE_IFREG, "big", 0 },
	{ "../evil", "x", AE_IFREG, "../evil", -PEN_MEMBER_OUTSIDE },
	{ "dir/../../evil", "x", AE_IFREG, "dir/../../evil", -PEN_MEMBER_OUTSIDE },
	{ "/etc/evil", "x", AE_IFREG, "etc/evil", -PEN_MEMBER_OUTSIDE },
	{ "..dots..", "x", AE_IFREG, "..dots..", 0 },
	{ "Z\xc3\xbcrich/\xe5\xa4\xa7", "name\n", AE_IFREG, "Z\xc3\xbcrich/\xe5\xa4\xa7", 0 },
};

static void write_entry(struct archive *lib, const struct row *row)
{
	struct archive_entry *entry = archive_entry_new();
	size_t len = row->data ? strlen(row->data) : BIG;

	archive_entry_set_pathname(entry, row->name);
	archive_entry_set_filetype(entry, row->type);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, 1700000000, 0);
	if (row->type == AE_IFLNK)
		archive_entry_set_symlink(entry, row->data);
	archive_entry_set_size(entry, row->type == AE_IFREG ? (la_int64_t)len : 0);
	cr_assert(archive_write_header(lib, entry) >= ARCHIVE_WARN, "%s", archive_error_string(lib));
	if (row->type == AE_IFREG && len)
		cr_assert_eq(archive_write_data(lib, row->data ? (const void *)row->data : big, len),
			     (la_ssize_t)len);
	archive_entry_free(entry);
}

static void make(bool zip, const char *option, const struct row *these, size_t count)
{
	struct archive *lib = archive_write_new();

	cr_assert_eq(zip ? archive_write_set_format_zip(lib) : archive_write_set_format_gnutar(lib),
		     ARCHIVE_OK);
	if (option)
		cr_assert_eq(archive_write_set_options(lib, option), ARCHIVE_OK, "%s",
			     archive_error_string(lib));
	cr_assert_eq(archive_write_open_memory(lib, packed, ROOM, &packed_len), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++)
		write_entry(lib, &these[i]);
	cr_assert_eq(archive_write_free(lib), ARCHIVE_OK);
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	cr_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	return fd;
}

static struct pen_archive *open_archive(struct pen_decode_options opt)
{
	struct pen_failure why = { 0 };
	struct pen_archive *a;

	opt.wake = wake;
	cr_assert_eq(pen_archive_open(&opt, &a, &why), 0, "%s", why.text);
	return a;
}

static void sleep_until_woken(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	cr_assert_eq(sem_timedwait(&woken, &until), 0, "no wake came");
}

static int next(struct pen_archive *a, struct pen_member *ret)
{
	int rc;

	while ((rc = pen_archive_next(a, ret)) == -EAGAIN)
		sleep_until_woken();
	return rc;
}

static int64_t read_member(struct pen_archive *a, uint8_t *to, size_t cap, size_t step, size_t *ret_len,
			   uint64_t *ret_packed)
{
	uint64_t before = 0;
	int64_t n;

	*ret_len = 0;
	do {
		n = pen_archive_read(a, to + *ret_len, step < cap - *ret_len ? step : cap - *ret_len,
				     ret_packed);
		cr_assert(*ret_packed >= before);
		before = *ret_packed;
		if (n == -EAGAIN)
			sleep_until_woken();
		else if (n > 0)
			*ret_len += (size_t)n;
	} while (n > 0 || n == -EAGAIN);
	return n;
}

/* The members of `rows`, from the first'th on. */
static void expect_rows(struct pen_decode_options opt, size_t first, size_t step)
{
	struct pen_archive *a = open_archive(opt);
	struct pen_member *member = malloc(sizeof(*member));
	uint8_t *got = malloc(BIG + 1);
	uint64_t used, others = 0;
	size_t seen = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		size_t want = row->data ? strlen(row->data) : BIG, len;

		others += !row->seen;
		if (!row->seen || seen++ < first)
			continue;
		cr_assert_eq(next(a, member), 1, "%s", row->name);
		cr_expect_eq(member->code, row->code, "%s: %d", row->name, member->code);
		cr_expect_str_eq(member->path, row->seen);
		cr_expect_eq(member->mtime_ns, 1700000000 * 1000000000ll);
		if (i % 3 == 2 && step > 1000)
			continue; /* not read: passed over */
		cr_expect_eq(read_member(a, got, BIG + 1, step, &len, &used), 0, "%s", row->name);
		if (row->code)
			want = 0;
		cr_expect(len == want && memcmp(got, row->data ? (const void *)row->data : big, len) == 0,
			  "%s: %zu bytes", row->name, len);
	}
	cr_expect_eq(next(a, member), 0);
	cr_expect_eq(next(a, member), 0, "the end does not stay");
	cr_expect_eq(pen_archive_others(a), others);
	cr_expect_eq(pen_archive_read(a, got, 1, &used), 0);
	cr_expect(used >= packed_len, "%llu of %zu bytes", (unsigned long long)used, packed_len);
	pen_archive_close(a);
	free(got);
	free(member);
}

/* Through a pipe: what is packed must fit into it, or a child writes. */
static int pipe_of(const uint8_t *data, size_t len)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	if (fork() == 0) {
		close(fds[0]);
		for (ssize_t n = 1; len && n > 0; data += n, len -= (size_t)n)
			n = write(fds[1], data, len);
		_exit(0);
	}
	close(fds[1]);
	return fds[0];
}

Test(archive, members_of_tar_and_zip_from_files_and_pipes)
{
	for (int zip = 0; zip < 2; zip++) {
		make(zip, NULL, rows, COUNT(rows));
		cr_expect(pen_archive_sniff(packed, packed_len));
		for (size_t first = 0; first < 10; first += 3) {
			struct pen_decode_options opt = { .fd = file_of(packed, packed_len),
							  .compression = PEN_COMPRESSION_NONE,
							  .encoding = PEN_ENCODING_UTF8,
							  .skip = first };

			expect_rows(opt, first, first ? 100000 : 999);
			close(opt.fd);
			opt.fd = pipe_of(packed, packed_len);
			opt.offset = PEN_DECODE_STREAM;
			if (!zip) /* a zip from a pipe does not know which of its entries are links */
				expect_rows(opt, first, 100000);
			close(opt.fd);
		}
	}
}

Test(archive, a_zip_from_a_pipe_comes_as_it_lies)
{
	struct pen_decode_options opt = { .offset = PEN_DECODE_STREAM,
					  .compression = PEN_COMPRESSION_NONE,
					  .encoding = PEN_ENCODING_UTF8 };
	struct pen_member *member = malloc(sizeof(*member));
	uint8_t *got = malloc(BIG + 1);
	struct pen_archive *a;
	uint64_t used;
	size_t len;

	make(true, NULL, &rows[5], 1);
	opt.fd = pipe_of(packed, packed_len);
	a = open_archive(opt);
	cr_assert_eq(next(a, member), 1);
	cr_expect_str_eq(member->path, "big");
	cr_expect_eq(read_member(a, got, BIG + 1, 50000, &len, &used), 0);
	cr_expect(len == BIG && memcmp(got, big, len) == 0);
	cr_expect_eq(next(a, member), 0);
	pen_archive_close(a);
	close(opt.fd);
	free(got);
	free(member);
}

Test(archive, a_compressed_tar_and_one_behind_another)
{
	size_t room = ZSTD_compressBound(2 * ROOM), len;
	uint8_t *small = malloc(room), *twice = malloc(2 * (size_t)ROOM);
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_ZSTD,
					  .encoding = PEN_ENCODING_UTF8 };
	struct pen_member *member = malloc(sizeof(*member));
	struct pen_archive *a;
	int n = 0, rc;

	make(false, NULL, rows, COUNT(rows));
	len = ZSTD_compress(small, room, packed, packed_len, 1);
	memcpy(twice, packed, packed_len);
	memcpy(twice + packed_len, packed, packed_len);
	opt.fd = file_of(small, len);
	rc = (int)packed_len;
	packed_len = len;
	expect_rows(opt, 0, 77777);
	close(opt.fd);
	packed_len = (size_t)rc;
	len = ZSTD_compress(small, room, twice, 2 * packed_len, 1);
	opt.fd = file_of(small, len);
	a = open_archive(opt);
	while ((rc = next(a, member)) > 0)
		n++;
	cr_expect(rc == 0 && n == 18, "%d members, then %d", n, rc);
	pen_archive_close(a);
	close(opt.fd);
	/* What stands behind the tar proper is looked at: its checksum, or that it ends at all. */
	opt.fd = file_of(small, len - 1);
	a = open_archive(opt);
	while ((rc = next(a, member)) > 0)
		;
	cr_expect_eq(rc, -PEN_PACKED_CUT, "%d", rc);
	pen_archive_close(a);
	close(opt.fd);
	free(member);
	free(twice);
	free(small);
}

/* How far it came: members whose data was whole, and what ended it. */
static int whole_members(struct pen_decode_options opt, int *ret_rc, int *ret_broken)
{
	struct pen_archive *a = open_archive(opt);
	struct pen_member *member = malloc(sizeof(*member));
	uint8_t *got = malloc(BIG + 1);
	uint64_t used;
	int n = 0, rc;

	*ret_broken = 0;
	while ((rc = next(a, member)) > 0) {
		size_t len;
		int64_t end = member->code ? member->code : read_member(a, got, BIG + 1, 100000, &len, &used);

		n += end == 0;
		if (end)
			*ret_broken = (int)end;
	}
	*ret_rc = rc;
	pen_archive_close(a);
	free(got);
	free(member);
	return n;
}

Test(archive, damage_costs_what_it_hits)
{
	static const struct row three[] = { { "a", "alpha alpha alpha\n", AE_IFREG, "a", 0 },
					    { "b", NULL, AE_IFREG, "b", 0 },
					    { "c", "gamma gamma gamma\n", AE_IFREG, "c", 0 } };
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_NONE,
					  .encoding = PEN_ENCODING_UTF8 };
	int rc, broken, n;

	make(true, "zip:compression=deflate", three, 3);
	opt.fd = file_of(packed, packed_len);
	n = whole_members(opt, &rc, &broken);
	cr_expect(n == 3 && rc == 0 && broken == 0, "control: %d, %d, %d", n, rc, broken);
	close(opt.fd);
	packed[packed_len / 2] ^= 0x55;
	opt.fd = file_of(packed, packed_len);
	n = whole_members(opt, &rc, &broken);
	cr_expect(n == 2 && rc == 0 && broken == -PEN_PACKED_BAD, "one member of a zip: %d, %d, %d", n, rc,
		  broken);
	close(opt.fd);

	make(false, NULL, three, 3);
	opt.fd = file_of(packed, packed_len / 2);
	n = whole_members(opt, &rc, &broken);
	cr_expect(n == 1 && rc == -PEN_PACKED_CUT && broken == -PEN_PACKED_CUT, "a cut tar: %d, %d, %d", n,
		  rc, broken);
	close(opt.fd);
	memset(packed + 1024 + 100, 'x', 200); /* the second header */
	opt.fd = file_of(packed, packed_len);
	n = whole_members(opt, &rc, &broken);
	cr_expect(n == 1 && rc == -PEN_PACKED_BAD, "a damaged tar: %d, %d, %d", n, rc, broken);
	close(opt.fd);
}

Test(archive, an_encrypted_member_is_named_but_not_read)
{
	static const struct row secret[] = { { "secret", "s\n", AE_IFREG, "secret", 0 } };
	struct archive *lib = archive_write_new();
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_NONE };
	struct pen_member *member = malloc(sizeof(*member));
	struct pen_archive *a;
	uint8_t byte;
	uint64_t used;

	archive_write_set_format_zip(lib);
	if (archive_write_set_options(lib, "zip:encryption=traditional") != ARCHIVE_OK)
		cr_skip_test("this libarchive cannot encrypt");
	archive_write_set_passphrase(lib, "open sesame");
	cr_assert_eq(archive_write_open_memory(lib, packed, ROOM, &packed_len), ARCHIVE_OK);
	write_entry(lib, secret);
	cr_assert_eq(archive_write_free(lib), ARCHIVE_OK);
	opt.fd = file_of(packed, packed_len);
	a = open_archive(opt);
	cr_assert_eq(next(a, member), 1);
	cr_expect_eq(member->code, -PEN_UNSUPPORTED);
	cr_expect_str_eq(member->path, "secret");
	cr_expect_eq(pen_archive_read(a, &byte, 1, &used), 0);
	cr_expect_eq(next(a, member), 0);
	pen_archive_close(a);
	close(opt.fd);
	free(member);
}

Test(archive, a_name_that_is_too_long_is_said)
{
	char name[6000];
	struct row row = { name, "x", AE_IFREG, name, 0 };
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_NONE };
	struct pen_member *member = malloc(sizeof(*member));
	struct pen_archive *a;

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 100 == 99 ? '/' : 'n';
	for (size_t len = 4095; len <= 5999; len = len < 4100 ? len + 1 : len + 1899) {
		name[len] = 0;
		make(false, NULL, &row, 1);
		name[len] = 'n';
		opt.fd = file_of(packed, packed_len);
		a = open_archive(opt);
		cr_assert_eq(next(a, member), 1);
		cr_expect_eq(member->code, len > PEN_PATH_BYTES_MAX ? -ENAMETOOLONG : 0, "%zu: %d", len,
			     member->code);
		cr_expect(strlen(member->path) <= PEN_PATH_BYTES_MAX && strlen(member->path) > 4000);
		pen_archive_close(a);
		close(opt.fd);
	}
	free(member);
}

Test(archive, text_of_members_is_turned_into_utf8)
{
	static const struct row wide[] = { { "plain", "plain\n", AE_IFREG, "plain", 0 },
					   { "latin", "caf\xe9\n", AE_IFREG, "latin", 0 } };
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_NONE,
					  .encoding = PEN_ENCODING_LATIN1 };
	struct pen_member *member = malloc(sizeof(*member));
	struct pen_archive *a;
	uint8_t got[100];
	uint64_t used;
	size_t len;

	make(false, NULL, wide, 2);
	opt.fd = file_of(packed, packed_len);
	a = open_archive(opt);
	cr_assert_eq(next(a, member), 1);
	cr_expect_eq(read_member(a, got, sizeof(got), 100, &len, &used), 0);
	cr_expect(len == 6 && memcmp(got, "plain\n", 6) == 0);
	cr_assert_eq(next(a, member), 1);
	cr_expect_eq(read_member(a, got, sizeof(got), 100, &len, &used), 0);
	cr_expect(len == 6 && memcmp(got, "caf\xc3\xa9\n", 6) == 0, "%zu", len);
	pen_archive_close(a);
	close(opt.fd);
	free(member);
}
