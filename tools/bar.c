/* SPDX-License-Identifier: MIT */
#include "tools/bar.h"

#include <stdio.h>
#include <string.h>

#include "tools/json.h"
#include "tools/text.h"

#define RATE_SECONDS 5.0
#define STALL_NS 3000000000ull
#define ETA_MS_MAX (100ull * 86400 * 1000)
#define SECOND_NS 1000000000ull
#define NAME_COLUMNS 32
#define SECONDS_MIN 3 /* that a range of speeds is taken from */

void pen_bar_init(struct pen_bar *bar, const char *name)
{
	*bar = (struct pen_bar){ 0 };
	pen_text_escape(bar->name, sizeof bar->name, name, strlen(name), NULL);
}

static uint64_t place(const struct pen_progress *p)
{
	return p->bytes_total ? p->bytes_place : p->counted.bytes;
}

static bool resting(const struct pen_progress *p)
{
	return p->state == PEN_PAUSED || (p->state == PEN_RUNNING && p->reason);
}

/* Input where its whole is known, else items: what the end is computed from. */
static uint64_t done_of(const struct pen_progress *p)
{
	return p->bytes_total ? place(p) : p->counted.items;
}

/* Keeps the speeds of whole seconds. A rest is no speed, and what goes on afterwards begins anew. */
static void measure_second(struct pen_bar *bar, const struct pen_progress *p, uint64_t now_ns)
{
	uint64_t done = done_of(p);

	if (resting(p) || !bar->last.bytes_total != !p->bytes_total || bar->last_ns == 0)
		bar->second.count = 0;
	if (bar->second.count == 0 && (resting(p) || bar->second.begun_ns == 0 || done < bar->second.done)) {
		bar->second.begun_ns = now_ns;
		bar->second.done = done;
		return;
	}
	if (now_ns < bar->second.begun_ns + SECOND_NS)
		return;
	double dt = (double)(now_ns - bar->second.begun_ns) / 1e9;

	bar->second.speed[bar->second.count++ % PEN_BAR_SECONDS] =
		done > bar->second.done ? (double)(done - bar->second.done) / dt : 0;
	bar->second.begun_ns = now_ns;
	bar->second.done = done;
}

void pen_bar_feed(struct pen_bar *bar, const struct pen_progress *progress, uint64_t now_ns)
{
	if (bar->last_ns == 0) {
		bar->moved_ns = now_ns; /* what earlier runs did is no speed of this one */
	} else if (now_ns > bar->last_ns) {
		double dt = (double)(now_ns - bar->last_ns) / 1e9;
		double keep = RATE_SECONDS / (RATE_SECONDS + dt);
		uint64_t items = progress->counted.items, bytes = place(progress);
		uint64_t was_items = bar->last.counted.items, was_bytes = place(&bar->last);

		if (items > was_items || bytes > was_bytes || resting(&bar->last))
			bar->moved_ns = now_ns;
		bar->items = bar->items * keep + (items > was_items ? (double)(items - was_items) : 0);
		bar->bytes = bar->bytes * keep + (bytes > was_bytes ? (double)(bytes - was_bytes) : 0);
		bar->seconds = bar->seconds * keep + dt;
	}
	measure_second(bar, progress, now_ns);
	if (!resting(progress))
		bar->rest_ns = 0;
	else if (bar->rest_ns == 0)
		bar->rest_ns = now_ns;
	bar->last = *progress;
	bar->last_ns = now_ns;
}

uint64_t pen_bar_rate(const struct pen_bar *bar)
{
	return bar->seconds > 0 ? (uint64_t)(bar->items / bar->seconds + 0.5) : 0;
}

uint64_t pen_bar_byte_rate(const struct pen_bar *bar)
{
	return bar->seconds > 0 ? (uint64_t)(bar->bytes / bar->seconds + 0.5) : 0;
}

/* Done and whole in bytes where they are known, else in items; false when neither is. */
static bool whole(const struct pen_bar *bar, uint64_t *ret_done, uint64_t *ret_total, double *ret_rate)
{
	bool bytes = bar->last.bytes_total > 0;

	*ret_total = bytes ? bar->last.bytes_total : bar->last.items_total;
	*ret_done = done_of(&bar->last);
	*ret_rate = bar->seconds > 0 ? (bytes ? bar->bytes : bar->items) / bar->seconds : 0;
	if (*ret_done > *ret_total)
		*ret_done = *ret_total;
	return *ret_total > 0;
}

int pen_bar_permille(const struct pen_bar *bar)
{
	uint64_t done, total;
	double rate;

	if (bar->last.state == PEN_COMPLETED)
		return 1000;
	if (!whole(bar, &done, &total, &rate))
		return -1;
	int permille = (int)((double)done * 1000.0 / (double)total);

	return permille < 1000 ? permille : 999;
}

uint64_t pen_bar_stalled_ms(const struct pen_bar *bar)
{
	uint64_t still = bar->last_ns - bar->moved_ns;

	return still >= STALL_NS ? still / 1000000 : 0;
}

static int64_t ms_at(uint64_t left, double rate)
{
	double ms = rate > 0 ? (double)left / rate * 1000.0 : (double)UINT64_MAX;

	return ms <= (double)ETA_MS_MAX ? (int64_t)ms : -1;
}

int64_t pen_bar_eta_ms(const struct pen_bar *bar)
{
	uint64_t done, total;
	double rate;

	if (bar->last.state == PEN_COMPLETED)
		return 0;
	if (!whole(bar, &done, &total, &rate) || pen_bar_stalled_ms(bar) || resting(&bar->last) ||
	    bar->last.state > PEN_COMPLETED)
		return -1;
	return ms_at(total - done, rate);
}

void pen_bar_eta_range_ms(const struct pen_bar *bar, int64_t *ret_lo, int64_t *ret_hi)
{
	uint64_t done, total;
	double rate, slow, fast;
	unsigned n = bar->second.count < PEN_BAR_SECONDS ? bar->second.count : PEN_BAR_SECONDS;

	*ret_lo = *ret_hi = -1;
	if (pen_bar_eta_ms(bar) < 0 || n < SECONDS_MIN || !whole(bar, &done, &total, &rate))
		return;
	slow = fast = rate; /* the estimate between them always lies inside */
	for (unsigned i = 0; i < n; i++) {
		slow = bar->second.speed[i] < slow ? bar->second.speed[i] : slow;
		fast = bar->second.speed[i] > fast ? bar->second.speed[i] : fast;
	}
	*ret_lo = ms_at(total - done, fast);
	*ret_hi = ms_at(total - done, slow);
}

/* ---- layout -------------------------------------------------------------------------------- */

unsigned pen_bar_columns(const char *text)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);
	unsigned columns = 0;

	while (p < end) {
		uint32_t rune = '?';
		unsigned len = pen_text_rune(p, (size_t)(end - p), &rune);

		columns += pen_text_columns(rune);
		p += len ? len : 1;
	}
	return columns;
}

/* In the order of the line. */
enum part { NAME, BAR, PERCENT, ITEMS, RATE, BYTES, REJECTED, END, HELD, PARTS };

size_t pen_bar_cells(char *out, size_t cap, int permille, unsigned cells, bool utf8)
{
	static const char *const eighths[8] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned filled = (unsigned)permille * cells * (utf8 ? 8 : 1) / 1000, used = 0;
	size_t at = 0;

	if (cap < cells * 3 + 1)
		cells = (unsigned)(cap - 1) / 3;
	if (utf8) {
		for (; used < filled / 8 && used < cells; used++)
			at += (size_t)snprintf(out + at, cap - at, "█");
		if (filled % 8 && used < cells) {
			at += (size_t)snprintf(out + at, cap - at, "%s", eighths[filled % 8]);
			used++;
		}
	} else {
		for (; used < filled && used < cells; used++)
			out[at++] = '=';
		if (used < cells) {
			out[at++] = '>';
			used++;
		}
	}
	for (; used < cells; used++)
		out[at++] = ' ';
	out[at] = '\0';
	return at;
}

static void draw_bar(char *out, size_t cap, int permille, unsigned cells, bool utf8)
{
	size_t at = (size_t)snprintf(out, cap, "%s", utf8 ? "▕" : "[");

	at += pen_bar_cells(out + at, cap - at - 4, permille, cells, utf8);
	snprintf(out + at, cap - at, "%s", utf8 ? "▏" : "]");
}

/* How it goes: why it rests, that it stalls, or when it ends. */
static void say_end(const struct pen_bar *bar, bool utf8, char *out, size_t cap)
{
	char clock[PEN_TEXT_NUMBER];
	int64_t eta = pen_bar_eta_ms(bar);

	if (bar->rest_ns)
		snprintf(out, cap, "  %spaused %s%s%s", utf8 ? "⏸ " : "",
			 pen_text_clock(clock, (bar->last_ns - bar->rest_ns) / SECOND_NS),
			 bar->last.reason ? ": " : "",
			 bar->last.reason ? pen_error_text(bar->last.reason) : "");
	else if (bar->draining)
		snprintf(out, cap, "  draining");
	else if (pen_bar_stalled_ms(bar))
		snprintf(out, cap, "  stalled %s", pen_text_clock(clock, pen_bar_stalled_ms(bar) / 1000));
	else if (eta >= 0)
		snprintf(out, cap, "  ETA %s", pen_text_clock(clock, (uint64_t)(eta + 999) / 1000));
}

/* Cuts text to at most `columns` columns, the last one a mark of the cut. */
static void shorten(char *text, unsigned columns, bool utf8)
{
	size_t at = 0, cut = 0, len = strlen(text);
	unsigned used = 0;

	if (pen_bar_columns(text) <= columns)
		return;
	while (at < len) {
		uint32_t rune = '?';
		unsigned step = pen_text_rune((unsigned char *)text + at, len - at, &rune);

		used += pen_text_columns(rune);
		if (used > columns)
			break;
		if (used < columns)
			cut = at + (step ? step : 1); /* room for the mark behind it */
		at += step ? step : 1;
	}
	/* What is cut off is at least as long as the mark, or the buffers' slack takes it. */
	snprintf(text + cut, 4, "%s", columns == 0 ? "" : utf8 ? "…" : "~");
}

static void fill(const struct pen_bar *bar, bool utf8, char part[PARTS][200])
{
	const struct pen_counters *n = &bar->last.counted;
	int permille = pen_bar_permille(bar);
	uint64_t bad = n->rejected + n->failed;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	memset(part, 0, PARTS * sizeof part[0]);
	if (utf8 || pen_bar_columns(bar->name) == strlen(bar->name)) {
		snprintf(part[NAME], sizeof part[NAME] - 8, "%s", bar->name);
		shorten(part[NAME], NAME_COLUMNS, utf8);
		memcpy(part[NAME] + strlen(part[NAME]), " ", 2);
	}
	if (permille >= 0) {
		draw_bar(part[BAR], sizeof part[BAR], permille, 16, utf8);
		snprintf(part[PERCENT], sizeof part[PERCENT], "%3d%%", permille / 10);
	}
	if (bar->last.items_total)
		snprintf(part[ITEMS], sizeof part[ITEMS], "  %s/%s items", pen_text_short(a, n->items),
			 pen_text_short(b, bar->last.items_total));
	else
		snprintf(part[ITEMS], sizeof part[ITEMS], "  %s items", pen_text_short(a, n->items));
	snprintf(part[RATE], sizeof part[RATE], "  %s/s", pen_text_short(a, pen_bar_rate(bar)));
	snprintf(part[BYTES], sizeof part[BYTES], "  %s/s", pen_text_bytes(a, pen_bar_byte_rate(bar)));
	if (bad)
		snprintf(part[REJECTED], sizeof part[REJECTED], "  rejected %s", pen_text_short(a, bad));
	say_end(bar, utf8, part[END], sizeof part[END]);
	if (bar->held && !bar->rest_ns && !pen_bar_stalled_ms(bar))
		snprintf(part[HELD], sizeof part[HELD], "  %s%s", utf8 ? "⌛" : "wait:", bar->held);
}

size_t pen_bar_line(const struct pen_bar *bar, unsigned width, bool utf8, char out[PEN_BAR_BYTES])
{
	/* What goes first when the row is too short. */
	static const enum part order[] = { BYTES, HELD, NAME, BAR, ITEMS, REJECTED, RATE, PERCENT };
	char part[PARTS][200];
	unsigned room = (width ? width : 80) - 1, columns = 0;
	size_t at = 0;

	fill(bar, utf8, part);
	if (room + 1 < 100)
		part[BYTES][0] = '\0';
	if (room + 1 < 60)
		part[NAME][0] = part[BAR][0] = part[REJECTED][0] = part[HELD][0] = '\0';
	if (room + 1 < 60 && part[PERCENT][0])
		part[ITEMS][0] = '\0';
	for (size_t i = 0; i < PARTS; i++)
		columns += pen_bar_columns(part[i]);
	for (size_t i = 0; i < sizeof order / sizeof order[0] && columns > room; i++) {
		columns -= pen_bar_columns(part[order[i]]);
		part[order[i]][0] = '\0';
	}
	out[0] = '\0';
	for (size_t i = 0; i < PARTS; i++)
		at += (size_t)snprintf(out + at, PEN_BAR_BYTES - at, "%s", part[i]);
	/* What leads the row needs no gap. */
	size_t gap = strspn(out, " ");

	memmove(out, out + gap, at + 1 - gap);
	shorten(out, room, utf8);
	if (room == 0)
		out[0] = '\0';
	return strlen(out);
}

static void json_seconds(struct pen_jw *jw, const char *name, int64_t ms)
{
	if (ms >= 0)
		pen_jw_milli(jw, name, (uint64_t)ms);
	else
		pen_jw_null(jw, name);
}

void pen_bar_json(const struct pen_bar *bar, struct pen_out *out)
{
	const struct pen_counters *n = &bar->last.counted;
	int64_t lo, hi;
	struct pen_jw jw;

	pen_bar_eta_range_ms(bar, &lo, &hi);
	pen_jw_init(&jw, out);
	pen_jw_object(&jw, NULL);
	pen_jw_u64(&jw, "v", 1);
	pen_jw_id(&jw, "batch", bar->last.batch);
	pen_jw_text(&jw, "state", pen_state_name(bar->last.state));
	pen_jw_u64(&jw, "items", n->items);
	pen_jw_u64(&jw, "committed", n->committed);
	pen_jw_u64(&jw, "rejected", n->rejected);
	pen_jw_u64(&jw, "failed", n->failed);
	pen_jw_u64(&jw, "skipped", n->skipped);
	pen_jw_u64(&jw, "duplicates", n->duplicates);
	pen_jw_u64(&jw, "bytes", place(&bar->last));
	pen_jw_u64(&jw, "bytes_total", bar->last.bytes_total);
	pen_jw_u64(&jw, "items_total", bar->last.items_total);
	pen_jw_u64(&jw, "rate", pen_bar_rate(bar));
	json_seconds(&jw, "eta_s", pen_bar_eta_ms(bar));
	json_seconds(&jw, "eta_lo", lo);
	json_seconds(&jw, "eta_hi", hi);
	pen_jw_text(&jw, "stage", bar->stage);
	pen_jw_text(&jw, "bottleneck", bar->held ? bar->stage : NULL);
	pen_jw_text(&jw, "reason", bar->last.reason ? pen_error_name(bar->last.reason) : NULL);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
}
