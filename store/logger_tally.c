/* SPDX-License-Identifier: MIT */
/*
 * logger - a small histogram for each operation whose time is logged
 */
#include <string.h>

#include "store/logger.h"

static struct pen_tally_row *row_of(struct pen_logger_tally *tally, const char *name, size_t len)
{
	len = (size_t)pen_min(len, sizeof tally->rows[0].name - 1);
	for (uint32_t i = 0; i < tally->count; i++)
		if (strlen(tally->rows[i].name) == len && !memcmp(tally->rows[i].name, name, len))
			return &tally->rows[i];
	if (tally->count == PEN_TALLY_OPERATIONS)
		return NULL;
	memset(&tally->rows[tally->count], 0, sizeof tally->rows[0]);
	memcpy(tally->rows[tally->count].name, name, len);
	return &tally->rows[tally->count++];
}

void pen_logger_tally_add(struct pen_logger_tally *tally, const struct pen_log_record *rec)
{
	struct pen_log_packed f;
	struct pen_tally_row *row;
	const uint8_t *value;
	unsigned bucket = 0;
	uint64_t us;
	double ms;

	if (!pen_log_line_field(rec, "operation", &f, &value) || f.type != PEN_LOG_IS_TEXT)
		return;
	row = row_of(tally, (const char *)value, f.value_len);
	if (!row || !pen_log_line_field(rec, "tookMs", &f, &value) || f.type != PEN_LOG_IS_REAL)
		return;
	memcpy(&ms, value, sizeof ms);
	us = ms > 0 && ms < 1e12 ? (uint64_t)(ms * 1000) : 0;
	while (bucket < PEN_COUNT(row->buckets) - 1 && us >> bucket)
		bucket++;
	row->count++;
	row->sum_us += us;
	row->max_us = pen_max(row->max_us, us);
	row->buckets[bucket]++;
}

uint64_t pen_logger_tally_us(const struct pen_tally_row *row, unsigned permille)
{
	uint64_t below = 0, want = (row->count * permille + 999) / 1000;

	for (unsigned i = 0; i < PEN_COUNT(row->buckets); i++) {
		below += row->buckets[i];
		if (below >= want)
			return pen_min(1ull << i, row->max_us);
	}
	return row->max_us;
}

void pen_logger_tally_tell(const struct pen_logger_tally *tally)
{
	for (uint32_t i = 0; i < tally->count; i++) {
		const struct pen_tally_row *row = &tally->rows[i];
		const struct pen_log_field fields[] = {
			PEN_LOG_TEXT("of", row->name),
			PEN_LOG_U64("count", row->count),
			PEN_LOG_REAL("meanMs", (double)row->sum_us / 1000 / (double)row->count),
			PEN_LOG_REAL("p50Ms", (double)pen_logger_tally_us(row, 500) / 1000),
			PEN_LOG_REAL("p90Ms", (double)pen_logger_tally_us(row, 900) / 1000),
			PEN_LOG_REAL("p99Ms", (double)pen_logger_tally_us(row, 990) / 1000),
			PEN_LOG_REAL("maxMs", (double)row->max_us / 1000),
		};
		const struct pen_log_line line = {
			.size = sizeof line,
			.kind = PEN_LOG_KIND_PERFORMANCE,
			.context.module = PEN_LOG_IN_LOG,
			.message = "how long an operation took in this process",
			.fields = fields,
			.field_count = PEN_COUNT(fields),
		};

		if (row->count > 1)
			(void)pen_log_put(&line);
	}
}
