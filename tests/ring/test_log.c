/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/log.h"

static uint64_t now_ms;

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

static void start(void)
{
	now_ms = 1000;
	pen_log_start(&fixed);
	pen_log_reset();
	pen_log_levels_reset();
}

static void stop(void)
{
	pen_log_stop();
	pen_log_reset();
}

TestSuite(log, .init = start, .fini = stop);

static void expect_message(const char *want)
{
	const struct pen_log_record *rec = pen_log_peek();

	cr_assert(rec, "nothing, not %s", want);
	cr_expect_eq(rec->message_len, strlen(want));
	cr_expect(!memcmp(rec + 1, want, strlen(want)));
	pen_log_pass();
}

Test(log, records_come_out_as_they_were_put_and_end)
{
	for (int i = 0; i < 3; i++)
		cr_expect_eq(pen_log_info(NULL, i ? "second" : "first", NULL, 0), 0);
	expect_message("first");
	expect_message("second");
	expect_message("second");
	cr_expect_null(pen_log_peek());
}

Test(log, nothing_is_kept_without_a_logger)
{
	pen_log_stop();
	cr_expect_eq(pen_log_info(NULL, "lost", NULL, 0), 0);
	cr_expect_null(pen_log_peek());
}

static void *put_later(void *arg)
{
	(void)arg;
	now_ms = 500;
	(void)pen_log_info(NULL, "earlier", NULL, 0);
	return NULL;
}

Test(log, the_earliest_of_all_threads_comes_first)
{
	pthread_t thread;

	(void)pen_log_info(NULL, "later", NULL, 0);
	cr_assert(!pthread_create(&thread, NULL, put_later, NULL));
	(void)pthread_join(thread, NULL);
	expect_message("earlier");
	expect_message("later");
}

Test(log, a_full_ring_loses_what_comes_then_and_counts_it)
{
	char text[1500];
	unsigned kept = 0, lost = 0, seen = 0;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	for (int i = 0; i < 400; i++)
		if (pen_log_info(NULL, text, NULL, 0))
			lost++;
		else
			kept++;
	cr_expect_gt(lost, 0);
	cr_expect_gt(kept, PEN_LOG_RING_BYTES / 1700);
	cr_expect_eq(pen_log_lost(), lost);
	cr_expect_eq(pen_log_lost(), 0, "it is said once");
	for (; pen_log_peek(); seen++)
		pen_log_pass();
	cr_expect_eq(seen, kept);
	cr_expect_eq(pen_log_info(NULL, text, NULL, 0), 0, "there is room again");
}

Test(log, debug_leaves_room_to_what_is_more)
{
	char text[1500];
	unsigned more = 0;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	cr_assert_eq(pen_log_levels("debug", NULL), 0);
	while (!pen_log_debug(NULL, text, NULL, 0))
		;
	while (!pen_log_info(NULL, text, NULL, 0))
		more++;
	cr_expect_geq(more, PEN_LOG_RING_BYTES / 8 / 1700);
}

Test(log, many_rounds_of_a_ring_with_records_of_all_lengths)
{
	char text[2000];

	memset(text, 'y', sizeof text);
	for (unsigned i = 0; i < 5000; i++) {
		unsigned len = i * 7919 % sizeof text;
		const struct pen_log_record *rec;

		text[len] = 0;
		cr_assert_eq(pen_log_info(NULL, text, NULL, 0), 0);
		rec = pen_log_peek();
		cr_assert(rec);
		cr_assert_eq(rec->message_len, len);
		pen_log_pass();
		text[len] = 'y';
	}
}

Test(log, what_is_too_long_is_cut_and_says_so)
{
	static char text[9000];
	struct pen_log_field fields[PEN_LOG_FIELDS + 2];
	const struct pen_log_record *rec;

	memset(text, 'z', sizeof text - 1);
	for (unsigned i = 0; i < PEN_LOG_FIELDS + 2; i++)
		fields[i] = PEN_LOG_TEXT("name", text);
	cr_expect_eq(pen_log_info(NULL, text, fields, PEN_LOG_FIELDS + 2), 0);
	rec = pen_log_peek();
	cr_assert(rec);
	cr_expect(rec->cut);
	cr_expect_eq(rec->message_len, PEN_LOG_MESSAGE_BYTES);
	cr_expect_leq(rec->bytes, PEN_LOG_RECORD_BYTES);
	cr_expect_leq(rec->field_count, PEN_LOG_FIELDS);
	pen_log_pass();
	cr_expect_eq(pen_log_info(NULL, "short", NULL, 0), 0);
	cr_expect_not(pen_log_peek()->cut);
}

Test(log, levels_are_by_module_and_audit_and_security_are_always_kept)
{
	const struct pen_log_context engine = { .module = PEN_LOG_IN_ENGINE },
				     store = { .module = PEN_LOG_IN_STORE };

	cr_expect_eq(pen_log_levels("error,engine=debug", NULL), 0);
	(void)pen_log_info(&store, "no", NULL, 0);
	(void)pen_log_debug(&engine, "yes", NULL, 0);
	expect_message("yes");
	(void)pen_log_warn(&store, "no", NULL, 0);
	(void)pen_log_error(&store, "an error", NULL, 0);
	expect_message("an error");
	cr_expect_eq(pen_log_levels("off", NULL), 0);
	(void)pen_log_error(&store, "no", NULL, 0);
	(void)pen_log_security(&store, PEN_LOG_LOW, "a matter of security", NULL, 0);
	expect_message("a matter of security");
	(void)pen_log_audit(&store, "deed", "thing", NULL, 0);
	expect_message("deed");
	cr_expect_null(pen_log_peek());
	cr_expect_not(pen_log_on(PEN_LOG_IN_STORE, PEN_LOG_ERROR));
}

Test(log, words_that_are_no_levels_are_refused_whole)
{
	struct pen_failure why = { 0 };

	cr_expect_eq(pen_log_levels("engine=debug,store=loud", &why), -PEN_LOG_LEVEL);
	cr_expect(strstr(why.text, "store=loud"), "%s", why.text);
	cr_expect_not(pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_DEBUG), "none of it was taken");
	cr_expect_eq(pen_log_levels("En gine=debug", NULL), -PEN_LOG_LEVEL);
	cr_expect_eq(pen_log_levels("=debug", NULL), -PEN_LOG_LEVEL);
	cr_expect_eq(pen_log_levels("", NULL), 0);
}

Test(log, modules_of_programs_have_numbers_and_names)
{
	int n = pen_log_module("papers");

	cr_expect_geq(n, PEN_LOG_PARTS);
	cr_expect_eq(pen_log_module("papers"), n);
	cr_expect_str_eq(pen_log_module_name((unsigned)n), "papers");
	cr_expect_eq(pen_log_module("store"), PEN_LOG_IN_STORE);
	cr_expect_eq(pen_log_module("No"), -EINVAL);
	cr_expect_eq(pen_log_levels("papers=debug", NULL), 0);
	cr_expect(pen_log_on((unsigned)n, PEN_LOG_DEBUG));
	for (int i = 0; i < (int)PEN_LOG_MODULES; i++) {
		char name[24];

		(void)snprintf(name, sizeof name, "m%d", i);
		n = pen_log_module(name);
	}
	cr_expect_eq(n, -ENOSPC);
}

Test(log, a_directory_says_levels_to_all_who_look_into_it)
{
	char dir[] = "/tmp/pen-log-XXXXXX", text[2048], file[64];
	int fd;

	cr_assert(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	cr_assert_geq(fd, 0);
	cr_expect_gt(pen_log_words_text(fd, text, sizeof text), 0);
	cr_expect(strstr(text, "engine=info"), "%s", text);
	cr_expect_eq(pen_log_words_open(fd), 0);
	cr_expect_not(pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_DEBUG));
	cr_expect_eq(pen_log_words_set(fd, "engine=debug,mine=off", NULL), 0, "while it is mapped, too");
	cr_expect(pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_DEBUG));
	cr_expect_not(pen_log_on((unsigned)pen_log_module("mine"), PEN_LOG_ERROR));
	cr_expect_eq(pen_log_levels("engine=warn", NULL), 0);
	cr_expect_not(pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_INFO), "what this process was told wins");
	pen_log_words_close();
	pen_log_levels_reset();
	cr_expect_not(pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_DEBUG), "and is forgotten with the directory");
	(void)snprintf(file, sizeof file, "%s/levels", dir);
	cr_expect_eq(truncate(file, 7), 0);
	cr_expect_eq(pen_log_words_open(fd), -EBADMSG);
	(void)unlink(file);
	cr_expect_eq(symlink("/dev/zero", file), 0);
	cr_expect_eq(pen_log_words_open(fd), -ELOOP);
	(void)unlink(file);
	(void)close(fd);
	(void)rmdir(dir);
}

Test(log, names_of_kinds_and_levels_are_found_again)
{
	for (int i = 0; i < PEN_LOG_KINDS; i++)
		cr_expect_eq(pen_log_kind_find(pen_log_kind_name((enum pen_log_kind)i)), i);
	for (int i = 0; i < PEN_LOG_LEVELS; i++)
		cr_expect_eq(pen_log_level_find(pen_log_level_name((enum pen_log_level)i)), i);
	cr_expect_eq(pen_log_kind_find("gossip"), -1);
}
