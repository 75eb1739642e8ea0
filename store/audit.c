/* SPDX-License-Identifier: MIT */
/*
 * audit - the file, the walk, the free list, and the order of it all
 *
 * Runs in a child (verify.c), so a page that leads LMDB astray ends this process and nothing else. Loops
 * cannot last: a walk ends at the first key that is not above the one before.
 *
 * The file may be shorter than its last page number says: LMDB takes numbers for pages that it frees again
 * in the same transaction, and never writes them. Such pages are on the free list; any other missing page
 * is damage.
 */
#include "store/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ring/base.h"

#define MAP_SLACK (UINT64_C(1) << 30) /* for what other processes append before the snapshot is taken */
#define DBS_MAX 4096u		      /* handles: datasets and foreign databases */
#define MAX_KEY 511u		      /* of LMDB */

/* ---- LMDB's meta pages, read as bytes ------------------------------------------------------------ */

#define P_LEAF 0x02u
#define P_META 0x08u
#define PAGE_HEAD 16u
#define MDB_MAGIC_NUMBER 0xbeefc0deu
#define NO_PAGE UINT64_MAX

struct meta_db {
	uint32_t pad;
	uint16_t flags, depth;
	uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta_page {
	uint64_t number;
	uint16_t pad, flags, lower, upper;
	uint32_t magic, version;
	uint64_t address, map_bytes;
	struct meta_db free_db, main_db;
	uint64_t last_page, txn;
};
_Static_assert(sizeof(struct meta_page) == 152, "LMDB's layout");

static bool root_sane(const struct meta_db *db, uint64_t last_page)
{
	return db->root == NO_PAGE ? db->entries == 0 : db->root >= 2 && db->root <= last_page;
}

static bool roots_sane(const struct meta_page *m)
{
	return root_sane(&m->free_db, m->last_page) && root_sane(&m->main_db, m->last_page);
}

static const char *meta_flaw(const struct meta_page *m, unsigned i, uint32_t page_size)
{
	if (m->magic != MDB_MAGIC_NUMBER)
		return "has no magic number";
	if (m->version != 1)
		return "is of an unknown data version";
	if (m->number != i || m->flags != P_META)
		return "does not say that it is this meta page";
	if (m->free_db.pad != page_size || !pen_is_pow2(page_size) || page_size < 512 || page_size > 65536)
		return "has another page size";
	if (m->last_page < 1 || m->last_page >= UINT64_MAX / page_size - 1)
		return "has an impossible last page";
	if (m->free_db.flags != MDB_INTEGERKEY || m->main_db.flags)
		return "has flags that no store has";
	/* A transaction writes the page of its number's parity. */
	if (m->txn && (m->txn & 1) != i)
		return "carries a transaction of the other one";
	return NULL;
}

/* Reads both pages: -1 when they are not there. */
static int read_metas(int fd, struct meta_page meta[2], uint32_t *ret_page_size)
{
	uint32_t page_size;

	if (pread(fd, &meta[0], sizeof(meta[0]), 0) != sizeof(meta[0]))
		return -1;
	page_size = meta[0].free_db.pad;
	if (!pen_is_pow2(page_size) || page_size < 512 || page_size > 65536)
		page_size = 4096;
	*ret_page_size = page_size;
	return pread(fd, &meta[1], sizeof(meta[1]), page_size) == sizeof(meta[1]) ? 0 : -1;
}

/*
 * The transaction that made a snapshot, by its own account: every commit frees the pages it replaced under its number,
 * the highest of the free list. Follows the last child from the root, by bytes. 0: it cannot be told.
 */
static uint64_t last_freed(int fd, const struct meta_page *m, uint32_t page_size)
{
	uint64_t page_no = m->free_db.root, txn = 0;
	uint16_t head[4], offset, node[4]; /* head: pad, flags, lower, upper; node: lo, hi, flags, key size */

	for (int depth = 0; depth < 32 && page_no <= m->last_page; depth++) {
		uint64_t at = page_no * page_size;

		if (pread(fd, head, 8, (off_t)at + 8) != 8 || head[2] < PAGE_HEAD + 2 ||
		    head[2] > page_size || pread(fd, &offset, 2, (off_t)(at + head[2] - 2)) != 2 ||
		    offset + 16u > page_size || pread(fd, node, 8, (off_t)(at + offset)) != 8)
			return 0;
		if (head[1] & P_LEAF)
			return node[3] == 8 && pread(fd, &txn, 8, (off_t)(at + offset + 8)) == 8 ? txn : 0;
		page_no = node[0] | (uint64_t)node[1] << 16 | (uint64_t)node[2] << 32;
	}
	return 0;
}

/* Invariant 1. False when there is nothing that LMDB could open. */
static bool check_file(struct pen_audit *audit, int fd)
{
	struct pen_audit_voice *voice = audit->voice;
	const struct timespec moment = { .tv_nsec = 20000000 };
	const char *flaw[2] = { NULL, NULL };
	struct meta_page meta[2];
	uint32_t page_size = 0;
	struct stat st;
	int newest = 0;

	/* A writer may be at work: a page that looks torn is read again. */
	for (int attempt = 0; attempt < 3; attempt++) {
		if (attempt)
			nanosleep(&moment, NULL);
		if (read_metas(fd, meta, &page_size)) {
			pen_audit_say(voice, PEN_INV_FILE, "data.mdb is shorter than its two meta pages");
			return false;
		}
		for (unsigned i = 0; i < 2; i++)
			flaw[i] = meta_flaw(&meta[i], i, page_size);
		/*
		 * The older page's roots are nobody's: when the disk refuses a meta page, LMDB writes the old
		 * number back beside the roots that did not come to be; the next commit overwrites both.
		 */
		newest = meta[1].txn > meta[0].txn;
		if (!flaw[newest] && !roots_sane(&meta[newest]))
			flaw[newest] = "has a root outside the file";
		if (!flaw[0] && !flaw[1])
			break;
	}
	for (unsigned i = 0; i < 2; i++)
		if (flaw[i])
			pen_audit_say(voice, PEN_INV_FILE, "meta page %u %s", i, flaw[i]);
	/* LMDB refuses to open the file when either has another magic, version or page size. */
	if (flaw[0] || flaw[1] || fstat(fd, &st))
		return false;
	/*
	 * A page whose number was altered has the later transaction's last page, which never sinks; one that the disk
	 * refused has its own again.
	 */
	if (meta[!newest].last_page >= meta[newest].last_page &&
	    last_freed(fd, &meta[!newest], page_size) == meta[newest].txn + 1)
		pen_audit_say(voice, PEN_INV_FILE, "meta page %d is altered: it hides transaction %" PRIu64,
			      !newest, meta[newest].txn + 1);
	audit->page_size = page_size;
	audit->file_size = (uint64_t)st.st_size;
	audit->last_page = meta[newest].last_page;
	audit->file_short = audit->file_size / page_size <= audit->last_page;
	return true;
}

/* ---- the walk ----------------------------------------------------------------------------------- */

struct walk {
	uint8_t last[MAX_KEY];
	size_t last_len;
	uint64_t entries, limit;
};

/* What is wrong with the next key, or NULL. Only plain databases have keys in byte order. */
static const char *key_flaw(struct walk *walk, const MDB_val *key, bool plain)
{
	size_t len = key->mv_size;
	int diff;

	if (!len || len > MAX_KEY)
		return "a key has an impossible length";
	if (++walk->entries > walk->limit)
		return "it has more entries than its pages can hold";
	if (!plain)
		return NULL;
	diff = memcmp(walk->last, key->mv_data, pen_min(len, walk->last_len));
	if (walk->entries > 1 && (diff > 0 || (diff == 0 && len <= walk->last_len)))
		return "its keys are out of order";
	memcpy(walk->last, key->mv_data, len);
	walk->last_len = len;
	return NULL;
}

static bool walk_entries(struct pen_audit *audit, MDB_dbi dbi, const char *what, bool plain,
			 pen_audit_visit *visit, void *arg, uint64_t *ret_entries)
{
	struct walk walk = { .limit = (audit->last_page + 1) * audit->page_size / 2 };
	MDB_val key = { 0 }, value = { 0 };
	const char *flaw = NULL;
	MDB_cursor *cur;
	MDB_stat stat;
	int rc;

	rc = mdb_cursor_open(audit->txn, dbi, &cur);
	if (!rc) {
		for (rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST); !rc;
		     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
			pen_audit_tick(audit->voice);
			flaw = key_flaw(&walk, &key, plain);
			if (flaw)
				break;
			if (visit)
				visit(audit, arg, &key, &value);
		}
		mdb_cursor_close(cur);
	}
	if (flaw || rc != MDB_NOTFOUND) {
		pen_audit_say(audit->voice, PEN_INV_PAGES, "%s cannot be walked past entry %" PRIu64 ": %s",
			      what, walk.entries, flaw ? flaw : mdb_strerror(rc));
		return false;
	}
	rc = mdb_stat(audit->txn, dbi, &stat);
	if (rc || stat.ms_entries != walk.entries)
		pen_audit_say(audit->voice, PEN_INV_PAGES, "%s has %" PRIu64 " entries, LMDB counts %zu",
			      what, walk.entries, rc ? (size_t)0 : stat.ms_entries);
	if (ret_entries)
		*ret_entries = walk.entries;
	return true;
}

bool pen_audit_walk(struct pen_audit *audit, const char *name, const char *what, pen_audit_visit *visit,
		    void *arg, uint64_t *ret_entries)
{
	bool own = visit != NULL;
	unsigned flags = 0;
	MDB_dbi dbi;
	int rc;

	pen_audit_place(audit->voice, "%s", what);
	rc = mdb_dbi_open(audit->txn, name, 0, &dbi);
	if (!rc)
		rc = mdb_dbi_flags(audit->txn, dbi, &flags);
	/* Foreign: rows that are no databases, and more databases than there are handles. */
	if (!own && (rc == MDB_INCOMPATIBLE || rc == MDB_DBS_FULL))
		return false;
	if (rc) {
		pen_audit_say(audit->voice, PEN_INV_PAGES, "%s cannot be opened: %s", what, mdb_strerror(rc));
		return false;
	}
	if (own && flags) {
		pen_audit_say(audit->voice, PEN_INV_DATABASES, "%s has flags (%#x) that penstock never gives",
			      what, flags);
		return false;
	}
	return walk_entries(audit, dbi, what, !flags, visit, arg, ret_entries);
}

/* ---- the free list ------------------------------------------------------------------------------ */

struct free_list {
	uint64_t pages;		/* on it */
	uint64_t first_missing; /* the first page that is not wholly in the file */
	uint64_t missing;	/* of those, how many are on the list */
	uint64_t last_txn;	/* the newest that freed something */
};

static bool visit_free(struct pen_audit *audit, struct free_list *list, const MDB_val *key,
		       const MDB_val *value)
{
	uint64_t txn = 0, count = 0, page;

	if (key->mv_size == sizeof(txn))
		memcpy(&txn, key->mv_data, sizeof(txn));
	if (value->mv_size >= sizeof(count))
		memcpy(&count, value->mv_data, sizeof(count));
	if (!txn || txn > mdb_txn_id(audit->txn) || value->mv_size < sizeof(count) ||
	    count > value->mv_size / sizeof(page) - 1)
		return false;
	for (uint64_t i = 1; i <= count; i++) {
		memcpy(&page, (const uint8_t *)value->mv_data + i * sizeof(page), sizeof(page));
		if (page < 2 || page > audit->last_page)
			return false;
		list->missing += page >= list->first_missing;
	}
	list->pages += count;
	list->last_txn = txn;
	return true;
}

/* Invariants 1 (a short file) and 16 (the free list). */
static void check_free_list(struct pen_audit *audit)
{
	struct free_list list = { .first_missing = audit->file_size / audit->page_size };
	MDB_val key, value;
	MDB_cursor *cur;
	int rc;

	pen_audit_place(audit->voice, "the free list");
	rc = mdb_cursor_open(audit->txn, 0, &cur);
	if (!rc) {
		uint64_t limit = audit->last_page, entries = 0;

		for (rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST); !rc;
		     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
			pen_audit_tick(audit->voice);
			if (++entries > limit || !visit_free(audit, &list, &key, &value)) {
				rc = MDB_CORRUPTED;
				break;
			}
		}
		mdb_cursor_close(cur);
	}
	if (rc != MDB_NOTFOUND)
		pen_audit_say(audit->voice, PEN_INV_PAGES, "the list of free pages is damaged: %s",
			      mdb_strerror(rc));
	else if (list.pages > audit->last_page - 1)
		pen_audit_say(audit->voice, PEN_INV_PAGES, "%" PRIu64 " pages are free of %" PRIu64,
			      list.pages, audit->last_page - 1);
	/* Every commit replaces pages, and frees those; so an older meta page that claims to be the newest is seen. */
	if (rc == MDB_NOTFOUND && mdb_txn_id(audit->txn) > 1 && list.last_txn != mdb_txn_id(audit->txn))
		pen_audit_say(audit->voice, PEN_INV_FILE,
			      "the newest meta page claims transaction %zu, but was written by %" PRIu64,
			      mdb_txn_id(audit->txn), list.last_txn);
	if (audit->file_short && list.missing != audit->last_page + 1 - list.first_missing)
		pen_audit_say(audit->voice, PEN_INV_FILE,
			      "data.mdb is cut short: %" PRIu64 " bytes, but pages in use reach to %" PRIu64,
			      audit->file_size, (audit->last_page + 1) * audit->page_size);
}

/* ---- the meta row ------------------------------------------------------------------------------- */

static void visit_meta(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	(void)arg;
	if (pen_audit_staged_row(audit, key, value) || pen_audit_retain_row(audit, key, value) ||
	    pen_audit_dedup_row(audit, key, value) || pen_audit_policy_row(audit, key, value))
		return;
	if (key->mv_size != strlen(PEN_META_KEY) || memcmp(key->mv_data, PEN_META_KEY, key->mv_size) != 0) {
		pen_audit_say(audit->voice, PEN_INV_META,
			      "penstock.meta has a row that does not belong there");
		return;
	}
	if (value->mv_size != sizeof(audit->meta) ||
	    pen_unseal(value->mv_data, value->mv_size, sizeof(audit->meta), PEN_KIND_META)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.meta, `" PEN_META_KEY "`: the value is damaged");
		return;
	}
	memcpy(&audit->meta, value->mv_data, sizeof(audit->meta));
	audit->has_meta = true;
}

/* Invariant 2. */
static int check_meta(struct pen_audit *audit, struct pen_failure *why)
{
	uint64_t entries = 0;

	if (!pen_audit_walk(audit, pen_db_names[PEN_DB_META], pen_db_names[PEN_DB_META], visit_meta, NULL,
			    &entries))
		return 0;
	/* A damaged one was counted, and said so. */
	if (!entries || (!audit->has_meta && entries == audit->notes_seen))
		pen_audit_say(audit->voice, PEN_INV_META, "penstock.meta has no row `" PEN_META_KEY "`");
	if (!audit->has_meta)
		return 0;
	if (audit->meta.format > PEN_FORMAT_VERSION)
		return pen_fail(why, -PEN_STORE_NEWER, 0,
				"the store has format %" PRIu32 ", this version knows %u", audit->meta.format,
				PEN_FORMAT_VERSION);
	if (!audit->meta.format)
		pen_audit_say(audit->voice, PEN_INV_META, "penstock.meta: format 0 does not exist");
	if (!audit->meta.store_id)
		pen_audit_say(audit->voice, PEN_INV_META, "penstock.meta: the store has no id");
	return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

/* LMDB found a page it cannot believe; it would print and abort. */
static void gave_up(MDB_env *env, const char *text)
{
	struct pen_audit *audit = mdb_env_get_userctx(env);

	snprintf(audit->voice->where->detail, sizeof(audit->voice->where->detail), "%s", text);
	abort();
}

static int open_once(struct pen_audit *audit, const char *dir, uint64_t map_bytes)
{
	int rc = mdb_env_create(&audit->env);

	if (rc)
		return rc;
	mdb_env_set_userctx(audit->env, audit);
	mdb_env_set_assert(audit->env, gave_up);
	mdb_env_set_maxdbs(audit->env, DBS_MAX);
	mdb_env_set_mapsize(audit->env, map_bytes);
	rc = mdb_env_open(audit->env, dir, MDB_RDONLY, 0600);
	if (!rc)
		rc = mdb_txn_begin(audit->env, NULL, MDB_RDONLY, &audit->txn);
	if (rc == MDB_MAP_RESIZED && !mdb_env_set_mapsize(audit->env, 0))
		rc = mdb_txn_begin(audit->env, NULL, MDB_RDONLY, &audit->txn);
	if (rc) {
		mdb_env_close(audit->env);
		audit->env = NULL;
	}
	return rc;
}

/*
 * The snapshot may be newer than the meta pages read before, and while others write, LMDB tells the last
 * page of a newer one still. Only sizes of the snapshot itself prove that pages are missing.
 */
static int measure_snapshot(struct pen_audit *audit)
{
	MDB_envinfo info;
	struct stat st;
	int rc = 0, fd;

	audit->file_short = false;
	for (int attempt = 0; attempt < 20 && !rc; attempt++) {
		rc = mdb_env_info(audit->env, &info);
		audit->last_page = info.me_last_pgno;
		if (!rc && info.me_last_txnid == mdb_txn_id(audit->txn)) {
			if (mdb_env_get_fd(audit->env, &fd) || fstat(fd, &st))
				return EIO;
			audit->file_size = (uint64_t)st.st_size;
			audit->file_short = audit->file_size / audit->page_size <= audit->last_page;
			return 0;
		}
		mdb_txn_reset(audit->txn);
		rc = mdb_txn_renew(audit->txn);
	}
	return rc;
}

/* 0, or what mdb_ said. The address space may be limited: then without slack. */
static int open_env(struct pen_audit *audit, const char *dir)
{
	uint64_t bytes = pen_max(audit->file_size, (audit->last_page + 1) * audit->page_size);
	int rc = open_once(audit, dir, bytes + MAP_SLACK);

	if (rc == ENOMEM)
		rc = open_once(audit, dir, bytes);
	return rc ? rc : measure_snapshot(audit);
}

/* Opens data.mdb for the look at its bytes: a descriptor, a code, or a finding and -1. */
static int open_file(struct pen_audit *audit, const char *dir, int *ret_fd, bool *ret_ours,
		     struct pen_failure *why)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = errno;

	*ret_fd = -1;
	if (dir_fd < 0)
		return pen_fail(why, err == ENOENT ? -PEN_STORE_MISSING : -err, err, "no store in %s", dir);
	*ret_ours = faccessat(dir_fd, "run", F_OK, 0) == 0;
	*ret_fd = openat(dir_fd, "data.mdb", O_RDONLY | O_CLOEXEC);
	err = errno;
	close(dir_fd);
	if (*ret_fd >= 0)
		return 0;
	if (err == ENOENT && *ret_ours) {
		pen_audit_say(audit->voice, PEN_INV_FILE, "data.mdb is missing");
		return 0;
	}
	return pen_fail(why, err == ENOENT ? -PEN_STORE_MISSING : -err, err, "no store in %s", dir);
}

static bool has_own_database(struct pen_audit *audit)
{
	MDB_val key = { strlen(PEN_DB_PREFIX), PEN_DB_PREFIX }, value;
	MDB_cursor *cur;
	bool found = false;

	if (mdb_cursor_open(audit->txn, PEN_DB_MAIN, &cur))
		return false;
	if (!mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE))
		found = key.mv_size > strlen(PEN_DB_PREFIX) &&
			!memcmp(key.mv_data, PEN_DB_PREFIX, strlen(PEN_DB_PREFIX));
	mdb_cursor_close(cur);
	return found;
}

static int check_all(struct pen_audit *audit, const char *dir, bool ours, struct pen_failure *why)
{
	MDB_dbi main_dbi;
	int rc;

	rc = open_env(audit, dir);
	if (rc == MDB_INVALID || rc == MDB_CORRUPTED) {
		pen_audit_say(audit->voice, PEN_INV_FILE, "LMDB cannot open data.mdb: %s", mdb_strerror(rc));
		return 0;
	}
	if (rc)
		return pen_fail(why, pen_mdb_code(rc), rc > 0 ? rc : 0,
				"the store in %s cannot be opened: %s", dir, mdb_strerror(rc));
	rc = mdb_dbi_open(audit->txn, NULL, 0, &main_dbi);
	if (rc)
		return pen_fail(why, pen_mdb_code(rc), 0, "the store in %s cannot be read: %s", dir,
				mdb_strerror(rc));
	check_free_list(audit);
	pen_audit_place(audit->voice, "the list of databases");
	if (!has_own_database(audit)) {
		if (!ours)
			return pen_fail(why, -PEN_STORE_FOREIGN, 0,
					"%s holds an LMDB environment of another program", dir);
		pen_audit_say(audit->voice, PEN_INV_META, "penstock's own databases are gone");
		return 0;
	}
	rc = check_meta(audit, why);
	if (rc)
		return rc;
	pen_audit_ledger(audit);
	pen_audit_jobs(audit);
	pen_audit_staged(audit);
	pen_audit_cache(audit);
	pen_audit_flags(audit);
	pen_audit_data(audit);
	pen_audit_retain(audit);
	walk_entries(audit, PEN_DB_MAIN, "the list of databases", true, NULL, NULL, NULL);
	pen_audit_databases(audit);
	return 0;
}

static void free_all(struct pen_audit *audit)
{
	for (size_t i = 0; i < audit->batch_count; i++) {
		free(audit->batches[i].dataset);
		free(audit->batches[i].owner);
	}
	for (size_t i = 0; i < audit->dataset_count; i++)
		free(audit->datasets[i]);
	free(audit->staged);
	free(audit->removed.at);
	free(audit->trimmed.at);
	free(audit->gone.at);
	for (size_t i = 0; i < audit->key_count; i++)
		free(audit->keys[i].owner);
	free(audit->keys);
	free(audit->batches);
	free(audit->datasets);
	mdb_txn_abort(audit->txn);
	if (audit->env)
		mdb_env_close(audit->env);
}

int pen_audit_run(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why)
{
	struct pen_audit *audit = calloc(1, sizeof(*audit));
	const char *dir = arg;
	bool ours = false, sane = false;
	int fd, rc;

	if (!audit)
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "no memory for the check");
	audit->voice = voice;
	audit->dir = dir;
	pen_audit_place(voice, "data.mdb");
	rc = open_file(audit, dir, &fd, &ours, why);
	if (fd >= 0) {
		sane = check_file(audit, fd);
		close(fd);
	}
	if (!rc && sane)
		rc = check_all(audit, dir, ours, why);
	free_all(audit);
	free(audit);
	return rc;
}
