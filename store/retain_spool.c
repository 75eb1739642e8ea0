/* SPDX-License-Identifier: MIT */
/*
 * retain_spool - streams that were kept in STORE/staging (engine/spool.c) go with their batch
 *
 * Its file goes after the commit that removes the batch, so a batch never lacks its items. A process that dies in
 * between leaves a file that nobody refers to; the sweep finds it, and what a submission left that died before its
 * batch was entered. It looks at files that are a day old: younger ones may belong to a submission that is under way.
 *
 *   Limits     a sweep handles SWEEP_MAX files; the next one goes on
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/ledger.h"
#include "store/retain.h"
#include "store/staged.h"

#define PREFIX "items."
#define PREFIX_LEN 6u
#define NAME_LEN (PREFIX_LEN + 16u)
#define PART "part."
#define MARK "/staging/" PREFIX
#define SWEEP_MAX 1024u
#define OLD_MS UINT64_C(86400000)

_Static_assert(NAME_LEN + 1 == PEN_RETAIN_SPOOL_NAME, "items., 16 digits, NUL");

static bool is_name(const char *text, size_t len, size_t prefix)
{
	if (len != prefix + 16)
		return false;
	for (size_t i = prefix; i < len; i++)
		if (!strchr("0123456789abcdef", text[i]) || !text[i])
			return false;
	return true;
}

/* The next name of a kept stream in a list of strings joined by NUL bytes, from *at on, or NULL. */
static const char *next_name(const char *list, size_t len, size_t *at)
{
	const char *hit;

	while (*at < len && (hit = memmem(list + *at, len - *at, MARK, strlen(MARK)))) {
		const char *name = hit + strlen(MARK) - PREFIX_LEN;
		size_t left = len - (size_t)(name - list);

		*at = (size_t)(hit - list) + 1;
		if (left >= NAME_LEN && is_name(name, NAME_LEN, PREFIX_LEN) &&
		    (left == NAME_LEN || !name[NAME_LEN]))
			return name;
	}
	return NULL;
}

bool pen_retain_spool(const struct pen_facts *facts, char ret[PEN_RETAIN_SPOOL_NAME])
{
	size_t at = 0;
	const char *name = next_name(facts->sources, facts->sources_len, &at);

	if (!name)
		return false;
	memcpy(ret, name, NAME_LEN);
	ret[NAME_LEN] = '\0';
	return true;
}

static int open_staging(struct pen_store *store)
{
	return openat(store->dir_fd, "staging", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void pen_retain_spool_drop(struct pen_store *store, const char *name)
{
	int dir = open_staging(store);

	if (dir < 0)
		return; /* the sweep finds it */
	(void)unlinkat(dir, name, 0);
	(void)close(dir);
}

/* ---- the sweep -------------------------------------------------------------------------------- */

struct sweep {
	unsigned count;
	char names[SWEEP_MAX][PEN_RETAIN_SPOOL_NAME]; /* in order, once all are there */
	bool used[SWEEP_MAX];
};

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool is_old(int dir, const char *name, uint64_t now_ms)
{
	struct stat st;
	uint64_t changed;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || st.st_mtim.tv_sec < 0)
		return false;
	changed = (uint64_t)st.st_mtim.tv_sec * 1000;
	return now_ms > changed && now_ms - changed >= OLD_MS;
}

/* Removes halves on the way. */
static void list(struct sweep *s, DIR *at, uint64_t now_ms)
{
	const struct dirent *entry;

	while (s->count < SWEEP_MAX && (entry = readdir(at))) {
		const char *name = entry->d_name;
		size_t len = strlen(name);
		bool part = !strncmp(name, PART, strlen(PART)) && is_name(name, len, strlen(PART));

		if (!part && (strncmp(name, PREFIX, PREFIX_LEN) != 0 || !is_name(name, len, PREFIX_LEN)))
			continue;
		if (!is_old(dirfd(at), name, now_ms))
			continue;
		if (part)
			(void)unlinkat(dirfd(at), name, 0);
		else
			memcpy(s->names[s->count++], name, PEN_RETAIN_SPOOL_NAME);
	}
	qsort(s->names, s->count, sizeof(s->names[0]), by_name);
}

static void mark(struct sweep *s, const struct pen_facts *facts)
{
	const char *name;
	size_t at = 0;

	while ((name = next_name(facts->sources, facts->sources_len, &at))) {
		char copy[PEN_RETAIN_SPOOL_NAME] = { 0 };
		const char(*found)[PEN_RETAIN_SPOOL_NAME];

		memcpy(copy, name, NAME_LEN);
		found = bsearch(copy, s->names, s->count, sizeof(s->names[0]), by_name);
		if (found)
			s->used[found - (const char(*)[PEN_RETAIN_SPOOL_NAME])s->names] = true;
	}
}

/* Looks through the facts of all batches, in a snapshot: true when none was left out. */
static bool mark_all(struct pen_store *store, struct sweep *s, uint64_t until_ns)
{
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return false;
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_BATCHES], &cur);
	if (rc) {
		pen_read_end(store, mdb);
		return false;
	}
	while (!(rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT))) {
		struct pen_facts *facts;

		if (pen_mono_ns(pen_store_clock(store)) >= until_ns || key.mv_size != 8 ||
		    pen_ledger_decode_facts(value.mv_data, value.mv_size, pen_get_be64(key.mv_data), &facts))
			break;
		mark(s, facts);
		free(facts);
	}
	mdb_cursor_close(cur);
	pen_read_end(store, mdb);
	return rc == MDB_NOTFOUND;
}

void pen_retain_sweep(struct pen_store *store, uint64_t now_ms, uint64_t until_ns)
{
	struct sweep *s = calloc(1, sizeof(*s));
	int fd = s ? open_staging(store) : -1;
	DIR *at = fd < 0 ? NULL : fdopendir(fd);

	if (at) {
		list(s, at, now_ms);
		/* The snapshot is newer than the list: a batch of one of these files is in it. */
		if (s->count && mark_all(store, s, until_ns))
			for (unsigned i = 0; i < s->count; i++)
				if (!s->used[i])
					(void)unlinkat(fd, s->names[i], 0);
		(void)closedir(at);
	} else if (fd >= 0) {
		(void)close(fd);
	}
	free(s);
	pen_staged_sweep(store);
}
