/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_private.h"
#include "tests/store/retain_lab.h"

TestSuite(retain_spool, .init = set_up, .fini = tear_down);

static void keep(const char *name, uint64_t age_ms)
{
	uint64_t ms = pen_real_ms(&pen_clock_real) - age_ms;
	struct timespec times[2] = { { .tv_sec = (time_t)(ms / 1000) }, { .tv_sec = (time_t)(ms / 1000) } };
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/staging/%s", shop.dir, name);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	cr_assert(fd >= 0 && !futimens(fd, times) && !close(fd));
}

static bool kept(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/staging/%s", shop.dir, name);
	return !access(path, F_OK);
}

/* Its sources as submit names them. */
static void feed_from(uint64_t id, const char *name)
{
	static struct pen_standing st;
	char sources[200];
	struct pen_facts *facts;
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	snprintf(sources, sizeof(sources), "%s/staging/%s", shop.dir, name);
	cr_assert_eq(pen_ledger_load(txn, id, &facts, &st), 0);
	facts->sources = sources;
	facts->sources_len = strlen(sources);
	cr_assert_eq(pen_ledger_restate(txn, facts, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	free(facts);
}

#define ONE "items.00000000000000a1"
#define TWO "items.00000000000000a2"
#define LOST "items.00000000000000a3"
#define NEW "items.00000000000000a4"

Test(retain_spool, a_kept_stream_goes_with_its_batch_and_not_before)
{
	uint64_t done = plant(PEN_COMPLETED, 2500), stays = plant_stopped(0);
	struct pen_cleaned got;
	unsigned steps = 0;

	feed_from(done, ONE);
	feed_from(stays, TWO);
	keep(ONE, 8 * DAY);
	keep(TWO, 8 * DAY);
	ahead_ms = 8 * DAY;
	do {
		cr_assert_lt(++steps, 3000);
		got = CLEAN(.budget_ns = 1);
		cr_expect_eq(kept(ONE), there(done));
	} while (!got.whole);
	cr_expect(!kept(ONE) && kept(TWO));
	verify();
}

Test(retain_spool, a_sweep_takes_what_no_batch_refers_to_once_it_is_a_day_old)
{
	uint64_t stays = plant_stopped(0);
	static const char *const others[] = { "items.00000000000000A5",
					      "items.00000000000000a55",
					      "items.0000",
					      "after.00000000000000a6",
					      "part.x",
					      "mine" };

	feed_from(stays, ONE);
	keep(ONE, 3 * DAY);
	keep(LOST, 25 * 3600000);
	keep(NEW, 23 * 3600000);
	keep("part.00000000000000a7", 25 * 3600000);
	keep("part.00000000000000a8", 23 * 3600000);
	for (size_t i = 0; i < PEN_COUNT(others); i++)
		keep(others[i], 9 * DAY);
	(void)CLEAN(.dry_run = true);
	cr_expect(kept(LOST));
	(void)CLEAN(.size = 0);
	cr_expect(kept(ONE) && !kept(LOST) && kept(NEW));
	cr_expect(!kept("part.00000000000000a7") && kept("part.00000000000000a8"));
	for (size_t i = 0; i < PEN_COUNT(others); i++)
		cr_expect(kept(others[i]), "%s", others[i]);
	ahead_ms = DAY;
	(void)CLEAN(.size = 0);
	cr_expect(kept(ONE) && !kept(NEW) && !kept("part.00000000000000a8"));
}
