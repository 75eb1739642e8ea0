/* SPDX-License-Identifier: MIT */
#include "store/memo.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ring/base.h"
#include "store/store_private.h"

#define MEMO_BYTES (1ull << 30)

static pthread_mutex_t at_work = PTHREAD_MUTEX_INITIALIZER;

/* -ENOENT: there is none, and it is not to be made. */
static int memo_open(struct pen_store *store, bool make, MDB_env **ret)
{
	char path[PATH_MAX];
	struct stat st;
	MDB_env *env;
	int rc;

	if ((size_t)snprintf(path, sizeof(path), "%s/limits", store->path) >= sizeof(path))
		return -ENAMETOOLONG;
	if (make && mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (!make && stat(path, &st))
		return -errno;
	rc = mdb_env_create(&env);
	if (rc)
		return pen_mdb_code(rc);
	rc = mdb_env_set_mapsize(env, MEMO_BYTES);
	if (!rc)
		rc = mdb_env_open(env, path, MDB_NOTLS, 0600);
	if (rc) {
		mdb_env_close(env);
		return pen_mdb_code(rc);
	}
	*ret = env;
	return 0;
}

static int put_rows(MDB_txn *txn, const struct pen_memo_row *rows, size_t count)
{
	MDB_dbi dbi;
	int rc = mdb_dbi_open(txn, NULL, 0, &dbi);

	for (size_t i = 0; i < count && !rc; i++) {
		uint8_t number[4];
		MDB_val key = { sizeof(number), number }, value = { 4 + rows[i].len, NULL };

		pen_put_be32(number, rows[i].number);
		if (!rows[i].len) {
			rc = mdb_del(txn, dbi, &key, NULL);
			rc = rc == MDB_NOTFOUND ? 0 : rc;
			continue;
		}
		rc = mdb_put(txn, dbi, &key, &value, MDB_RESERVE);
		if (!rc) {
			uint32_t crc = pen_crc32c(rows[i].data, rows[i].len);

			memcpy(value.mv_data, &crc, 4);
			memcpy((char *)value.mv_data + 4, rows[i].data, rows[i].len);
		}
	}
	return rc;
}

int pen_memo_write(struct pen_store *store, const struct pen_memo_row *rows, size_t count)
{
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	int rc;

	pthread_mutex_lock(&at_work);
	rc = memo_open(store, true, &env);
	if (!rc) {
		rc = mdb_txn_begin(env, NULL, 0, &txn);
		if (!rc)
			rc = put_rows(txn, rows, count);
		if (!rc)
			rc = mdb_txn_commit(txn);
		else if (txn)
			mdb_txn_abort(txn);
		rc = pen_mdb_code(rc);
		mdb_env_close(env);
	}
	pthread_mutex_unlock(&at_work);
	return rc;
}

static int get_rows(MDB_txn *txn, pen_memo_fn *fn, void *arg)
{
	int rc, answer = 0;
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_dbi dbi;

	rc = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (!rc)
		rc = mdb_cursor_open(txn, dbi, &cur);
	if (rc)
		return pen_mdb_code(rc);
	while (!answer && !(rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT))) {
		uint32_t crc;

		if (key.mv_size != 4 || value.mv_size < 4)
			continue;
		memcpy(&crc, value.mv_data, 4);
		if (pen_crc32c((char *)value.mv_data + 4, value.mv_size - 4) == crc)
			answer = fn(arg, pen_get_be32(key.mv_data), (char *)value.mv_data + 4,
				    value.mv_size - 4);
	}
	mdb_cursor_close(cur);
	return answer || rc == MDB_NOTFOUND ? answer : pen_mdb_code(rc);
}

int pen_memo_read(struct pen_store *store, pen_memo_fn *fn, void *arg)
{
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	int rc;

	pthread_mutex_lock(&at_work);
	rc = memo_open(store, false, &env);
	if (!rc) {
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
		if (!rc) {
			rc = get_rows(txn, fn, arg);
			mdb_txn_abort(txn);
		} else {
			rc = pen_mdb_code(rc);
		}
		mdb_env_close(env);
	} else if (rc == -ENOENT) {
		rc = 0;
	}
	pthread_mutex_unlock(&at_work);
	return rc;
}
