/* SPDX-License-Identifier: MIT */
#include "store/logbook.h"

#include <errno.h>

#include "tests/store/scratch.h"

#define DAY 20000ull /* 2024-10-04 */

static struct pen_logbook book;

static void make(void)
{
	scratch_make();
	cr_assert_eq(pen_logbook_open(&book, scratch_path("logs"), NULL), 0);
}

static void end(void)
{
	pen_logbook_close(&book);
	scratch_remove();
}

TestSuite(logbook, .init = make, .fini = end);

static size_t read_file(const char *name, char *ret, size_t cap)
{
	char path[128];
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof path, "logs/%s", name);
	f = fopen(scratch_path(path), "r");
	if (!f)
		return 0;
	n = fread(ret, 1, cap - 1, f);
	ret[n] = 0;
	(void)fclose(f);
	return n;
}

static bool there(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof path, "logs/%s", name);
	return access(scratch_path(path), F_OK) == 0;
}

static void put(enum pen_logbook_stream stream, uint64_t day, const char *text)
{
	cr_expect_eq(pen_logbook_write(&book, stream, day, text, strlen(text), 1), 0);
}

Test(logbook, a_stream_has_a_file_a_day)
{
	char text[128];
	struct stat st;

	put(PEN_LOGBOOK_APPLICATION, DAY, "one\n");
	put(PEN_LOGBOOK_APPLICATION, DAY + 1, "two\n");
	put(PEN_LOGBOOK_APPLICATION, DAY, "three\n");
	put(PEN_LOGBOOK_ERROR, DAY, "four\n");
	cr_expect_gt(read_file("application-2024-10-04.log", text, sizeof text), 0);
	cr_expect_str_eq(text, "one\nthree\n");
	cr_expect_gt(read_file("application-2024-10-05.log", text, sizeof text), 0);
	cr_expect_str_eq(text, "two\n");
	cr_expect(there("error-2024-10-04.log"));
	cr_assert_eq(stat(scratch_path("logs/application-2024-10-04.log"), &st), 0);
	cr_expect_eq(st.st_mode & 07777 & ~0640u, 0, "%o", st.st_mode);
	cr_assert_eq(stat(scratch_path("logs"), &st), 0);
	cr_expect_eq(st.st_mode & 07777 & ~0750u, 0, "%o", st.st_mode);
}

Test(logbook, a_file_that_was_taken_away_is_made_again)
{
	char text[64];

	put(PEN_LOGBOOK_APPLICATION, DAY, "one\n");
	cr_assert_eq(unlink(scratch_path("logs/application-2024-10-04.log")), 0);
	put(PEN_LOGBOOK_APPLICATION, DAY, "two\n");
	cr_expect_gt(read_file("application-2024-10-04.log", text, sizeof text), 0);
	cr_expect_str_eq(text, "two\n");
}

Test(logbook, a_file_that_is_full_drops_lines_and_counts_them)
{
	char text[128];

	book.file_bytes = 10;
	put(PEN_LOGBOOK_APPLICATION, DAY, "12345678\n");
	cr_expect_eq(pen_logbook_write(&book, PEN_LOGBOOK_APPLICATION, DAY, "a\nb\n", 4, 2), -EFBIG);
	cr_expect_eq(book.dropped, 2);
	put(PEN_LOGBOOK_APPLICATION, DAY + 1, "next\n");
	cr_expect_eq(read_file("application-2024-10-04.log", text, sizeof text), 9);
}

Test(logbook, links_and_what_is_no_plain_file_are_refused)
{
	cr_assert_eq(symlink("/dev/null", scratch_path("logs/application-2024-10-04.log")), 0);
	cr_expect_eq(pen_logbook_write(&book, PEN_LOGBOOK_APPLICATION, DAY, "x\n", 2, 1), -ELOOP);
	cr_assert_eq(mkfifo(scratch_path("logs/application-2024-10-05.log"), 0600), 0);
	cr_expect_lt(pen_logbook_write(&book, PEN_LOGBOOK_APPLICATION, DAY + 1, "x\n", 2, 1), 0);
	cr_assert_eq(close(open(scratch_path("victim"), O_CREAT | O_WRONLY, 0600)), 0);
	cr_assert_eq(link(scratch_path("victim"), scratch_path("logs/application-2024-10-06.log")), 0);
	cr_expect_eq(pen_logbook_write(&book, PEN_LOGBOOK_APPLICATION, DAY + 2, "x\n", 2, 1), -EPERM);
	cr_expect_eq(book.dropped, 3);
}

Test(logbook, a_directory_that_is_not_safe_is_refused)
{
	struct pen_failure why = { 0 };
	struct pen_logbook other;

	cr_assert_eq(symlink(scratch_path("logs"), scratch_path("link")), 0);
	cr_expect_eq(pen_logbook_open(&other, scratch_path("link"), &why), -PEN_LOG_PLACE);
	cr_assert_eq(mkdir(scratch_path("open"), 0700), 0);
	cr_assert_eq(chmod(scratch_path("open"), 0777), 0);
	why = (struct pen_failure){ 0 };
	cr_expect_eq(pen_logbook_open(&other, scratch_path("open"), &why), -PEN_LOG_PLACE);
	cr_expect(strstr(why.text, "not safe"), "%s", why.text);
	cr_expect_eq(pen_logbook_open(&other, scratch_path("none/logs"), NULL), -PEN_LOG_PLACE);
}

Test(logbook, old_files_go_each_stream_at_its_time_and_audit_stays)
{
	char line[512] = "{\"n\":1";
	size_t len = strlen(line);

	for (uint64_t day = DAY; day <= DAY + 40; day++) {
		put(PEN_LOGBOOK_APPLICATION, day, "x\n");
		put(PEN_LOGBOOK_ERROR, day, "x\n");
		put(PEN_LOGBOOK_SECURITY, day, "x\n");
	}
	cr_expect_eq(pen_logbook_audit(&book, DAY, line, &len), 0);
	cr_assert_eq(close(open(scratch_path("logs/application-2020-13-xx.log"), O_CREAT | O_WRONLY, 0600)),
		     0);
	cr_expect_eq(pen_logbook_tidy(&book, DAY + 40), 26 + 26 + 10);
	cr_expect_not(there("application-2024-10-29.log"));
	cr_expect(there("application-2024-10-30.log"), "14 days before 2024-11-13");
	cr_expect_not(there("security-2024-10-13.log"));
	cr_expect(there("security-2024-10-14.log"));
	cr_expect(there("audit-2024-10-04.log"));
	cr_expect(there("application-2020-13-xx.log"), "is none of ours");
	cr_expect_eq(pen_logbook_tidy(&book, DAY + 40), 0);
}

Test(logbook, a_pass_of_retention_is_bounded)
{
	for (uint64_t day = DAY; day <= DAY + 100; day++)
		put(PEN_LOGBOOK_APPLICATION, day, "x\n");
	cr_expect_eq(pen_logbook_tidy(&book, DAY + 200), 64);
	cr_expect_eq(pen_logbook_tidy(&book, DAY + 200), 37);
}

/* ---- the chain ------------------------------------------------------------------------------- */

static char last_finding[256];

static void finding(void *arg, const char *text)
{
	(void)arg;
	(void)snprintf(last_finding, sizeof last_finding, "%s", text);
}

static long check(void)
{
	last_finding[0] = 0;
	return pen_log_verify(scratch_path("logs"), finding, NULL, NULL);
}

static void audit(uint64_t day, int n)
{
	char line[512];
	size_t len = (size_t)snprintf(line, sizeof line, "{\"n\":%d,\"text\":\"some deed\"", n);

	cr_expect_eq(pen_logbook_audit(&book, day, line, &len), 0);
	cr_expect_eq(line[len - 1], '\n');
}

static void rewrite(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof path, "logs/%s", name);
	f = fopen(scratch_path(path), "w");
	cr_assert(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static char text[8192];

static void three_days(void)
{
	for (int n = 0; n < 9; n++)
		audit(DAY + (uint64_t)n / 3, n);
	cr_assert_eq(check(), 0, "%s", last_finding);
}

Test(logbook, a_chain_goes_on_over_days_books_and_clocks_that_go_back)
{
	struct pen_logbook other;

	three_days();
	cr_assert_eq(pen_logbook_open(&other, scratch_path("logs"), NULL), 0);
	for (int n = 0; n < 4; n++) {
		char line[512] = "{\"other\":true";
		size_t len = strlen(line);

		cr_expect_eq(pen_logbook_audit(&other, DAY, line, &len), 0);
		audit(DAY + 1, n);
	}
	pen_logbook_close(&other);
	cr_expect_eq(check(), 0, "%s", last_finding);
	cr_expect_gt(read_file("audit-2024-10-06.log", text, sizeof text), 1000, "the newest file goes on");
}

Test(logbook, a_line_that_was_changed_is_named)
{
	three_days();
	cr_assert_gt(read_file("audit-2024-10-05.log", text, sizeof text), 0);
	memcpy(strstr(text, "\"n\":4"), "\"n\":7", 5);
	rewrite("audit-2024-10-05.log", text);
	cr_expect_eq(check(), 1);
	cr_expect_str_eq(last_finding, "audit-2024-10-05.log line 2 is not what was sealed: it was changed");
}

Test(logbook, a_line_that_was_removed_is_named)
{
	char *second, *third;

	three_days();
	cr_assert_gt(read_file("audit-2024-10-05.log", text, sizeof text), 0);
	second = strchr(text, '\n') + 1;
	third = strchr(second, '\n') + 1;
	memmove(second, third, strlen(third) + 1);
	rewrite("audit-2024-10-05.log", text);
	cr_expect_eq(check(), 1);
	cr_expect(strstr(last_finding, "audit-2024-10-05.log line 2 does not follow"), "%s", last_finding);
}

Test(logbook, a_line_that_was_put_in_is_named)
{
	three_days();
	cr_assert_gt(read_file("audit-2024-10-04.log", text, sizeof text), 0);
	strncat(text, "{\"n\":3}\n", sizeof text - strlen(text) - 1);
	rewrite("audit-2024-10-04.log", text);
	cr_expect_geq(check(), 1);
	cr_expect(there("audit-2024-10-04.log"));
}

Test(logbook, a_file_or_an_end_that_is_missing_is_noticed)
{
	three_days();
	cr_assert_gt(read_file("audit-2024-10-06.log", text, sizeof text), 0);
	text[strlen(text) - 1] = 0;
	*(strrchr(text, '\n') + 1) = 0;
	rewrite("audit-2024-10-06.log", text);
	cr_expect_eq(check(), 1);
	cr_expect(strstr(last_finding, "the last line that was written is missing"), "%s", last_finding);
	cr_assert_eq(unlink(scratch_path("logs/audit-2024-10-06.log")), 0);
	cr_expect_eq(check(), 1);
	cr_assert_eq(unlink(scratch_path("logs/audit-2024-10-04.log")), 0);
	cr_expect_eq(check(), 2);
	cr_assert_eq(unlink(scratch_path("logs/audit-2024-10-05.log")), 0);
	cr_expect_eq(check(), 1, "all are gone, but the head is not");
}

Test(logbook, a_line_cut_short_by_a_crash_is_taken_away_by_the_next)
{
	int fd;

	three_days();
	fd = open(scratch_path("logs/audit-2024-10-06.log"), O_WRONLY | O_APPEND);
	cr_assert_eq(write(fd, "{\"n\":9,\"te", 10), 10);
	(void)close(fd);
	cr_expect_eq(check(), 0, "%s", last_finding);
	audit(DAY + 2, 10);
	cr_expect_eq(check(), 0, "%s", last_finding);
	cr_assert_gt(read_file("audit-2024-10-06.log", text, sizeof text), 0);
	cr_expect_null(strstr(text, "\"te{"));
}

Test(logbook, no_directory_is_no_finding)
{
	cr_expect_eq(pen_log_verify(scratch_path("nowhere"), finding, NULL, NULL), 0);
}
