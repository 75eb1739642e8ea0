/* SPDX-License-Identifier: MIT */
/*
 * audit_staged - the manifest of sorted runs: rows of penstock.meta against batches and files
 *
 * A batch that runs removes its files while this looks on: of such a batch only the rows are judged.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/ledger.h"
#include "store/staged.h"

#define ID "%016" PRIx64

static const size_t word = sizeof(PEN_STAGED_KEY) - 1;

static struct pen_audit_staged *add(struct pen_audit *audit)
{
	struct pen_audit_staged *grown =
		realloc(audit->staged, (audit->staged_count + 1) * sizeof(*audit->staged));

	if (!grown)
		abort(); /* the guard says where */
	audit->staged = grown;
	grown[audit->staged_count] = (struct pen_audit_staged){ .batch = 0 };
	return &grown[audit->staged_count++];
}

bool pen_audit_staged_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value)
{
	const uint8_t *at = key->mv_data;
	struct pen_audit_staged row = { .batch = 0 };
	bool head = key->mv_size == PEN_STAGED_KEY_LEN;
	int rc;

	if ((!head && key->mv_size != PEN_STAGED_RUN_KEY_LEN) || memcmp(at, PEN_STAGED_KEY, word) != 0)
		return false;
	audit->notes_seen++;
	row.batch = pen_get_be64(at + word);
	row.is_run = !head;
	if (head) {
		rc = pen_staged_decode(value->mv_data, value->mv_size, row.batch, &row.head, NULL);
	} else {
		row.number = pen_get_be32(at + PEN_STAGED_KEY_LEN);
		rc = pen_staged_decode_run(value->mv_data, value->mv_size, row.batch, row.number, &row.run);
	}
	if (rc)
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.meta, `" PEN_STAGED_KEY "`: a value of batch " ID " is damaged",
			      row.batch);
	else
		*add(audit) = row;
	return true;
}

uint64_t pen_audit_staged_items(const struct pen_audit *audit, uint64_t batch)
{
	for (size_t i = 0; i < audit->staged_count; i++)
		if (audit->staged[i].batch == batch && !audit->staged[i].is_run)
			return audit->staged[i].head.items;
	return 0;
}

static bool runs_now(const struct pen_audit *audit, uint64_t batch)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[4200];
	bool held;
	int fd;

	snprintf(path, sizeof(path), "%s/run/batch." ID, audit->dir, batch);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	held = !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
	close(fd);
	return held;
}

static void check_file(struct pen_audit *audit, const struct pen_audit_staged *row)
{
	char name[PEN_STAGED_NAME], path[4200];
	struct stat st;

	pen_staged_name(row->batch, row->number, name);
	snprintf(path, sizeof(path), "%s/staging/%s", audit->dir, name);
	if (lstat(path, &st) || !S_ISREG(st.st_mode)) {
		if (!runs_now(audit, row->batch))
			pen_audit_say(audit->voice, PEN_INV_STAGED,
				      "batch " ID ": the sorted run staging/%s is not there", row->batch,
				      name);
	} else if ((uint64_t)st.st_size != row->run.bytes) {
		pen_audit_say(audit->voice, PEN_INV_STAGED,
			      "batch " ID ": the sorted run staging/%s has %" PRIu64 " bytes, not %" PRIu64,
			      row->batch, name, (uint64_t)st.st_size, row->run.bytes);
	}
}

/* The runs of one batch, which stand behind its head. */
static void check_runs(struct pen_audit *audit, size_t at)
{
	const struct pen_fmt_staged *head = &audit->staged[at].head;
	uint64_t records = 0;
	uint32_t count = 0;

	for (size_t i = at + 1; i < audit->staged_count && audit->staged[i].batch == head->id; i++) {
		const struct pen_audit_staged *run = &audit->staged[i];

		if (run->number - head->first_run >= head->run_count)
			pen_audit_say(audit->voice, PEN_INV_STAGED,
				      "batch " ID ": a row of run %" PRIu32
				      ", which the manifest does not have",
				      head->id, run->number);
		records += run->run.records;
		count++;
		if (head->phase != PEN_STAGED_MERGED)
			check_file(audit, run);
	}
	if (count != head->run_count || records != head->records || head->merged > head->records)
		pen_audit_say(audit->voice, PEN_INV_STAGED,
			      "batch " ID ": the manifest says %" PRIu32 " runs with %" PRIu64
			      " records, but %" PRIu32 " with %" PRIu64 " are there",
			      head->id, head->run_count, head->records, count, records);
}

void pen_audit_staged(struct pen_audit *audit)
{
	for (size_t i = 0; i < audit->staged_count; i++) {
		const struct pen_audit_staged *row = &audit->staged[i];
		const struct pen_audit_batch *batch = pen_audit_find_batch(audit, row->batch);
		bool headless = row->is_run && (!i || audit->staged[i - 1].batch != row->batch);

		if (!batch || pen_ledger_over(batch->state) || headless)
			pen_audit_say(audit->voice, PEN_INV_STAGED, "sorted runs of batch " ID ", which %s",
				      row->batch, headless ? "has no manifest" : "is not there or has ended");
		else if (!row->is_run)
			check_runs(audit, i);
	}
}
