/* SPDX-License-Identifier: MIT */
/*
 * plant - small stores for the tests of this room, and hands that reach into them past penstock
 *
 * A shop is a store in a new directory under /tmp. plant_batch fills one through the room's own calls, the way an
 * engine does. The raw_ functions open a closed store with LMDB alone and change what they like.
 */
#ifndef PEN_TESTS_STORE_PLANT_H
#define PEN_TESTS_STORE_PLANT_H

#include <lmdb.h>

#include "store/audit.h"
#include "store/dataset.h"
#include "store/item.h"
#include "store/journal.h"
#include "store/ledger.h"

struct shop {
	char top[64]; /* what is removed in the end */
	char dir[80];
	struct pen_store *store;
};

void shop_make(struct shop *shop);   /* a new directory, the store open */
void shop_open(struct shop *shop);   /* opens it again */
void shop_close(struct shop *shop);  /* closes the store, keeps the directory */
void shop_remove(struct shop *shop); /* all of it */

struct plan {
	const char *dataset;
	enum pen_key key_kind;
	enum pen_state state;
	unsigned records, rejected, failed, skipped; /* items, in this order */
	unsigned twice;	  /* this many of the records get the key of the first one */
	size_t value_len; /* 0: 40 */
	uint8_t identity; /* first byte of the identity; 0: none */
	bool feeds;	  /* stays the feeder of its dataset */
};
uint64_t plant_batch(struct pen_store *store, const struct plan *plan);

/* What a record of plant_batch holds. ret_key takes 8 bytes or text; returns its length. */
size_t plant_key(const struct plan *plan, uint64_t seq, char ret_key[32]);
char *plant_value(uint64_t seq, size_t len); /* malloc'ed */

/* A write transaction of LMDB alone on the closed store. */
struct raw {
	MDB_env *env;
	MDB_txn *txn;
};
void raw_begin(const struct shop *shop, struct raw *raw);
void raw_commit(struct raw *raw);
MDB_dbi raw_db(struct raw *raw, const char *name, unsigned flags);
void raw_put(struct raw *raw, const char *db, const void *key, size_t key_len, const void *value, size_t len);
void raw_del(struct raw *raw, const char *db, const void *key, size_t key_len);
/* The value (NULL when absent), malloc'ed, to be changed and put back. */
void *raw_get(struct raw *raw, const char *db, const void *key, size_t key_len, size_t *ret_len);
/* The same with a u64 key. */
void *raw_get_id(struct raw *raw, const char *db, uint64_t id, size_t *ret_len);
void raw_put_id(struct raw *raw, const char *db, uint64_t id, const void *value, size_t len);
void raw_del_id(struct raw *raw, const char *db, uint64_t id);
/* Changes bytes of a sealed value; flips a bit of one, and leaves its seal. */
void raw_edit_id(struct raw *raw, const char *db, uint64_t id, size_t at, const void *bytes, size_t len);
void raw_flip(struct raw *raw, const char *db, const void *key, size_t key_len);
void plant_item_key(uint8_t key[16], uint64_t id, uint64_t seq);
/* Seals again a value that was changed. */
void raw_reseal(void *value, size_t len);

/* A filled store, left closed: a batch of each kind, and their ids. */
extern const struct plan plan_done, plan_mixed, plan_big, plan_feeder;
void shop_fill(struct shop *shop, uint64_t *ret_done, uint64_t *ret_mixed, uint64_t *ret_feeder);

/* What pen_verify said. */
struct heard {
	long ret;
	unsigned calls, by[PEN_INV_COUNT];
	char text[PEN_INV_COUNT][512]; /* the first of each */
	char all[4096];
	struct pen_failure why;
};
void hear_one(void *arg, int invariant, const char *text);
const struct heard *shop_verify(const struct shop *shop); /* until the next call */

/* A violation, made by hand in a sound store, and what verify must say of it. */
struct planted {
	const char *name;
	void (*plant)(struct raw *raw);
	enum pen_invariant invariant;
	const char *says; /* part of the sentence */
};
/* Each by itself; the store is sound before and after. */
void shop_check_planted(const struct shop *shop, const struct planted *all, size_t count);

/* data.mdb, whole; malloc'ed. */
uint8_t *file_read(const struct shop *shop, size_t *ret_len);
void file_write(const struct shop *shop, const uint8_t *bytes, size_t len);

#endif
