/* SPDX-License-Identifier: MIT */
/*
 * The file is cut and flipped at random: what changes what the store says must be found, and nothing may end or hang
 * the process that asked. Then what is no store, and the guard by itself.
 */
#include "store/audit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "tests/store/plant.h"

static struct shop shop;

static void set_up(void)
{
	uint64_t ids[3];

	shop_fill(&shop, &ids[0], &ids[1], &ids[2]);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(audit, .init = set_up, .fini = tear_down, .timeout = 600);

static const struct heard *verify(void)
{
	return shop_verify(&shop);
}

/* Changes `len` bytes behind each place in the file where a database's name stands. */
static void patch_row(uint8_t *file, size_t file_len, const char *name, size_t at, const void *bytes,
		      size_t len)
{
	size_t name_len = strlen(name);
	bool found = false;

	for (size_t i = 0; i + name_len + 48 < file_len; i++) {
		if (memcmp(file + i, name, name_len) != 0)
			continue;
		memcpy(file + i + name_len + at, bytes, len);
		found = true;
	}
	cr_assert(found);
}

Test(audit, damaged_trees_are_named)
{
	static const struct {
		size_t at;
		uint64_t to;
		enum pen_invariant invariant;
	} cases[] = {
		{ 32, 31, PEN_INV_PAGES },	 /* entries */
		{ 40, 1u << 20, PEN_INV_PAGES }, /* root: beyond the file */
		{ 40, UINT64_MAX - 1, PEN_INV_PAGES },
		{ 40, 0, PEN_INV_PAGES }, /* root: a meta page */
	};
	size_t len;
	uint8_t *healthy = file_read(&shop, &len), *copy = malloc(len);

	cr_assert(copy);
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		const struct heard *heard;

		memcpy(copy, healthy, len);
		patch_row(copy, len, "alpha", cases[i].at, &cases[i].to, 8);
		file_write(&shop, copy, len);
		heard = verify();
		cr_expect(heard->by[cases[i].invariant] && strstr(heard->all, "alpha"), "case %zu: %s", i,
			  heard->all);
	}
	free(copy);
	free(healthy);
}

#define ROOT_AT 128

Test(audit, damaged_meta_pages_are_named)
{
	/* Number, flags, magic, version, page size, flags of both databases, root, last page, transaction. */
	static const size_t places[] = { 0, 10, 16, 20, 40, 44, 92, ROOT_AT, 142, 144 };
	size_t len, newest;
	uint64_t txn[2];
	uint8_t *healthy = file_read(&shop, &len), *copy = malloc(len);

	cr_assert(copy);
	for (size_t page = 0; page < 2; page++)
		memcpy(&txn[page], healthy + 4096 * page + 144, 8);
	newest = txn[1] > txn[0];
	for (size_t i = 0; i < PEN_COUNT(places); i++)
		for (size_t page = 0; page < 2; page++) {
			/* A refused meta page leaves the older one with roots that nobody reads. */
			bool harmless = page != newest && places[i] == ROOT_AT;
			const struct heard *heard;

			memcpy(copy, healthy, len);
			copy[4096 * page + places[i]] ^= 0x41;
			file_write(&shop, copy, len);
			heard = verify();
			cr_expect_eq(!heard->by[PEN_INV_FILE], harmless, "page %zu byte %zu: %ld %s", page,
				     places[i], heard->ret, heard->all);
		}
	free(copy);
	free(healthy);
}

/* ---- what the store says, read in a child ------------------------------------------------------- */

struct digest_of_all {
	uint64_t hash;
	bool read;
};

/* LMDB's own checks print and abort; the test's output needs neither. */
static void die_quietly(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	_exit(1);
}

static uint64_t dump_hash(void)
{
	struct pen_sum sum = { 0, 0 };
	MDB_cursor *names, *cur;
	MDB_val name, row, key, value;
	struct raw raw;
	MDB_dbi dbi;

	if (mdb_env_create(&raw.env))
		_exit(1);
	mdb_env_set_assert(raw.env, die_quietly);
	mdb_env_set_maxdbs(raw.env, 64);
	mdb_env_set_mapsize(raw.env, 1u << 26);
	if (mdb_env_open(raw.env, shop.dir, MDB_RDONLY, 0600) ||
	    mdb_txn_begin(raw.env, NULL, MDB_RDONLY, &raw.txn) || mdb_dbi_open(raw.txn, NULL, 0, &dbi) ||
	    mdb_cursor_open(raw.txn, dbi, &names))
		_exit(1);
	while (!mdb_cursor_get(names, &name, &row, MDB_NEXT)) {
		char text[512] = { 0 };
		uint64_t n = 0;
		int rc;

		memcpy(text, name.mv_data, pen_min(name.mv_size, 511));
		pen_sum_add(&sum, pen_hash_record(name.mv_data, name.mv_size, "", 0));
		if (mdb_dbi_open(raw.txn, text, 0, &dbi) || mdb_cursor_open(raw.txn, dbi, &cur))
			_exit(1);
		while (!(rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) && n++ < 100000) {
			struct pen_sum one =
				pen_hash_record(key.mv_data, key.mv_size, value.mv_data, value.mv_size);

			/* The same record elsewhere is another record. */
			one.lo = one.lo * 31 + pen_hash64(text, strlen(text)) + n;
			pen_sum_add(&sum, one);
		}
		if (rc != MDB_NOTFOUND)
			_exit(1);
	}
	return sum.lo ^ sum.hi;
}

static int dump_body(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	(void)arg;
	(void)why;
	pen_audit_say(voice, 1, "%016llx", (unsigned long long)dump_hash());
	return 0;
}

static void keep_hash(void *arg, int invariant, const char *text)
{
	struct digest_of_all *all = arg;

	if (invariant != 1)
		return;
	all->hash = strtoull(text, NULL, 16);
	all->read = true;
}

/* Unequal to every other when it could not be read. */
static struct digest_of_all what_it_says(void)
{
	struct digest_of_all all = { 0 };

	pen_audit_guard(dump_body, NULL, 20 * PEN_NS_PER_S, keep_hash, &all, NULL);
	return all;
}

/* A number that makes the older one the newest would undo the last transaction without a trace. */
Test(audit, an_older_meta_page_does_not_pass_for_the_newest)
{
	struct digest_of_all whole = what_it_says();
	size_t len;
	uint8_t *healthy = file_read(&shop, &len), *copy = malloc(len);

	cr_assert(copy);
	for (size_t page = 0; page < 2; page++)
		for (int bit = 1; bit < 48; bit++) {
			struct digest_of_all now;
			const struct heard *heard;

			memcpy(copy, healthy, len);
			copy[4096 * page + 144 + (size_t)bit / 8] ^= (uint8_t)(1u << bit % 8);
			file_write(&shop, copy, len);
			heard = verify();
			now = what_it_says();
			cr_expect(heard->ret || (now.read && now.hash == whole.hash),
				  "page %zu, bit %d of the number", page, bit);
		}
	free(copy);
	free(healthy);
}

Test(audit, every_cut_that_loses_something_is_found)
{
	size_t len;
	uint8_t *healthy = file_read(&shop, &len);
	struct digest_of_all whole = what_it_says();
	unsigned found = 0;

	cr_assert(whole.read);
	for (size_t cut = 0; cut < len; cut += 4096) {
		struct digest_of_all now;
		const struct heard *heard;

		file_write(&shop, healthy, cut);
		heard = verify();
		now = what_it_says();
		cr_expect(heard->ret != 0 || (now.read && now.hash == whole.hash), "cut at %zu", cut);
		found += heard->ret != 0;
	}
	cr_expect_gt(found, len / 4096 / 2);
	free(healthy);
}

Test(audit, a_thousand_flips_never_crash_and_none_that_matters_is_missed)
{
	size_t len;
	uint8_t *bytes = file_read(&shop, &len);
	struct digest_of_all whole = what_it_says();
	const char *given = getenv("PEN_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20200101, x = seed;
	unsigned mattered = 0, found = 0;

	cr_assert(whole.read);
	for (int i = 0; i < 1000; i++) {
		struct digest_of_all now;
		const struct heard *heard;
		size_t at;
		uint8_t bit;

		/* splitmix64 */
		uint64_t z = (x += 0x9e3779b97f4a7c15);
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		z ^= z >> 31;
		at = z % len;
		bit = (uint8_t)(1u << (z >> 40) % 8);
		bytes[at] ^= bit;
		file_write(&shop, bytes, len);
		heard = verify();
		found += heard->ret != 0;
		if (!heard->ret) {
			now = what_it_says();
			cr_expect(now.read && now.hash == whole.hash,
				  "seed %llu: byte %zu bit %#x was missed", (unsigned long long)seed, at,
				  bit);
		} else {
			mattered++;
		}
		bytes[at] ^= bit;
	}
	cr_expect_gt(found, 100, "%u", found);
	cr_expect_eq(found, mattered);
	file_write(&shop, bytes, len);
	cr_expect_eq(verify()->ret, 0);
	free(bytes);
}

/* ---- what is no store ---------------------------------------------------------------------------- */

Test(audit, directories_without_a_store_give_a_code)
{
	static const struct {
		const char *dir;
		int code;
	} cases[] = { { "/nonexistent/dir", -PEN_STORE_MISSING },
		      { "/proc/self/fd", -PEN_STORE_MISSING },
		      { "/etc/passwd", -20 /* ENOTDIR */ } };

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_failure why = { 0 };
		struct heard heard = { 0 };

		cr_expect_eq(pen_verify(cases[i].dir, hear_one, &heard, &why), cases[i].code, "%s",
			     cases[i].dir);
		cr_expect_eq(why.code, cases[i].code);
		cr_expect(why.text[0]);
		cr_expect_eq(heard.calls, 0);
	}
}

Test(audit, an_environment_of_another_program_is_no_store)
{
	struct shop other = { .dir = "" };
	struct pen_failure why = { 0 };
	struct heard heard = { 0 };
	struct raw raw;

	snprintf(other.top, sizeof(other.top), "/tmp/pen-shop-XXXXXX");
	cr_assert(mkdtemp(other.top));
	snprintf(other.dir, sizeof(other.dir), "%s", other.top);
	cr_expect_eq(pen_verify(other.dir, hear_one, &heard, &why), -PEN_STORE_MISSING);
	raw_begin(&other, &raw);
	raw_db(&raw, "theirs", MDB_CREATE);
	raw_commit(&raw);
	cr_expect_eq(pen_verify(other.dir, hear_one, &heard, NULL), -PEN_STORE_FOREIGN);
	cr_expect_eq(heard.calls, 0);
	shop_remove(&other);
}

Test(audit, a_newer_format_is_refused)
{
	struct pen_failure why = { 0 };
	struct heard heard = { 0 };
	struct raw raw;
	uint8_t *value;
	size_t len;

	raw_begin(&shop, &raw);
	value = raw_get(&raw, "penstock.meta", "meta", 4, &len);
	value[offsetof(struct pen_fmt_meta, format)]++;
	raw_reseal(value, len);
	raw_put(&raw, "penstock.meta", "meta", 4, value, len);
	free(value);
	raw_commit(&raw);
	cr_expect_eq(pen_verify(shop.dir, hear_one, &heard, &why), -PEN_STORE_NEWER);
}

/* ---- the guard ----------------------------------------------------------------------------------- */

static int body_dies(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	(void)why;
	pen_audit_say(voice, PEN_INV_EVENTS, "before");
	pen_audit_place(voice, "dataset `%s`", "x");
	pen_audit_tick(voice);
	pen_audit_tick(voice);
	if (*(const int *)arg == 0)
		_exit(3);
	raise(*(const int *)arg);
	return 0;
}

Test(audit, a_child_that_dies_is_a_finding_with_its_place)
{
	static const struct {
		int signal;
		const char *says;
	} cases[] = {
		{ SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" }, { SIGABRT, "SIGABRT" }, { 0, "status 3" }
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct heard heard = { 0 };

		cr_expect_eq(pen_audit_guard(body_dies, &cases[i].signal, PEN_NS_PER_S, hear_one, &heard,
					     NULL),
			     2);
		cr_expect_eq(heard.by[PEN_INV_EVENTS], 1);
		cr_expect(strstr(heard.text[PEN_INV_PAGES], "dataset `x`"));
		cr_expect(strstr(heard.text[PEN_INV_PAGES], cases[i].says), "%s", heard.text[PEN_INV_PAGES]);
		cr_expect(strstr(heard.text[PEN_INV_PAGES], "entry 2"));
	}
}

static int body_hangs(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	(void)arg;
	(void)why;
	pen_audit_place(voice, "somewhere");
	for (;;)
		pause();
	return 0;
}

Test(audit, a_child_that_stands_still_is_ended)
{
	struct heard heard = { 0 };

	cr_assert_eq(pen_audit_guard(body_hangs, NULL, PEN_NS_PER_S / 10, hear_one, &heard, NULL), 1);
	cr_assert(strstr(heard.all, "somewhere: the check got nowhere"), "%s", heard.all);
}

static int body_says_much(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	char text[2000];

	(void)arg;
	(void)why;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (unsigned i = 0; i < 250; i++)
		pen_audit_say(voice, PEN_INV_KEYS, "%u %s", i, text);
	pen_audit_say(voice, PEN_INV_FEEDER, "one");
	return 0;
}

Test(audit, findings_of_one_invariant_are_capped_and_counted)
{
	struct heard heard = { 0 };

	cr_assert_eq(pen_audit_guard(body_says_much, NULL, PEN_NS_PER_S, hear_one, &heard, NULL), 251);
	cr_assert_eq(heard.by[PEN_INV_KEYS], PEN_AUDIT_REPORTS + 1);
	cr_assert_eq(heard.by[PEN_INV_FEEDER], 1);
}

static int body_fails(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	(void)voice;
	(void)arg;
	return pen_fail(why, -PEN_STORE_NEWER, 5, "told %s", "why");
}

Test(audit, a_body_that_cannot_run_gives_its_code)
{
	struct pen_failure why = { 0 };
	struct heard heard = { 0 };

	cr_assert_eq(pen_audit_guard(body_fails, NULL, PEN_NS_PER_S, hear_one, &heard, &why),
		     -PEN_STORE_NEWER);
	cr_assert_eq(heard.calls, 0);
	cr_assert_eq(why.code, -PEN_STORE_NEWER);
	cr_assert_eq(why.os_errno, 5);
	cr_assert_str_eq(why.text, "told why");
}
