/* SPDX-License-Identifier: MIT */
/*
 * scratch - a directory for one test, and a child process to do the dangerous part
 */
#ifndef PEN_TESTS_STORE_SCRATCH_H
#define PEN_TESTS_STORE_SCRATCH_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/dataset.h"
#include "store/store_private.h"

static char scratch[64];

static inline void scratch_make(void)
{
	(void)snprintf(scratch, sizeof(scratch), "/tmp/pen-store-XXXXXX");
	cr_assert(mkdtemp(scratch));
}

static inline int scratch_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void scratch_remove(void)
{
	(void)nftw(scratch, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* A path in the scratch directory; the next call but three reuses the text. */
static inline const char *scratch_path(const char *name)
{
	static char text[4][256];
	static unsigned at;

	at = (at + 1) % 4;
	(void)snprintf(text[at], sizeof(text[at]), "%s/%s", scratch, name);
	return text[at];
}

static inline int scratch_open_with(const char *name, bool create, bool read_only, uint64_t map,
				    struct pen_store **ret)
{
	struct pen_store_options opt = {
		.size = sizeof(opt), .create = create, .read_only = read_only, .map_bytes = map
	};
	struct pen_failure why = { 0 };
	int rc = pen_store_open(scratch_path(name), &opt, ret, &why);

	cr_expect_eq(rc, why.code, "%d, but the failure says %d %s", rc, why.code, why.text);
	return rc;
}

static inline struct pen_store *scratch_store(const char *name)
{
	struct pen_store *store = NULL;

	cr_assert_eq(scratch_open_with(name, true, false, 0, &store), 0);
	return store;
}

static inline struct pen_txn *scratch_begin(struct pen_store *store)
{
	struct pen_txn *txn = NULL;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, &why), 0, "%s", why.text);
	return txn;
}

/* The status of a child, as a shell would say it. */
static inline int scratch_wait(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Puts one record in a transaction of its own, digest included: the first code that is not 0. */
static inline int scratch_put(struct pen_store *store, const char *dataset, const char *key,
			      const char *value)
{
	static struct pen_sum sums[PEN_BUCKETS];
	struct pen_dataset *ds;
	struct pen_txn *txn;
	enum pen_put put;
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, NULL);

	if (rc)
		return rc;
	rc = pen_dataset_use(txn, dataset, PEN_KEY_GIVEN, &ds, NULL);
	if (!rc)
		rc = pen_dataset_put(ds, key, strlen(key), value, strlen(value), false, PEN_DUP_REPLACE,
				     &put);
	if (!rc) {
		memset(sums, 0, sizeof(sums));
		sums[pen_hash_bucket(key, strlen(key))] =
			pen_hash_record(key, strlen(key), value, strlen(value));
		pen_dataset_offer(ds, sums);
		rc = pen_dataset_save(ds);
	}
	if (!rc)
		return pen_txn_commit(txn, NULL);
	pen_txn_abort(txn);
	return rc;
}

#endif
