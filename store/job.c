/* SPDX-License-Identifier: MIT */
#include "store/job.h"

#include "ring/base.h"
#include "store/store_private.h"

int pen_job_save(struct pen_txn *txn, const struct pen_fmt_job *job)
{
	struct pen_fmt_job row = *job;
	uint8_t key[8];

	pen_seal(&row, sizeof(row), PEN_KIND_JOB, 1);
	pen_put_be64(key, row.id);
	return pen_txn_put(txn, PEN_DB_JOBS, key, sizeof(key), &row, sizeof(row), 0);
}

int pen_job_decode(const void *value, size_t len, uint64_t id, struct pen_fmt_job *ret)
{
	struct pen_fmt_job row;
	int rc = pen_unseal(value, len, sizeof(row), PEN_KIND_JOB);

	if (rc)
		return rc;
	memcpy(&row, value, sizeof(row));
	if (len != sizeof(row) || row.id != id)
		return -PEN_STORE_DAMAGED;
	*ret = row;
	return 0;
}

int pen_job_load(struct pen_txn *txn, uint64_t id, struct pen_fmt_job *ret)
{
	const void *value;
	uint8_t key[8];
	size_t len;
	int rc;

	pen_put_be64(key, id);
	rc = pen_txn_get(txn, PEN_DB_JOBS, key, sizeof(key), &value, &len);
	return rc ? rc : pen_job_decode(value, len, id, ret);
}

int pen_job_read(struct pen_store *store, uint64_t id, struct pen_fmt_job *ret)
{
	MDB_val value;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_batch_row(store, mdb, PEN_DB_JOBS, id, &value);
	if (!rc)
		rc = pen_job_decode(value.mv_data, value.mv_size, id, ret);
	pen_read_end(store, mdb);
	return rc;
}
