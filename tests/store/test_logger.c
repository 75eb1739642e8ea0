/* SPDX-License-Identifier: MIT */
#include "store/logger.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/store/scratch.h"

static _Atomic uint64_t now_ms = 20000ull * 86400000;

static uint64_t fixed_ns(const struct pen_clock *clock)
{
	(void)clock;
	return now_ms * 1000000;
}

static uint64_t fixed_ms(const struct pen_clock *clock)
{
	(void)clock;
	return now_ms;
}

static const struct pen_clock fixed = { fixed_ns, fixed_ms };

static void make(void)
{
	scratch_make();
	pen_logger_set_clock(&fixed);
}

static void end(void)
{
	pen_log_close();
	scratch_remove();
}

TestSuite(logger, .init = make, .fini = end);

static void open_log(struct pen_log_options opt)
{
	struct pen_failure why = { 0 };

	opt.size = sizeof opt;
	opt.dir = scratch_path("logs");
	cr_assert_eq(pen_log_open(&opt, &why), 0, "%s", why.text);
}

static char text[1u << 20];

static const char *file(const char *name)
{
	char path[128];
	size_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof path, "logs/%s", name);
	f = fopen(scratch_path(path), "r");
	if (f) {
		n = fread(text, 1, sizeof text - 1, f);
		(void)fclose(f);
	}
	text[n] = 0;
	return text;
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (; (in = strstr(in, what)); in++)
		n++;
	return n;
}

Test(logger, lines_are_in_their_files_after_a_flush)
{
	open_log((struct pen_log_options){ 0 });
	(void)pen_log_info(NULL, "to all", NULL, 0);
	(void)pen_log_error(NULL, "to errors", NULL, 0);
	(void)pen_log_security(NULL, PEN_LOG_LOW, "to security", NULL, 0);
	(void)pen_log_audit(NULL, "to audit", "x", NULL, 0);
	cr_expect(pen_log_flush(10 * PEN_NS_PER_S));
	cr_expect_eq(count(file("application-2024-10-04.log"), "\n"), 4);
	cr_expect_eq(count(text, "\"trace\":[\""), 1);
	cr_expect_eq(count(file("error-2024-10-04.log"), "\n"), 1);
	cr_expect_eq(count(file("security-2024-10-04.log"), "\"message\":\"to security\""), 1);
	cr_expect_eq(count(file("audit-2024-10-04.log"), "\"message\":\"to audit\""), 1);
	cr_expect_eq(pen_log_verify(scratch_path("logs"), NULL, NULL, NULL), 0);
}

Test(logger, there_is_one_a_process)
{
	struct pen_log_options opt = { .size = sizeof opt, .dir = scratch_path("logs") };

	open_log((struct pen_log_options){ 0 });
	cr_expect_eq(pen_log_open(&opt, NULL), -EBUSY);
	pen_log_close();
	pen_log_close();
	cr_expect_not(pen_log_flush(1));
	open_log((struct pen_log_options){ .levels = "debug" });
	(void)pen_log_debug(NULL, "seen", NULL, 0);
	pen_log_close();
	cr_expect_eq(count(file("application-2024-10-04.log"), "seen"), 1);
	opt.levels = "nonsense";
	opt.dir = scratch_path("logs");
	cr_expect_eq(pen_log_open(&opt, NULL), -PEN_LOG_LEVEL);
}

Test(logger, midnight_begins_new_files_and_ends_old_ones)
{
	open_log((struct pen_log_options){ 0 });
	(void)pen_log_info(NULL, "before", NULL, 0);
	now_ms += 86400000;
	(void)pen_log_info(NULL, "behind", NULL, 0);
	cr_expect(pen_log_flush(10 * PEN_NS_PER_S));
	cr_expect_eq(count(file("application-2024-10-04.log"), "before"), 1);
	cr_expect_eq(count(file("application-2024-10-05.log"), "behind"), 1);
	now_ms += 86400000ull * 14;
	(void)pen_log_info(NULL, "much later", NULL, 0);
	cr_expect(pen_log_flush(10 * PEN_NS_PER_S));
	cr_expect_eq(count(file("application-2024-10-04.log"), "before"), 0, "it was removed");
	cr_expect_eq(count(file("application-2024-10-05.log"), "behind"), 1);
}

struct heard {
	unsigned lines, notices;
	int code;
	char last[256];
};

static void sink(void *arg, enum pen_log_level level, const char *line, size_t len)
{
	struct heard *heard = arg;

	heard->lines++;
	(void)snprintf(heard->last, sizeof heard->last, "%d %.*s", level, (int)len, line);
}

static void notice(void *arg, int code, const char *what)
{
	struct heard *heard = arg;

	(void)what;
	heard->notices++;
	heard->code = code;
}

Test(logger, what_is_lost_is_a_line_of_its_own)
{
	static char long_text[2000];
	unsigned lost = 0;
	char want[64];

	memset(long_text, 'x', sizeof long_text - 1);
	open_log((struct pen_log_options){ 0 });
	for (int i = 0; i < 3000 || !lost; i++)
		lost += pen_log_info(NULL, long_text, NULL, 0) != 0;
	pen_log_close();
	cr_expect_gt(lost, 0);
	/* It may have been said in parts. */
	(void)snprintf(want, sizeof want, "lines were lost");
	{
		FILE *f = fopen(scratch_path("logs/application-2024-10-04.log"), "r");
		char *line = NULL;
		size_t cap = 0;
		unsigned said = 0;

		cr_assert(f);
		while (getline(&line, &cap, f) > 0)
			if (strstr(line, want))
				said += (unsigned)strtoul(strstr(line, "\"lost\":") + 7, NULL, 10);
		free(line);
		(void)fclose(f);
		cr_expect_eq(said, lost);
	}
}

Test(logger, a_full_file_is_said_once_to_people_and_in_the_next_one)
{
	struct heard heard = { 0 };

	open_log((struct pen_log_options){ .file_bytes = 600, .notice = notice, .arg = &heard });
	for (int i = 0; i < 10; i++) {
		(void)pen_log_info(NULL, "a line", NULL, 0);
		(void)pen_log_flush(10 * PEN_NS_PER_S);
	}
	cr_expect_eq(heard.notices, 1);
	cr_expect_eq(heard.code, -PEN_LOG_FULL);
	now_ms += 86400000;
	(void)pen_log_info(NULL, "next day", NULL, 0);
	pen_log_close();
	cr_expect_eq(count(file("application-2024-10-05.log"), "lines were dropped"), 1);
}

Test(logger, who_listens_hears_each_line)
{
	struct heard heard = { 0 };

	open_log((struct pen_log_options){ .sink = sink, .notice = notice, .arg = &heard, .journal = true });
	(void)pen_log_warn(NULL, "hear", NULL, 0);
	pen_log_close();
	cr_expect_eq(heard.lines, 1);
	cr_expect(strstr(heard.last, "2 {\"time\"") && strstr(heard.last, "hear"), "%s", heard.last);
	if (access(PEN_JOURNAL_SOCKET, F_OK))
		cr_expect(heard.notices == 1 && heard.code == -PEN_LOG_JOURNAL, "no journal: one notice");
}

Test(logger, the_journal_gets_a_datagram_a_line)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	static struct pen_log_scratch room;
	char got[4096];
	ssize_t n;
	int journal = socket(AF_UNIX, SOCK_DGRAM, 0), fd;

	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", scratch_path("journal"));
	cr_assert_eq(bind(journal, (struct sockaddr *)&at, sizeof at), 0);
	fd = pen_journal_open(at.sun_path);
	cr_assert_geq(fd, 0);
	pen_log_start(&fixed);
	(void)pen_log_error(NULL, "two\nlines token=abc", NULL, 0);
	pen_journal_send(fd, pen_log_peek(), "{}", 2, &room);
	pen_log_pass();
	pen_log_stop();
	n = recv(journal, got, sizeof got - 1, 0);
	cr_assert_gt(n, 0);
	got[n] = 0;
	cr_expect(strstr(got, "SYSLOG_IDENTIFIER=penstock\nPRIORITY=3\n"), "%s", got);
	cr_expect(memmem(got, (size_t)n, "MESSAGE\n\x1a\0\0\0\0\0\0\0two\nlines token=[redacted]\n", 43),
		  "%s", got);
	(void)close(fd);
	(void)close(journal);
	cr_expect_eq(pen_journal_open(scratch_path("nowhere")), -ENOENT);
}

Test(logger, operations_have_a_histogram_at_the_end)
{
	open_log((struct pen_log_options){ 0 });
	for (uint64_t i = 1; i <= 100; i++)
		(void)pen_log_performance(NULL, "index", i * 1000000, NULL, 0);
	(void)pen_log_performance(NULL, "once", 1000000, NULL, 0);
	pen_log_close();
	cr_expect_eq(count(file("application-2024-10-04.log"),
			   "\"of\":\"index\",\"count\":100,\"meanMs\":50.500,\"p50Ms\":65.536,"),
		     1);
	cr_expect_eq(count(text, "\"of\":\"once\""), 0);
}

/* ---- the end by a signal --------------------------------------------------------------------- */

static void no_core(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	/* A sanitizer's handler would stand behind ours. */
	for (int *sig = (int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, 0 }; *sig; sig++)
		(void)signal(*sig, SIG_DFL);
}

static int crash_child(int sig, void (*more)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		no_core();
		open_log((struct pen_log_options){ 0 });
		if (more)
			more();
		(void)pen_log_info(NULL, "the last word", NULL, 0);
		if (sig == SIGABRT)
			abort();
		(void)raise(sig);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

Test(logger, a_crash_writes_what_is_there_and_is_still_that_crash)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	for (size_t i = 0; i < PEN_COUNT(signals); i++) {
		int status = crash_child(signals[i], NULL);

		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == signals[i], "signal %d: status %d",
			  signals[i], status);
		cr_expect_eq(count(file("application-2024-10-04.log"), "the last word"), i + 1, "signal %d",
			     signals[i]);
		cr_expect_eq(count(text, "a signal ends the process"), i + 1);
		cr_expect_eq(count(file("error-2024-10-04.log"), "a signal ends the process"), i + 1);
	}
}

static void *log_much(void *arg)
{
	(void)arg;
	for (int i = 0;; i++)
		(void)pen_log_info(NULL, "from another thread", &PEN_LOG_U64("i", (uint64_t)i), 1);
	return NULL;
}

static void crowd(void)
{
	pthread_t thread;

	for (int i = 0; i < 3; i++)
		(void)pthread_create(&thread, NULL, log_much, NULL);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
}

Test(logger, a_crash_while_the_thread_writes_leaves_whole_lines)
{
	for (int i = 0; i < 5; i++) {
		int status = crash_child(SIGSEGV, crowd);
		FILE *f = fopen(scratch_path("logs/application-2024-10-04.log"), "r");
		unsigned last = 0;
		char *line = NULL;
		size_t cap = 0;
		ssize_t n;

		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
		cr_assert(f);
		while ((n = getline(&line, &cap, f)) > 0) {
			cr_assert(line[0] == '{' && n > 2 && !strcmp(line + n - 2, "}\n"), "half a line: %s",
				  line);
			last += strstr(line, "a signal ends the process") != NULL;
		}
		cr_expect_eq(last, (unsigned)i + 1);
		free(line);
		(void)fclose(f);
	}
}

Test(logger, a_process_that_is_killed_leaves_whole_lines_and_a_chain)
{
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			open_log((struct pen_log_options){ 0 });
			for (;;)
				(void)pen_log_audit(NULL, "deed", "thing", NULL, 0);
		}
		(void)nanosleep(&(struct timespec){ .tv_nsec = 50000000 + i * 7000000 }, NULL);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		cr_expect_eq(pen_log_verify(scratch_path("logs"), NULL, NULL, NULL), 0);
	}
}

Test(logger, a_child_has_no_logger_and_may_make_one)
{
	pid_t pid;
	int status;

	open_log((struct pen_log_options){ 0 });
	(void)pen_log_info(NULL, "of the parent", NULL, 0);
	pid = fork();
	if (!pid) {
		(void)pen_log_info(NULL, "of nobody", NULL, 0);
		if (pen_log_flush(1))
			_exit(1);
		open_log((struct pen_log_options){ 0 });
		(void)pen_log_info(NULL, "of the child", NULL, 0);
		pen_log_close();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	pen_log_close();
	cr_expect_eq(count(file("application-2024-10-04.log"), "of the parent"), 1);
	cr_expect_eq(count(text, "of the child"), 1);
	cr_expect_eq(count(text, "of nobody"), 0);
}
