/* SPDX-License-Identifier: MIT */
#include "engine/group.h"

#include "ring/base.h"
#include "store/item.h"
#include "tests/store/scratch.h"

static struct pen_group *group;
static struct pen_store *store; /* of the case in hand */
static char name[16];

static void begin(void)
{
	scratch_make();
	cr_assert_eq(pen_group_open(&group), 0);
}

static void end(void)
{
	pen_group_close(group);
	scratch_remove();
}

TestSuite(group, .init = begin, .fini = end, .timeout = 600);

/* A batch that runs, and chunks of lines "key value" for it: what a processor makes of them. */
struct bench {
	struct pen_plan plan;
	struct pen_source source;
	struct pen_batch batch;
	struct pen_chunk chunks[4];
	char *slots[4];
	uint32_t count;
	uint64_t items, bytes, lines;
};

static struct bench *bench_open(enum pen_duplicate policy)
{
	static unsigned number;
	struct bench *b = calloc(1, sizeof *b);
	struct pen_failure why = { 0 };
	struct pen_txn *txn;
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_dataset *ds;

	cr_assert(b);
	(void)snprintf(name, sizeof name, "s%u", number++);
	store = scratch_store(name);
	txn = scratch_begin(store);
	b->source = (struct pen_source){ .path = (char *)"f",
					 .kind = PEN_SOURCE_FILE,
					 .format = PEN_FORMAT_LINES };
	b->plan = (struct pen_plan){ .sources = &b->source,
				     .source_count = 1,
				     .into = (char *)"d",
				     .on_duplicate = policy,
				     .key_kind = PEN_KEY_GIVEN };
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0, "%s", why.text);
	b->batch = (struct pen_batch){ .plan = &b->plan,
				       .id = pen_ledger_new_id(txn),
				       .dataset_id = pen_dataset_id(ds),
				       .lock_fd = -1 };
	b->batch.standing.fixed.id = facts.fixed.id = b->batch.id;
	facts.fixed.dataset_id = b->batch.dataset_id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	b->batch.standing.fixed.state = PEN_RUNNING;
	cr_assert_eq(pen_ledger_create(txn, &facts, &b->batch.standing), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	for (uint32_t i = 0; i < PEN_COUNT(b->chunks); i++) {
		b->slots[i] =
			aligned_alloc(PEN_LINE_PAIR, pen_round_up(pen_chunk_slot_bytes(1024), PEN_LINE_PAIR));
		cr_assert(b->slots[i]);
		pen_chunk_bind(&b->chunks[i], i, b->slots[i], 1024);
	}
	return b;
}

static void finding(void *arg, int invariant, const char *text)
{
	(void)arg;
	cr_expect(false, "invariant %d: %s", invariant, text);
}

/* What it did to the store must hold. */
static void bench_close(struct bench *b)
{
	struct pen_failure why = { 0 };

	pen_store_close(store);
	cr_expect_eq(pen_verify(scratch_path(name), finding, NULL, &why), 0, "%s", why.text);
	for (uint32_t i = 0; i < PEN_COUNT(b->chunks); i++)
		free(b->slots[i]);
	free(b);
}

static void add_line(struct pen_chunk *c, const char *line, size_t len, uint32_t item)
{
	uint32_t at = c->end;
	struct pen_entry *e;
	uint8_t front[8] = { 0 };

	memcpy(c->data + at, line, len);
	c->data[at + len] = '\n';
	c->end += (uint32_t)len + 1;
	if (line[0] == '!') {
		struct pen_flaw *flaw = pen_chunk_add_flaw(c, item, item, -PEN_JSON_BAD);

		flaw->at = at;
		flaw->len = (uint32_t)len;
		flaw->total = len;
		return;
	}
	e = &c->table[c->entry_count++];
	*e = (struct pen_entry){ .key_at = at,
				 .key_len = 1,
				 .flags = PEN_KEY_IN_DATA,
				 .at = at + 2,
				 .len = (uint32_t)len - 2,
				 .item = item,
				 .line = item };
	memcpy(front, line, 1);
	e->prefix = pen_get_be64(front);
	pen_sum_add(&c->sums[pen_hash_bucket(line, 1)], pen_hash_record(line, 1, line + 2, len - 2));
}

static const struct pen_chunk *sorting;

static int by_key(const void *x, const void *y)
{
	const struct pen_entry *a = x, *b = y;
	int c = pen_entry_compare(sorting, a, sorting, b);

	return c ? c : (a->item > b->item) - (a->item < b->item);
}

/* The next chunk: lines "k value" or "!bad", split at '|'. */
static struct pen_chunk *chunk(struct bench *b, const char *lines)
{
	struct pen_chunk *c = &b->chunks[b->count];
	const char *at = lines;

	pen_chunk_reset(c);
	c->batch = &b->batch;
	c->kind = PEN_CHUNK_RECORDS;
	c->rules = (struct pen_rules){ .format = PEN_FORMAT_LINES, .terminator = '\n' };
	c->seq = b->count++;
	c->first_item = b->items;
	c->base_offset = b->bytes;
	c->first_line = b->lines;
	for (; *at; at += *at == '|') {
		size_t n = strcspn(at, "|");

		add_line(c, at, n, c->items++);
		at += n;
	}
	sorting = c;
	qsort(c->table, c->entry_count, sizeof *c->table, by_key);
	c->bytes = c->end;
	b->items += c->items;
	b->bytes += c->bytes;
	b->lines += c->items;
	c->after = (struct pen_place){ .offset = b->bytes, .line = b->lines };
	return c;
}

static struct pen_chunk *control(struct bench *b, enum pen_chunk_kind kind, int res)
{
	struct pen_chunk *c = &b->chunks[b->count];

	pen_chunk_reset(c);
	c->batch = &b->batch;
	c->kind = kind;
	c->res = res;
	c->seq = b->count++;
	return c;
}

/* Applies all chunks in one group and commits (or aborts). */
static struct pen_outcome apply(struct bench *b, bool commit)
{
	struct pen_chunk *list[PEN_COUNT(b->chunks)];
	struct pen_failure why = { 0 };
	struct pen_outcome out = { 0 };
	struct pen_txn *txn = scratch_begin(store);

	for (uint32_t i = 0; i < b->count; i++)
		list[i] = &b->chunks[i];
	cr_assert_eq(pen_group_apply(group, txn, &b->batch, list, b->count, 1000, 10, &out, &why), 0, "%s",
		     why.text);
	cr_assert_eq(pen_ledger_save(txn, out.standing), 0);
	if (!commit) {
		pen_txn_abort(txn);
		return out;
	}
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	b->batch.standing = *out.standing;
	b->batch.over = out.over;
	b->count = 0;
	return out;
}

/* The dataset as "k=value ", the rows as "seq:code ", in order. */
static const char *records(void)
{
	static char text[1024];
	struct pen_scan all = { .size = sizeof all };
	struct pen_view key, value;
	struct pen_cursor *cur;
	size_t at = 0;

	text[0] = 0;
	cr_assert_eq(pen_scan_open(store, "d", &all, &cur), 0);
	while (pen_scan_next(cur, &key, &value) == 1)
		at += (size_t)snprintf(text + at, sizeof text - at, "%.*s=%.*s ", (int)key.len,
				       (const char *)key.data, (int)value.len, (const char *)value.data);
	pen_cursor_close(cur);
	return text;
}

static const char *rows(struct bench *b)
{
	static char text[1024];
	struct pen_cursor *cur;
	struct pen_item item;
	size_t at = 0;

	text[0] = 0;
	cr_assert_eq(pen_items_open(store, b->batch.id, 0, 0, -1, &cur), 0);
	while (pen_items_next(cur, &item) == 1)
		at += (size_t)snprintf(text + at, sizeof text - at, "%d:%d@%d ", (int)item.seq, -item.code,
				       (int)item.line);
	pen_cursor_close(cur);
	return text;
}

static void adds_up(const struct pen_outcome *out)
{
	const struct pen_fmt_counters *n = &out->standing->fixed.applied;

	cr_expect_eq(n->items, n->committed + n->rejected + n->failed + n->skipped);
}

Test(group, chunks_merge_in_key_order_and_the_later_one_wins)
{
	static const struct {
		const char *chunks[3], *result;
		bool appended;
		unsigned duplicates;
	} cases[] = {
		{ { "a 1|b 2", "c 3|d 4", "e 5" }, "a=1 b=2 c=3 d=4 e=5 ", true, 0 },
		{ { "e 5|b 2", "d 4|a 1", "c 3" }, "a=1 b=2 c=3 d=4 e=5 ", true, 0 },
		{ { "a 1|b 2", "b 3|c 4", "c 5" }, "a=1 b=3 c=5 ", true, 2 },
		{ { "c 1|a 1", "c 2|b 1", "a 3|c 3" }, "a=3 b=1 c=3 ", true, 3 },
		{ { "a 1|a 2|a 3", "a 4", "a 5|a 6" }, "a=6 ", true, 5 },
		{ { "a 1", "", "b 1" }, "a=1 b=1 ", true, 0 },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct bench *b = bench_open(PEN_DUP_REPLACE);
		struct pen_outcome out;

		for (int k = 0; k < 3; k++)
			chunk(b, cases[i].chunks[k]);
		out = apply(b, true);
		cr_expect_str_eq(records(), cases[i].result, "case %zu: %s", i, records());
		cr_expect_eq(out.appended, cases[i].appended, "case %zu", i);
		cr_expect_eq(out.standing->fixed.applied.duplicates, cases[i].duplicates, "case %zu", i);
		adds_up(&out);
		bench_close(b);
	}
}

Test(group, what_lies_below_the_datasets_end_is_not_appended)
{
	struct bench *b = bench_open(PEN_DUP_REPLACE);

	chunk(b, "m 1");
	cr_expect(apply(b, true).appended);
	chunk(b, "n 1|z 1");
	cr_expect(apply(b, true).appended);
	chunk(b, "a 1");
	cr_expect_not(apply(b, true).appended);
	cr_expect_str_eq(records(), "a=1 m=1 n=1 z=1 ");
	bench_close(b);
}

Test(group, a_key_that_is_there_is_replaced_kept_or_rejected)
{
	static const struct {
		enum pen_duplicate policy;
		const char *records, *rows;
		unsigned committed, duplicates, skipped, rejected;
	} cases[] = {
		{ PEN_DUP_REPLACE, "a=3 b=4 c=6 ", "", 6, 3, 0, 0 },
		{ PEN_DUP_KEEP, "a=1 b=2 c=5 ", "2:1050@3 3:1050@4 5:1050@6 ", 3, 0, 3, 0 },
		{ PEN_DUP_REJECT, "a=1 b=2 c=5 ", "2:1034@3 3:1034@4 5:1034@6 ", 3, 0, 0, 3 },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct bench *b = bench_open(cases[i].policy);
		const struct pen_fmt_counters *n;
		struct pen_outcome out;

		chunk(b, "a 1|b 2");
		apply(b, true); /* before, in this group, and in this chunk */
		chunk(b, "a 3|b 4");
		chunk(b, "c 5|c 6");
		out = apply(b, true);
		n = &out.standing->fixed.applied;
		cr_expect_str_eq(records(), cases[i].records, "policy %zu: %s", i, records());
		cr_expect_str_eq(rows(b), cases[i].rows, "policy %zu: %s", i, rows(b));
		cr_expect_eq(n->committed, cases[i].committed);
		cr_expect_eq(n->duplicates, cases[i].duplicates);
		cr_expect_eq(n->skipped, cases[i].skipped);
		cr_expect_eq(n->rejected, cases[i].rejected);
		adds_up(&out);
		bench_close(b);
	}
}

Test(group, flaws_and_refused_duplicates_are_rows_in_item_order)
{
	struct bench *b = bench_open(PEN_DUP_REJECT);
	struct pen_outcome out;

	chunk(b, "a 1|!x|a 2|!y");
	chunk(b, "a 3|!z|b 1|a 4");
	out = apply(b, true);
	cr_expect_str_eq(rows(b), "1:1042@2 2:1034@3 3:1042@4 4:1034@5 5:1042@6 7:1034@8 ", "%s", rows(b));
	cr_expect_str_eq(records(), "a=1 b=1 ");
	adds_up(&out);
	cr_expect_eq(out.standing->fixed.place_offset, b->bytes);
	cr_expect_eq(out.standing->fixed.place_line, 8);
	bench_close(b);
}

/* The disk was full at the commit: the same chunks again, with the same result. */
Test(group, applied_again_after_an_abort_it_is_the_same)
{
	for (int policy = PEN_DUP_REPLACE; policy <= PEN_DUP_REJECT; policy++) {
		struct bench *b = bench_open((enum pen_duplicate)policy);
		struct pen_fmt_counters once, again;
		char text[1024];

		chunk(b, "a 1|!x|b 1|a 2");
		chunk(b, "b 2|c 1");
		once = apply(b, false).standing->fixed.applied;
		cr_expect_str_eq(records(), "", "the control: aborted is aborted");
		again = apply(b, true).standing->fixed.applied;
		cr_expect_eq(memcmp(&once, &again, sizeof once), 0);
		(void)snprintf(text, sizeof text, "%s", records());
		cr_expect_str_eq(text, policy == PEN_DUP_REPLACE ? "a=2 b=2 c=1 " : "a=1 b=1 c=1 ");
		bench_close(b);
	}
}

/* However the items are cut into chunks, the run stops at the same one. */
Test(group, a_threshold_stops_at_its_item)
{
	static const struct {
		const char *chunks[3];
	} cuts[] = {
		{ { "a 1|!x|b 1|!y|c 1|!z|d 1" } },
		{ { "a 1|!x|b 1|!y", "c 1|!z|d 1" } },
		{ { "a 1|!x|b 1", "!y|c 1|!z", "d 1" } },
	};
	static const struct {
		uint64_t max;
		const char *records;
		unsigned items, rejected;
	} cases[] = {
		{ 0, "a=1 ", 2, 1 },
		{ 1, "a=1 b=1 ", 4, 2 },
		{ 2, "a=1 b=1 c=1 ", 6, 3 },
		{ 3, "a=1 b=1 c=1 d=1 ", 7, 3 },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++)
		for (size_t k = 0; k < PEN_COUNT(cuts); k++) {
			struct bench *b = bench_open(PEN_DUP_REPLACE);
			const struct pen_fmt_state *s;
			struct pen_outcome out;
			uint64_t place = 0;

			b->plan.has_max_rejects = true;
			b->plan.max_rejects = cases[i].max;
			for (int c = 0; c < 3 && cuts[k].chunks[c]; c++)
				chunk(b, cuts[k].chunks[c]);
			out = apply(b, true);
			s = &out.standing->fixed;
			cr_expect_str_eq(records(), cases[i].records, "max %zu, cut %zu: %s", i, k,
					 records());
			cr_expect_eq(s->applied.items, cases[i].items);
			cr_expect_eq(s->applied.rejected, cases[i].rejected);
			cr_expect_eq(out.over, cases[i].max < 3 ? -PEN_STOPPED_BY : 0);
			cr_expect_eq(s->state, cases[i].max < 3 ? PEN_STOPPED : PEN_RUNNING);
			/* The place stands behind the last item taken: "a 1" and "!x" with line ends are 4 and 3 bytes. */
			for (unsigned n = 0; n < cases[i].items; n++)
				place += n % 2 ? 3 : 4;
			cr_expect_eq(s->place_offset, place, "max %zu, cut %zu: %d", i, k,
				     (int)s->place_offset);
			cr_expect_eq(s->place_line, cases[i].items);
			adds_up(&out);
			bench_close(b);
		}
}

Test(group, rejected_duplicates_count_for_the_threshold)
{
	struct bench *b = bench_open(PEN_DUP_REJECT);

	b->plan.has_max_rejects = true;
	b->plan.max_rejects = 1;
	chunk(b, "a 1|a 2");
	cr_expect_eq(apply(b, true).over, 0);
	chunk(b, "a 3");
	cr_expect_eq(apply(b, true).over, -PEN_STOPPED_BY);
	bench_close(b);
}

Test(group, the_end_says_how_it_ended)
{
	static const struct {
		int res;
		enum pen_state state;
	} cases[] = { { 0, PEN_COMPLETED },
		      { -PEN_CANCELLED_BY, PEN_CANCELLED },
		      { -PEN_INTERRUPTED_BY, PEN_INTERRUPTED },
		      { -PEN_CHANGED, PEN_INTERRUPTED } };

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct bench *b = bench_open(PEN_DUP_REPLACE);
		const struct pen_fmt_state *s;

		chunk(b, "a 1");
		control(b, PEN_CHUNK_PAUSE, 0);
		control(b, PEN_CHUNK_RESUME, 0);
		control(b, PEN_CHUNK_END, cases[i].res);
		s = &apply(b, true).standing->fixed;
		cr_expect_eq(s->state, cases[i].state, "%d: %s", cases[i].res, pen_state_name(s->state));
		cr_expect_eq(s->ended_ms, 1000);
		cr_expect_eq(s->code, cases[i].res);
		cr_expect_eq(memcmp(&s->counted, &s->applied, sizeof s->counted), 0);
		cr_expect_eq(s->applied.items, 1, "what controls say is no item");
		bench_close(b);
	}
}

Test(group, a_dataset_that_was_dropped_meanwhile_ends_the_batch)
{
	struct bench *b = bench_open(PEN_DUP_REPLACE);
	struct pen_chunk *list[1] = { chunk(b, "a 1") };
	struct pen_failure why = { 0 };
	struct pen_outcome out;
	struct pen_txn *txn;

	b->batch.dataset_id++; /* what lies there now is another */
	txn = scratch_begin(store);
	cr_expect_eq(pen_group_apply(group, txn, &b->batch, list, 1, 1000, 10, &out, &why), -PEN_NO_DATASET);
	pen_txn_abort(txn);
	bench_close(b);
}

/* Goal: sources of which something was dropped are read again. Method: END says that all was given, after a stop. */
Test(group, behind_a_threshold_a_batch_is_not_fed)
{
	struct bench *b = bench_open(PEN_DUP_REPLACE);

	b->plan.job.command = (char *)"exec:x";
	b->batch.job.id = b->batch.id;
	b->batch.over = -PEN_STOPPED_BY;
	control(b, PEN_CHUNK_END, 0);
	cr_expect_eq(apply(b, false).job->fed, 0);
	b->count = 0;
	b->batch.over = 0;
	control(b, PEN_CHUNK_END, 0);
	cr_expect_eq(apply(b, false).job->fed, 1);
	bench_close(b);
}
