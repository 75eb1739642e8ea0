/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crew.h"

/* test_launcher.c makes this program a launcher. */
static struct pen_crew *open_crew(enum pen_crew_kind kind, const char *command, uint32_t jobs,
				  uint32_t window)
{
	const struct pen_crew_options opt = { .kind = kind,
					      .command = command,
					      .jobs = jobs,
					      .window = window,
					      .launcher = "/proc/self/exe",
					      .grace_ns = 100000000 };
	struct pen_crew *crew = NULL;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_crew_open(&crew, &opt, &why), 0, "%s", why.text);
	return crew;
}

static void give(struct pen_crew *crew, uint64_t id, const char *item)
{
	const struct pen_task task = {
		.id = id, .seq = id, .attempt = 1, .item = item, .item_len = strlen(item)
	};

	cr_assert_eq(pen_crew_give(crew, &task), 0);
}

static struct pen_task_result one(struct pen_crew *crew)
{
	struct pen_task_result r = { 0 };

	cr_assert_eq(pen_crew_poll(crew, &r, 1, 30 * PEN_NS_PER_S), 1);
	return r;
}

Test(crew, exec_value_is_stdout, .timeout = 60)
{
	struct pen_crew *crew = open_crew(PEN_CREW_EXEC, "cat", 1, 0);
	struct pen_task_result r;

	give(crew, 7, "hello");
	r = one(crew);
	cr_expect(r.id == 7 && r.fate == PEN_TASK_DONE && r.value_len == 5 &&
		  memcmp(r.value, "hello", 5) == 0);
	cr_expect(r.exit_status == 0 && r.started_ns && r.spent_ns && r.rss_kib);
	cr_expect_eq(pen_crew_poll(crew, &r, 1, UINT64_MAX), 0, "nothing is given: poll does not wait");
	pen_crew_close(crew);
}

Test(crew, exec_statuses, .timeout = 60)
{
	struct pen_crew *crew = open_crew(PEN_CREW_EXEC, "read x; echo no $x >&2; exit $x", 1, 0);
	static const struct {
		const char *item;
		enum pen_task_fate fate;
		int code;
	} table[] = { { "0\n", PEN_TASK_DONE, 0 },
		      { "65\n", PEN_TASK_REJECTED, -PEN_CHILD_REFUSED },
		      { "1\n", PEN_TASK_RETRY, -PEN_CHILD_EXIT } };

	for (size_t i = 0; i < 3; i++) {
		struct pen_task_result r;

		give(crew, i, table[i].item);
		r = one(crew);
		cr_expect(r.fate == table[i].fate && r.code == table[i].code, "%s", table[i].item);
		cr_expect(r.stderr_len > 3 && memcmp(r.stderr_tail, "no ", 3) == 0);
		cr_expect(r.fate == PEN_TASK_DONE ? !*r.message : strstr(r.message, "no ") != NULL);
	}
	pen_crew_close(crew);
}

Test(crew, room_is_kept, .timeout = 60)
{
	struct pen_crew *crew = open_crew(PEN_CREW_EXEC, "true", 2, 0);
	const struct pen_task task = { .attempt = 1 };
	struct pen_task_result r[64];
	uint32_t room = pen_crew_room(crew);
	uint32_t got = 0;

	cr_expect_geq(room, 2);
	for (uint32_t i = 0; i < room; i++)
		cr_assert_eq(pen_crew_give(crew, &task), 0);
	cr_expect_eq(pen_crew_room(crew), 0);
	cr_expect_eq(pen_crew_give(crew, &task), -EAGAIN);
	while (got < room)
		got += pen_crew_poll(crew, r, 64, 30 * PEN_NS_PER_S);
	cr_expect_eq(pen_crew_room(crew), room);
	pen_crew_close(crew);
}

/* Goal: who waits for the descriptor alone misses nothing. */
Test(crew, descriptor_is_readable_when_there_is_something, .timeout = 60)
{
	struct pen_crew *crew = open_crew(
		PEN_CREW_WORKER,
		"while read -r x; do i=${x#*:}; echo \"{\\\"id\\\":${i%%,*},\\\"ok\\\":true}\"; done", 2, 8);
	struct pen_task_result r;
	uint32_t got = 0;

	for (uint64_t i = 0; i < 16; i++)
		give(crew, i, "x");
	while (got < 16) {
		struct pollfd wait = { .fd = pen_crew_fd(crew), .events = POLLIN };

		if (pen_crew_poll(crew, &r, 1, 0)) {
			cr_expect_eq(r.fate, PEN_TASK_DONE);
			cr_expect_null(r.value);
			got++;
		} else {
			cr_assert_eq(poll(&wait, 1, 20000), 1);
		}
	}
	pen_crew_close(crew);
}

Test(crew, cancel_gives_everything_back, .timeout = 60)
{
	for (int hard = 0; hard < 2; hard++) {
		struct pen_crew *crew = open_crew(PEN_CREW_EXEC, "sleep 1000", 1, 0);
		uint32_t n = pen_crew_room(crew);
		struct pen_task_result r[64];
		uint32_t got = 0;

		for (uint32_t i = 0; i < n; i++)
			give(crew, i, "");
		cr_expect_eq(pen_crew_poll(crew, r, 64, 50 * PEN_NS_PER_MS), 0);
		pen_crew_cancel(crew, hard);
		while (got < n) {
			uint32_t k = pen_crew_poll(crew, r, 64, 30 * PEN_NS_PER_S);

			cr_assert(k);
			for (uint32_t i = 0; i < k; i++)
				cr_expect_eq(r[i].fate, PEN_TASK_UNCHARGED);
			got += k;
		}
		cr_expect_eq(pen_crew_room(crew), 0);
		cr_expect_eq(pen_crew_give(crew, &(struct pen_task){ .attempt = 1 }), -ECANCELED);
		pen_crew_close(crew);
	}
}

Test(crew, broken_crew_says_why, .timeout = 60)
{
	struct pen_crew *crew = open_crew(PEN_CREW_WORKER, "echo no config >&2; exit 2", 1, 4);
	struct pen_task_result r;

	give(crew, 1, "x");
	r = one(crew);
	cr_expect(r.fate == PEN_TASK_UNCHARGED && r.code == -PEN_CHILD_BROKEN);
	cr_assert_not_null(pen_crew_failure(crew));
	cr_expect_not_null(strstr(pen_crew_failure(crew)->text, "no config"));
	cr_expect_eq(pen_crew_give(crew, &(struct pen_task){ .attempt = 1 }), -PEN_CHILD_BROKEN);
	cr_expect_eq(pen_crew_room(crew), 0);
	pen_crew_close(crew);
}

Test(crew, bad_options_are_refused)
{
	static const struct {
		struct pen_crew_options opt;
		int code;
	} table[] = {
		{ { .kind = PEN_CREW_EXEC, .command = "" }, -PEN_USAGE },
		{ { .kind = PEN_CREW_EXEC, .command = "true 'x" }, -PEN_USAGE },
		{ { .kind = PEN_CREW_EXEC, .command = "true", .jobs = PEN_CREW_JOBS_MAX + 1 }, -PEN_USAGE },
		{ { .kind = PEN_CREW_WORKER, .command = "true", .window = PEN_CREW_WINDOW_MAX + 1 },
		  -PEN_USAGE },
		{ { .kind = PEN_CREW_WORKER, .command = "cat {}", .launcher = "/proc/self/exe" },
		  -PEN_USAGE },
		{ { .kind = PEN_CREW_EXEC, .command = "no-such-program" }, -PEN_CHILD_MISSING },
		{ { .kind = PEN_CREW_EXEC, .command = "true", .launcher = "/nonexistent" },
		  -PEN_CHILD_LAUNCHER },
		{ { .kind = PEN_CREW_EXEC, .command = "cat {}", .tmpdir = "/nonexistent" }, -ENOENT },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct pen_crew *crew = NULL;

		int rc = pen_crew_open(&crew, &table[i].opt, NULL);

		cr_expect_eq(rc, table[i].code, "%zu gives %d", i, rc);
		cr_expect_null(crew);
	}
	pen_crew_close(NULL);
}
