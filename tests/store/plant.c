/* SPDX-License-Identifier: MIT */
#include "tests/store/plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/store_private.h"

#define must(rc)                                                 \
	do {                                                     \
		int must_rc = (rc);                              \
		cr_assert(must_rc == 0, "%s: %d", #rc, must_rc); \
	} while (0)

void shop_make(struct shop *shop)
{
	snprintf(shop->top, sizeof(shop->top), "/tmp/pen-shop-XXXXXX");
	cr_assert(mkdtemp(shop->top));
	snprintf(shop->dir, sizeof(shop->dir), "%s/s", shop->top);
	shop_open(shop);
}

void shop_open(struct shop *shop)
{
	struct pen_failure why = { 0 };
	int rc = pen_store_open(shop->dir, NULL, &shop->store, &why);

	cr_assert(rc == 0, "open: %d %s", rc, why.text);
}

void shop_close(struct shop *shop)
{
	pen_store_close(shop->store);
	shop->store = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void shop_remove(struct shop *shop)
{
	shop_close(shop);
	nftw(shop->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- filling ----------------------------------------------------------------------------------- */

size_t plant_key(const struct plan *plan, uint64_t seq, char ret_key[32])
{
	if (plan->key_kind == PEN_KEY_SEQ || plan->key_kind == PEN_KEY_OFFSET) {
		pen_put_be64(ret_key, seq);
		return 8;
	}
	return (size_t)snprintf(ret_key, 32, "key-%06llu", (unsigned long long)seq);
}

char *plant_value(uint64_t seq, size_t len)
{
	char *value = malloc(len + 1);

	cr_assert(value);
	for (size_t i = 0; i < len; i++)
		value[i] = (char)('a' + (seq * 7 + i) % 26);
	return value;
}

static void put_records(struct pen_dataset *ds, const struct plan *plan, uint64_t base)
{
	static struct pen_sum sums[PEN_BUCKETS];

	memset(sums, 0, sizeof(sums));
	for (unsigned i = 0; i < plan->records; i++) {
		size_t len = plan->value_len ? plan->value_len : 40, key_len;
		char *value = plant_value(base + i, len), key[32];
		enum pen_put put;

		key_len = plant_key(plan, base + (i < plan->records - plan->twice ? i : 0), key);
		must(pen_dataset_put(ds, key, key_len, value, len, false, PEN_DUP_REPLACE, &put));
		cr_assert(put == (i < plan->records - plan->twice ? PEN_PUT_NEW : PEN_PUT_REPLACED));
		pen_sum_add(&sums[pen_hash_bucket(key, key_len)], pen_hash_record(key, key_len, value, len));
		free(value);
	}
	pen_dataset_offer(ds, sums);
}

static void put_rows(struct pen_txn *txn, uint64_t id, const struct plan *plan)
{
	unsigned total = plan->rejected + plan->failed + plan->skipped;

	for (unsigned i = 0; i < total; i++) {
		struct pen_row row = {
			.batch = id,
			.seq = plan->records + i,
			.code = -PEN_JSON_BAD,
			.line = i + 1,
			.offset = 100 * i,
			.column = 3,
			.key = "k",
			.key_len = 1,
			.raw = "{bad",
			.raw_len = 4,
			.raw_total = 4,
			.attempts = 1,
			.state = PEN_ITEM_REJECTED,
		};
		if (i >= plan->rejected)
			row.state = PEN_ITEM_FAILED;
		if (i >= plan->rejected + plan->failed) {
			row.state = PEN_ITEM_SKIPPED;
			row.code = -PEN_DUPLICATE_KEPT;
		}
		must(pen_item_put(txn, &row));
	}
}

uint64_t plant_batch(struct pen_store *store, const struct plan *plan)
{
	static const char sources[] = "one.ndjson", labels[] = "a=1\0b=2";
	struct pen_standing standing = { 0 };
	struct pen_fmt_state *s = &standing.fixed;
	struct pen_failure why = { 0 };
	struct pen_facts facts = {
		.dataset = plan->dataset,
		.key = "/id",
		.owner = "me",
		.correlation_id = "c",
		.idempotency_key = "",
		.sources = sources,
		.sources_len = sizeof(sources) - 1,
		.labels = labels,
		.labels_len = sizeof(labels) - 1,
	};
	struct pen_dataset *ds;
	struct pen_txn *txn;
	uint64_t id;

	must(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, &why));
	id = pen_ledger_new_id(txn);
	must(pen_dataset_use(txn, plan->dataset, plan->key_kind, &ds, &why));
	facts.fixed.id = s->id = id;
	facts.fixed.identity[0] = plan->identity;
	facts.fixed.created_ms = 1700000000000;
	facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.seq_base = pen_dataset_next_seq(ds);
	facts.fixed.bytes_total = 5000;
	facts.fixed.format = PEN_FORMAT_NDJSON;
	facts.fixed.key_kind = (uint8_t)plan->key_kind;
	s->state = (uint8_t)plan->state;
	s->applied = (struct pen_fmt_counters){
		.items = plan->records + plan->rejected + plan->failed + plan->skipped,
		.committed = plan->records,
		.rejected = plan->rejected,
		.failed = plan->failed,
		.skipped = plan->skipped,
		.duplicates = plan->twice,
		.bytes = 4000,
	};
	s->counted = s->applied;
	s->place_offset = 4000;
	s->place_line = s->applied.items;
	s->started_ms = s->updated_ms = facts.fixed.created_ms;
	put_records(ds, plan, facts.fixed.seq_base);
	put_rows(txn, id, plan);
	if (plan->key_kind == PEN_KEY_SEQ)
		pen_dataset_set_next_seq(ds, facts.fixed.seq_base + s->applied.items);
	if (plan->feeds)
		pen_dataset_set_feeder(ds, id);
	must(pen_dataset_save(ds));
	must(pen_ledger_create(txn, &facts, &standing));
	must(pen_journal_add(txn, id, PEN_EVENT_QUEUED, 0, 0, 0));
	must(pen_journal_add(txn, id, PEN_EVENT_STARTED, 0, 0, 0));
	must(pen_journal_add(txn, id, PEN_EVENT_CHECKPOINT, 0, 4000, s->applied.items));
	must(pen_txn_commit(txn, &why));
	return id;
}

/* ---- past penstock ----------------------------------------------------------------------------- */

void raw_begin(const struct shop *shop, struct raw *raw)
{
	must(mdb_env_create(&raw->env));
	must(mdb_env_set_maxdbs(raw->env, 64));
	must(mdb_env_set_mapsize(raw->env, 1u << 26));
	must(mdb_env_open(raw->env, shop->dir, 0, 0600));
	must(mdb_txn_begin(raw->env, NULL, 0, &raw->txn));
}

void raw_commit(struct raw *raw)
{
	must(mdb_txn_commit(raw->txn));
	mdb_env_close(raw->env);
}

MDB_dbi raw_db(struct raw *raw, const char *name, unsigned flags)
{
	MDB_dbi dbi;

	must(mdb_dbi_open(raw->txn, name, flags, &dbi));
	return dbi;
}

void raw_put(struct raw *raw, const char *db, const void *key, size_t key_len, const void *value, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { len, (void *)(uintptr_t)value };

	must(mdb_put(raw->txn, raw_db(raw, db, 0), &k, &v, 0));
}

void raw_del(struct raw *raw, const char *db, const void *key, size_t key_len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };

	must(mdb_del(raw->txn, raw_db(raw, db, 0), &k, NULL));
}

void *raw_get(struct raw *raw, const char *db, const void *key, size_t key_len, size_t *ret_len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v;
	void *copy;

	if (mdb_get(raw->txn, raw_db(raw, db, 0), &k, &v))
		return NULL;
	copy = malloc(v.mv_size + 1);
	cr_assert(copy);
	memcpy(copy, v.mv_data, v.mv_size);
	*ret_len = v.mv_size;
	return copy;
}

void *raw_get_id(struct raw *raw, const char *db, uint64_t id, size_t *ret_len)
{
	uint8_t key[8];

	pen_put_be64(key, id);
	return raw_get(raw, db, key, sizeof(key), ret_len);
}

void raw_put_id(struct raw *raw, const char *db, uint64_t id, const void *value, size_t len)
{
	uint8_t key[8];

	pen_put_be64(key, id);
	raw_put(raw, db, key, sizeof(key), value, len);
}

void raw_del_id(struct raw *raw, const char *db, uint64_t id)
{
	uint8_t key[8];

	pen_put_be64(key, id);
	raw_del(raw, db, key, sizeof(key));
}

void raw_edit_id(struct raw *raw, const char *db, uint64_t id, size_t at, const void *bytes, size_t len)
{
	size_t size;
	uint8_t *value = raw_get_id(raw, db, id, &size);

	cr_assert(value && at + len <= size);
	memcpy(value + at, bytes, len);
	raw_reseal(value, size);
	raw_put_id(raw, db, id, value, size);
	free(value);
}

void raw_flip(struct raw *raw, const char *db, const void *key, size_t key_len)
{
	size_t size;
	uint8_t *value = raw_get(raw, db, key, key_len, &size);

	cr_assert(value);
	value[size - 1] ^= 0x10;
	raw_put(raw, db, key, key_len, value, size);
	free(value);
}

void plant_item_key(uint8_t key[16], uint64_t id, uint64_t seq)
{
	pen_put_be64(key, id);
	pen_put_be64(key + 8, seq);
}

void raw_reseal(void *value, size_t len)
{
	struct pen_head head;

	memcpy(&head, value, sizeof(head));
	pen_seal(value, len, head.kind, head.version);
}

/* ---- a store with a bit of everything ----------------------------------------------------------- */

const struct plan plan_done = {
	.dataset = "alpha", .key_kind = PEN_KEY_SEQ, .state = PEN_COMPLETED, .records = 30, .identity = 1
};
const struct plan plan_mixed = { .dataset = "beta",
				 .key_kind = PEN_KEY_POINTER,
				 .state = PEN_STOPPED,
				 .records = 40,
				 .rejected = 3,
				 .failed = 2,
				 .skipped = 4,
				 .twice = 5,
				 .identity = 2 };
const struct plan plan_big = {
	.dataset = "big", .key_kind = PEN_KEY_OFFSET, .state = PEN_COMPLETED, .records = 3, .value_len = 9000
};
const struct plan plan_feeder = { .dataset = "gamma",
				  .key_kind = PEN_KEY_SEQ,
				  .state = PEN_RUNNING,
				  .records = 10,
				  .rejected = 1,
				  .feeds = true,
				  .identity = 3 };

void shop_fill(struct shop *shop, uint64_t *ret_done, uint64_t *ret_mixed, uint64_t *ret_feeder)
{
	shop_make(shop);
	*ret_done = plant_batch(shop->store, &plan_done);
	*ret_mixed = plant_batch(shop->store, &plan_mixed);
	plant_batch(shop->store, &plan_big);
	*ret_feeder = plant_batch(shop->store, &plan_feeder);
	shop_close(shop);
}

void hear_one(void *arg, int invariant, const char *text)
{
	struct heard *heard = arg;
	size_t used = strlen(heard->all);

	cr_assert(invariant > 0 && invariant < PEN_INV_COUNT);
	cr_assert(text[0] && !strchr(text, '\n'));
	heard->calls++;
	if (!heard->by[invariant]++)
		snprintf(heard->text[invariant], sizeof(heard->text[0]), "%s", text);
	snprintf(heard->all + used, sizeof(heard->all) - used, "%d: %s\n", invariant, text);
}

const struct heard *shop_verify(const struct shop *shop)
{
	static struct heard heard;

	memset(&heard, 0, sizeof(heard));
	heard.ret = pen_verify(shop->dir, hear_one, &heard, &heard.why);
	return &heard;
}

uint8_t *file_read(const struct shop *shop, size_t *ret_len)
{
	char path[128];
	struct stat st;
	uint8_t *bytes;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", shop->dir);
	fd = open(path, O_RDONLY);
	cr_assert(fd >= 0 && !fstat(fd, &st));
	bytes = malloc((size_t)st.st_size);
	cr_assert(bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return bytes;
}

void file_write(const struct shop *shop, const uint8_t *bytes, size_t len)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", shop->dir);
	fd = open(path, O_WRONLY | O_TRUNC);
	cr_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

void shop_check_planted(const struct shop *shop, const struct planted *all, size_t count)
{
	size_t len;
	uint8_t *healthy = file_read(shop, &len);

	cr_assert_eq(shop_verify(shop)->ret, 0, "%s", shop_verify(shop)->all);
	for (size_t i = 0; i < count; i++) {
		const struct planted *p = &all[i];
		const struct heard *heard;
		struct raw raw;

		file_write(shop, healthy, len);
		raw_begin(shop, &raw);
		p->plant(&raw);
		raw_commit(&raw);
		heard = shop_verify(shop);
		cr_expect_gt(heard->ret, 0, "%s: %ld %s", p->name, heard->ret, heard->why.text);
		cr_expect(strstr(heard->all, p->says) && heard->by[p->invariant],
			  "%s: wanted %d `%s`, heard\n%s", p->name, p->invariant, p->says, heard->all);
	}
	file_write(shop, healthy, len);
	cr_expect_eq(shop_verify(shop)->ret, 0);
	free(healthy);
}
