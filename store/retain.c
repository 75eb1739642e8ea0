/* SPDX-License-Identifier: MIT */
#include "store/dataset.h"
#include "store/dedup.h"
#include "store/retain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/item.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/store_private.h"
#include "store/turn.h"

#define AGAIN_MS UINT64_C(3600000)

#define STEP_ROWS 1000u
#define STEP_BATCHES 64u
#define STEP_NS (10 * PEN_NS_PER_MS)
#define YIELD_NS (100 * PEN_NS_PER_MS)
#define FOUND_MAX 256u			 /* batches that are due, found by one look */
#define EPOCH_MS UINT64_C(1577836800000) /* of batch ids */
#define ID_MS_SHIFT 22

/* ---- a pass ----------------------------------------------------------------------------------- */

struct pass {
	struct pen_store *store;
	const struct pen_clean *what;
	struct pen_retain_rules rules;
	struct pen_cleaned *got;
	uint64_t now_ms, until_ns; /* until_ns: UINT64_MAX without a budget */
	uint64_t next;		   /* the lowest batch to look at */
	bool all_seen;		   /* none is left behind `next` */
	uint64_t found[FOUND_MAX];
	unsigned found_count, at;
	bool keys_done, events_done;
	/* Of the transaction in hand. */
	struct pen_txn *txn;
	struct pen_fmt_retention row;
	uint64_t began_ns;
	unsigned rows, batches;
	bool changed;
	struct {
		uint64_t id;
		int fd;
	} locks[STEP_BATCHES];
	unsigned lock_count;
	char spools[STEP_BATCHES][PEN_RETAIN_SPOOL_NAME]; /* they go once it has committed */
	unsigned spool_count;
};

enum verdict { KEEP, TRIM, REMOVE };

static uint64_t mono(const struct pass *p)
{
	return pen_mono_ns(pen_store_clock(p->store));
}

static uint64_t pages_bytes(struct pen_store *store, MDB_txn *mdb, enum pen_db db)
{
	MDB_stat stat;

	if (mdb_stat(mdb, store->db[db], &stat))
		return 0;
	return (uint64_t)store->page_size *
	       (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
}

static bool above_rows(const struct pass *p, MDB_txn *mdb)
{
	return pages_bytes(p->store, mdb, PEN_DB_ITEMS) > p->rules.rows_bytes;
}

static bool above_bytes(const struct pass *p, MDB_txn *mdb)
{
	return pages_bytes(p->store, mdb, PEN_DB_ITEMS) + pages_bytes(p->store, mdb, PEN_DB_BATCHES) +
		       pages_bytes(p->store, mdb, PEN_DB_STATES) >
	       p->rules.bytes;
}

/* A batch that says it runs and whose lock can be had was left behind by a process that died. */
static unsigned state_of(const struct pen_fmt_state *s)
{
	return s->state == PEN_RUNNING ? PEN_INTERRUPTED : s->state;
}

static uint64_t age_of(const struct pass *p, const struct pen_fmt_state *s, uint64_t created_ms)
{
	uint64_t end = pen_max(s->ended_ms, pen_max(s->updated_ms, created_ms));

	return p->now_ms > end ? p->now_ms - end : 0;
}

static enum verdict judge(const struct pass *p, MDB_txn *mdb, const struct pen_fmt_state *s,
			  uint64_t created_ms)
{
	unsigned state = state_of(s);
	uint64_t age = age_of(p, s, created_ms);

	if (!pen_retain_may(state))
		return KEEP;
	if (p->what->states ? p->what->states >> state & 1 : p->rules.keep_ms[state] != PEN_KEEP_FOREVER) {
		if (age >= p->rules.keep_ms[state] || (pen_ledger_over(state) && above_bytes(p, mdb)))
			return REMOVE;
	}
	/* The rows of a batch that can go on may still be wanted. */
	if (p->what->states || !pen_ledger_over(state) ||
	    s->applied.rejected + s->applied.failed + s->applied.skipped == 0)
		return KEEP;
	return age >= p->rules.rows_ms || above_rows(p, mdb) ? TRIM : KEEP;
}

/* Ids begin with the time, so batches above this one are too young for any rule but the budgets. */
static uint64_t young_id(const struct pass *p, MDB_txn *mdb)
{
	uint64_t least = p->rules.rows_ms;

	if (above_bytes(p, mdb) || above_rows(p, mdb))
		return UINT64_MAX;
	for (unsigned s = 0; s < PEN_STATE_SLOTS; s++)
		least = pen_min(least, p->rules.keep_ms[s]);
	if (least >= p->now_ms - EPOCH_MS)
		return 0;
	/* Ids may run a little ahead of the clock (ledger.c); the minute is for that. */
	return (p->now_ms - EPOCH_MS - least + 60000) << ID_MS_SHIFT;
}

static void count_due(struct pass *p, const struct pen_standing *s, enum verdict verdict,
		      const struct pen_fmt_trimmed *trimmed)
{
	const struct pen_fmt_counters *c = &s->fixed.applied;

	if (verdict == REMOVE)
		p->got->batches[state_of(&s->fixed)]++;
	p->got->rows += c->rejected + c->failed + c->skipped -
			pen_min(c->rejected + c->failed + c->skipped,
				trimmed->rejected + trimmed->failed + trimmed->skipped);
}

/* Looks from `next` on, in a snapshot, for batches that are due; a dry run counts them here. */
static int look(struct pass *p)
{
	uint8_t be[8];
	MDB_val key = { sizeof(be), be }, value;
	struct pen_fmt_trimmed trimmed;
	struct pen_standing standing;
	MDB_cursor *cur;
	uint64_t young, seen = 0;
	MDB_txn *mdb;
	int rc = pen_read_begin(p->store, &mdb);

	if (rc)
		return rc;
	p->found_count = p->at = 0;
	young = young_id(p, mdb);
	pen_put_be64(be, p->next);
	rc = pen_mdb_code(mdb_cursor_open(mdb, p->store->db[PEN_DB_STATES], &cur));
	if (rc) {
		pen_read_end(p->store, mdb);
		return rc;
	}
	for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE); !rc;
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
		uint64_t id = key.mv_size == 8 ? pen_get_be64(key.mv_data) : 0;
		enum verdict verdict;

		/* At least one is seen, however little time there is. */
		if (id >= young || p->found_count == FOUND_MAX || (seen++ && mono(p) >= p->until_ns))
			break;
		rc = pen_ledger_decode_standing(value.mv_data, value.mv_size, id, &standing);
		if (!rc)
			rc = pen_retain_trimmed_read(p->store, mdb, id, &trimmed);
		if (rc)
			break;
		p->next = id + 1;
		verdict = judge(p, mdb, &standing.fixed, (id >> ID_MS_SHIFT) + EPOCH_MS);
		/* All rows are gone already. */
		if (verdict == TRIM && trimmed.below >= standing.fixed.applied.items)
			verdict = KEEP;
		if (verdict == KEEP)
			continue;
		if (p->what->dry_run)
			count_due(p, &standing, verdict, &trimmed);
		else
			p->found[p->found_count++] = id;
	}
	p->all_seen = rc == MDB_NOTFOUND || (!rc && pen_get_be64(key.mv_data) >= young);
	if (rc == MDB_NOTFOUND)
		rc = 0;
	mdb_cursor_close(cur);
	pen_read_end(p->store, mdb);
	return rc > 0 ? pen_mdb_code(rc) : rc;
}

/* ---- inside a transaction --------------------------------------------------------------------- */

static bool step_full(const struct pass *p)
{
	return p->rows >= STEP_ROWS || p->batches >= STEP_BATCHES || mono(p) - p->began_ns >= STEP_NS ||
	       mono(p) >= p->until_ns;
}

/* The one place where a row goes. */
static int drop_row(struct pass *p, const MDB_val *key, const MDB_val *value, struct pen_fmt_trimmed *t)
{
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	uint64_t batch, seq;
	int rc = pen_item_decode_try(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &item, &try,
				     &tail);

	if (rc)
		return rc;
	switch (item.state) {
	case PEN_ITEM_REJECTED:
		t->rejected++;
		break;
	case PEN_ITEM_FAILED:
	case PEN_ITEM_QUARANTINED:
		t->failed++;
		break;
	case PEN_ITEM_SKIPPED:
		t->skipped++;
		break;
	case PEN_ITEM_RETRYING:
		break; /* the job counts them */
	default:
		t->other++;
	}
	batch = pen_get_be64(key->mv_data);
	seq = pen_get_be64((const uint8_t *)key->mv_data + 8);
	t->below = seq + 1;
	p->got->rows++;
	p->got->rows_bytes += key->mv_size + value->mv_size;
	p->row.rows++;
	p->rows++;
	p->changed = true;
	return pen_retain_row(p->txn, batch, seq, item.state, try.due_ms);
}

/* Removes rows from the lowest item up: 1 when none is left, 0 when this transaction has done enough. */
static int trim(struct pass *p, uint64_t id, enum verdict verdict, struct pen_fmt_trimmed *t)
{
	for (;;) {
		uint8_t be[16];
		MDB_val key = { sizeof(be), be }, value;
		MDB_cursor *cur;
		int rc;

		if (p->rows >= STEP_ROWS || (p->rows % 16 == 15 && step_full(p)))
			return 0;
		/* By budget alone: no more than it takes. */
		if (verdict == TRIM && p->rules.rows_ms == PEN_KEEP_FOREVER && p->rows % 64 == 0 &&
		    !above_rows(p, p->txn->mdb))
			return 1;
		pen_put_be64(be, id);
		pen_put_be64(be + 8, t->below);
		rc = mdb_cursor_open(p->txn->mdb, p->store->db[PEN_DB_ITEMS], &cur);
		if (rc)
			return pen_mdb_code(rc);
		rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		mdb_cursor_close(cur);
		if (rc && rc != MDB_NOTFOUND)
			return pen_mdb_code(rc);
		if (rc || key.mv_size != 16 || pen_get_be64(key.mv_data) != id)
			return 1;
		rc = drop_row(p, &key, &value, t);
		if (rc)
			return rc;
	}
}

static int add_removed(struct pass *p, const struct pen_facts *facts, const struct pen_fmt_state *s)
{
	uint64_t entries = s->applied.committed - s->applied.duplicates;
	struct pen_fmt_dataset dataset;
	int rc = pen_dataset_row(p->store, p->txn->mdb, facts->dataset, &dataset);

	if (rc == -PEN_NO_DATASET || (!rc && dataset.id != facts->fixed.dataset_id))
		return 0; /* dropped meanwhile */
	return rc ? rc : pen_dataset_others(p->txn, facts->fixed.dataset_id, (int64_t)entries);
}

/* Facts, state and all that points at them: the batch is gone with this transaction. */
static int remove_batch(struct pass *p, const struct pen_facts *facts, const struct pen_fmt_state *s,
			uint64_t rows)
{
	uint8_t be[8], trimmed[PEN_RETAIN_KEY_LEN];
	uint64_t found, id = facts->fixed.id;
	int rc;

	pen_put_be64(be, id);
	pen_retain_key(trimmed, PEN_TRIMMED_KEY, id);
	rc = pen_ledger_over(s->state) ? 0 : pen_ledger_release_feeder(p->txn, facts, NULL);
	if (!rc)
		rc = add_removed(p, facts, s);
	if (!rc && !pen_ledger_find(p->txn, facts->fixed.identity, &found) && found == id)
		rc = pen_retain_del(p->txn, PEN_DB_IDENTITY, facts->fixed.identity, 16);
	if (!rc)
		rc = pen_retain_rest(p->txn, facts, s);
	if (!rc)
		rc = pen_retain_del(p->txn, PEN_DB_STATES, be, sizeof(be));
	if (!rc)
		rc = pen_retain_del(p->txn, PEN_DB_BATCHES, be, sizeof(be));
	if (!rc)
		rc = pen_retain_del(p->txn, PEN_DB_META, trimmed, sizeof(trimmed));
	if (!rc)
		rc = pen_journal_add(p->txn, id, PEN_EVENT_CLEANED, 0, s->applied.bytes, rows);
	if (rc)
		return rc;
	if (pen_retain_spool(facts, p->spools[p->spool_count]))
		p->spool_count++;
	p->got->batches[state_of(s)]++;
	p->row.batches++;
	p->batches++;
	p->changed = true;
	return 0;
}

static bool owed(const struct pass *p, uint64_t id)
{
	char name[64];

	/* Also under the name it has while it is written (engine/owed.c). */
	snprintf(name, sizeof(name), "staging/after.%016" PRIx64, id);
	if (!faccessat(p->store->dir_fd, name, F_OK, 0))
		return true;
	snprintf(name, sizeof(name), "staging/after.%016" PRIx64 ".new", id);
	return !faccessat(p->store->dir_fd, name, F_OK, 0);
}

/* Its children, which have ended, forget it: 1 when all have, 0 when this transaction has done enough. */
static int strike(struct pass *p, uint64_t id)
{
	unsigned n;
	int rc;

	if (p->rows >= STEP_ROWS)
		return 0;
	rc = pen_retain_strike(p->txn, id, STEP_ROWS - p->rows, &n);
	p->rows += n;
	p->changed |= n > 0;
	return rc;
}

/* The batch with its lock held: 1 when it is dealt with, 0 when there is more to do. */
static int settle(struct pass *p, uint64_t id)
{
	struct pen_fmt_trimmed t = { 0 };
	struct pen_standing standing;
	uint8_t key[PEN_RETAIN_KEY_LEN];
	struct pen_facts *facts;
	enum verdict verdict;
	uint64_t rows, taken;
	int rc = pen_ledger_load(p->txn, id, &facts, &standing), done;

	if (rc)
		return rc == -PEN_NOT_FOUND ? 1 : rc; /* another process was faster */
	verdict = judge(p, p->txn->mdb, &standing.fixed, (id >> ID_MS_SHIFT) + EPOCH_MS);
	rc = verdict == KEEP ? 1 : pen_retain_trimmed_read(p->store, p->txn->mdb, id, &t);
	if (rc) {
		free(facts);
		return rc;
	}
	rows = p->rows;
	done = trim(p, id, verdict, &t);
	taken = p->rows - rows;
	if (done > 0 && verdict == REMOVE)
		done = strike(p, id);
	if (done > 0 && verdict == REMOVE)
		rc = remove_batch(p, facts, &standing.fixed, t.rejected + t.failed + t.skipped + t.other);
	else if (done >= 0 && taken) {
		pen_retain_key(key, PEN_TRIMMED_KEY, id);
		rc = pen_retain_row_write(p->txn, key, sizeof(key), PEN_KIND_TRIMMED, &t, sizeof(t));
		if (!rc && verdict == TRIM)
			rc = pen_journal_add(p->txn, 0, PEN_EVENT_CLEANED, 0, 0, taken);
	}
	free(facts);
	return rc ? rc : done;
}

/* Takes the lock, which is held until the transaction has ended: 1 or 0 as settle. */
static int visit_batch(struct pass *p, uint64_t id)
{
	uint32_t pid;
	bool needed;
	int fd, rc;

	rc = pen_retain_needed(p->txn, id, &needed);
	if (rc)
		return rc;
	if (needed || owed(p, id)) {
		p->got->kept++;
		return 1;
	}
	rc = pen_lock_batch(p->store, id, &fd, &pid);
	if (rc == -PEN_BATCH_BUSY) {
		p->got->kept++;
		return 1;
	}
	if (rc)
		return rc;
	p->locks[p->lock_count].id = id;
	p->locks[p->lock_count++].fd = fd;
	return settle(p, id);
}

static int visit_batches(struct pass *p)
{
	while (p->at < p->found_count && p->lock_count < STEP_BATCHES) {
		int rc = visit_batch(p, p->found[p->at]);

		if (rc <= 0)
			return rc;
		p->at++;
		if (step_full(p))
			break;
	}
	return 0;
}

/* ---- events ----------------------------------------------------------------------------------- */

static bool event_due(const struct pass *p, uint64_t seq, const struct pen_fmt_event *e)
{
	uint8_t be[8];
	const void *value;
	size_t len;

	if (p->txn->meta.last_event - seq >= p->rules.events_max ||
	    (p->now_ms > e->time_ms && p->now_ms - e->time_ms >= p->rules.events_ms))
		return true;
	if (!e->batch || e->type == PEN_EVENT_CLEANED)
		return false;
	pen_put_be64(be, e->batch);
	return pen_txn_get(p->txn, PEN_DB_BATCHES, be, sizeof(be), &value, &len) == -PEN_NOT_FOUND;
}

/* From the front, as long as they are due. Sets events_done when the first one that stays is found. */
static int visit_events(struct pass *p)
{
	for (unsigned n = 1; n % 16 || !step_full(p); n++) {
		MDB_val key, value;
		struct pen_fmt_event event;
		MDB_cursor *cur;
		uint8_t be[8];
		uint64_t seq;
		int rc = mdb_cursor_open(p->txn->mdb, p->store->db[PEN_DB_EVENTS], &cur);

		if (rc)
			return pen_mdb_code(rc);
		rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST);
		mdb_cursor_close(cur);
		if (rc && rc != MDB_NOTFOUND)
			return pen_mdb_code(rc);
		p->events_done = rc == MDB_NOTFOUND;
		if (p->events_done)
			return 0;
		rc = pen_unseal(value.mv_data, value.mv_size, sizeof(event), PEN_KIND_EVENT);
		if (rc || key.mv_size != 8)
			return rc ? rc : -PEN_STORE_DAMAGED;
		memcpy(&event, value.mv_data, sizeof(event));
		memcpy(be, key.mv_data, sizeof(be));
		seq = pen_get_be64(be);
		p->events_done = !event_due(p, seq, &event);
		if (p->events_done)
			return 0;
		rc = pen_retain_del(p->txn, PEN_DB_EVENTS, be, sizeof(be));
		if (rc)
			return rc;
		p->row.first_event = seq + 1;
		p->got->events++;
		p->rows++;
		p->changed = true;
	}
	return 0;
}

/* ---- keys of submissions ------------------------------------------------------------------------ */

/* Those whose time is over, whatever became of their batches. */
static int visit_keys(struct pass *p)
{
	unsigned n;
	int rc;

	if (p->rows >= STEP_ROWS)
		return 0;
	rc = pen_dedup_expire(p->txn, p->now_ms, p->rows + 64 < STEP_ROWS ? 64 : STEP_ROWS - p->rows, &n);
	p->rows += n;
	p->changed |= n > 0;
	p->keys_done = rc == 1;
	return rc < 0 ? rc : 0;
}

/* ---- all -------------------------------------------------------------------------------------- */

static bool all_done(const struct pass *p)
{
	return p->all_seen && p->at == p->found_count && p->keys_done && p->events_done;
}

/* A pass that was asked for more or less than the rules say is not the one that is due every hour. */
static bool by_the_rules(const struct pass *p)
{
	return !p->what->states && !p->what->has_older && !p->what->bytes;
}

static int step_in(struct pass *p)
{
	int rc = pen_retain_read(p->store, p->txn->mdb, &p->row);

	if (!rc)
		rc = visit_batches(p);
	if (!rc && p->at == p->found_count && p->all_seen) {
		while (!rc && !p->keys_done && (!p->rows || !step_full(p)))
			rc = visit_keys(p);
		if (!rc && p->keys_done && (!p->rows || !step_full(p)))
			rc = visit_events(p);
	}
	if (!rc && p->events_done)
		rc = pen_retain_history(p->txn, p->rules.events_ms, p->now_ms, &p->changed);
	if (rc || !by_the_rules(p))
		return rc ? rc : p->changed ? pen_retain_write(p->txn, &p->row) : 0;
	if (all_done(p)) {
		p->row.cleaned_ms = p->now_ms;
		p->row.next_batch = 0;
		p->changed = true;
	} else if (p->changed || mono(p) >= p->until_ns) {
		p->row.next_batch = p->at < p->found_count ? p->found[p->at] : p->next;
		p->changed = true;
	}
	return p->changed ? pen_retain_write(p->txn, &p->row) : 0;
}

/* One transaction. What it counted is taken back when it does not commit. */
static int step(struct pass *p, struct pen_failure *why)
{
	struct pen_cleaned before = *p->got;
	int rc = pen_txn_begin(p->store, PEN_DURABLE_COMMIT, &p->txn, NULL, why);

	if (rc)
		return rc;
	p->began_ns = mono(p);
	p->rows = p->batches = p->lock_count = p->spool_count = 0;
	p->changed = false;
	rc = step_in(p);
	if (rc) {
		pen_fail(why, rc, 0, "old batches cannot be removed");
		pen_txn_abort(p->txn);
	} else if (p->changed) {
		rc = pen_txn_commit(p->txn, why);
	} else {
		pen_txn_abort(p->txn);
	}
	if (rc)
		*p->got = before;
	for (unsigned i = 0; i < p->spool_count && !rc; i++)
		pen_retain_spool_drop(p->store, p->spools[i]);
	while (p->lock_count) {
		p->lock_count--;
		pen_lock_release(p->store, p->locks[p->lock_count].id, p->locks[p->lock_count].fd);
	}
	if (!rc)
		pen_turn_yield(p->store, YIELD_NS);
	return rc;
}

static int pass_run(struct pass *p, struct pen_failure *why)
{
	int rc = 0;

	while (!rc && !all_done(p)) {
		if (p->at == p->found_count && !p->all_seen) {
			rc = look(p);
			if (rc)
				return pen_fail(why, rc, 0, "the batches cannot be read");
		}
		if (p->what->dry_run) {
			p->keys_done = p->events_done = true;
		} else if (!rc) {
			rc = step(
				p,
				why); /* also when nothing was found in time: it notes how far the look came */
		}
		/* A budget ends the pass here, and always behind a whole step. */
		if (!rc && mono(p) >= p->until_ns && !all_done(p))
			return 0;
	}
	p->got->whole = !rc;
	if (!rc && !p->what->dry_run)
		pen_retain_sweep(p->store, p->now_ms, p->until_ns);
	return rc;
}

static int pass_begin(struct pass *p, struct pen_store *store, const struct pen_clean *what,
		      struct pen_cleaned *got)
{
	struct pen_fmt_retention row;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_retain_read(store, mdb, &row);
	pen_read_end(store, mdb);
	if (rc)
		return rc;
	*p = (struct pass){
		.store = store,
		.what = what,
		.got = got,
		.now_ms = pen_max(pen_real_ms(pen_store_clock(store)), EPOCH_MS),
		.until_ns = UINT64_MAX,
		.row = row,
	};
	pen_retain_rules_of(&row, &p->rules);
	if (what->budget_ns) {
		p->until_ns = mono(p) + what->budget_ns;
		p->next = row.next_batch;
	}
	for (unsigned s = 0; s < PEN_STATE_SLOTS; s++) {
		/* A state that was named is asked for, whatever the rules say; then the standard age counts. */
		if (what->states && !(what->states >> s & 1))
			p->rules.keep_ms[s] = PEN_KEEP_FOREVER;
		else if (what->states && p->rules.keep_ms[s] == PEN_KEEP_FOREVER)
			p->rules.keep_ms[s] = PEN_RETAIN_KEEP_MS;
		if (what->has_older && p->rules.keep_ms[s] != PEN_KEEP_FOREVER)
			p->rules.keep_ms[s] = what->older_ms;
	}
	if (what->bytes)
		p->rules.bytes = what->bytes;
	return 0;
}

int pen_retain_clean(struct pen_store *store, const struct pen_clean *what, struct pen_cleaned *ret,
		     struct pen_failure *why)
{
	struct pass *p;
	int rc;

	if (what->size < sizeof(*what) || ret->size < sizeof(*ret))
		return pen_fail(why, -EINVAL, EINVAL, "the request is of another version");
	for (unsigned s = 0; s < 32; s++)
		if (what->states >> s & 1 && !pen_retain_may(s))
			return pen_fail(why, -PEN_USAGE, 0, "batches in state %s are never removed",
					pen_state_name(s));
	*ret = (struct pen_cleaned){ .size = sizeof(*ret) };
	p = malloc(sizeof(*p));
	if (!p)
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "no memory to clean with");
	rc = pass_begin(p, store, what, ret);
	rc = rc ? pen_fail(why, rc, 0, "the rules of retention cannot be read") : pass_run(p, why);
	free(p);
	return rc;
}

/* When the last whole pass ended. A store that was given no rules has nothing to remove in its first hour. */
static int last_ms(struct pen_store *store, uint64_t *ret)
{
	struct pen_fmt_retention row;
	struct pen_fmt_meta meta;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_retain_read(store, mdb, &row);
	if (!rc)
		rc = pen_meta_read(store, mdb, &meta);
	pen_read_end(store, mdb);
	if (!rc)
		*ret = row.head.kind ? row.cleaned_ms : meta.created_ms;
	return rc;
}

int pen_retain_some(struct pen_store *store, uint64_t budget_ns)
{
	struct pen_clean what = { .size = sizeof(what), .budget_ns = pen_max(budget_ns, (uint64_t)1) };
	struct pen_cleaned got = { .size = sizeof(got) };
	uint64_t now = pen_real_ms(pen_store_clock(store)), last;
	int rc = store->read_only ? 0 : last_ms(store, &last);

	if (rc || store->read_only)
		return rc;
	/* A clock that was set back does not stop it for longer than an hour. */
	if (last && now < last + AGAIN_MS && now + AGAIN_MS > last)
		return 0;
	rc = pen_retain_clean(store, &what, &got, NULL);
	return rc ? rc : 1;
}
