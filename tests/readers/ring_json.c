/* SPDX-License-Identifier: MIT */
/*
 * ring_json - what penstock_progress.h makes of a ring file, in the words of the Python and the Node reader
 *
 *	ring_json FILE   the lines of penstock_progress.py --dump --json FILE; exit 3 when it is refused
 *	ring_json -      for each path on stdin: "ok N" (N lines), "ok corrupt" or "refused"
 */
#include <inttypes.h>
#include <stdio.h>

#include "include/penstock_progress.h"

#define COUNTERS_MAX 4096
#define AT_ONCE 256

static const char *const batch_states[] = { NULL,	 "queued", "waiting", "running",     "paused",
					    "completed", "failed", "stopped", "interrupted", "cancelled" };
static const char *const writer_states[] = { NULL,     "init",	 "running",   "draining",
					     "closed", "failed", "superseded" };
static const char *const types[] = {
	NULL,		"queued",	 "started",
	"progress",	"retry",	 "completed",
	"failed",	"cancelled",	 "stall",
	"writer_state", "checkpoint",	 "coalesced",
	NULL,		"paused",	 "resumed",
	"stalled",	"skipped",	 "deduplicated",
	"rate_limited", "dead_lettered", "dependency_ready",
	"cleaned",	"drained",	 "stopped",
	"interrupted",	"error",	 "error_standard",
	"error_domain", "done",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static unsigned lines;

/* ---- text ---------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at s, or minus the bytes that one U+FFFD replaces, as Unicode recommends. */
static int sequence(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? -1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : -1;

	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (int i = 1; i < n; i++) {
		if ((size_t)i >= left || s[i] < low || s[i] > high)
			return -i;
		low = 0x80;
		high = 0xbf;
	}
	return n;
}

static void put_char(unsigned char c)
{
	static const char shorts[][2] = {
		{ '\n', 'n' }, { '\r', 'r' }, { '\t', 't' }, { '\b', 'b' }, { '\f', 'f' }
	};

	for (size_t i = 0; i < COUNT(shorts); i++) {
		if (c == (unsigned char)shorts[i][0]) {
			printf("\\%c", shorts[i][1]);
			return;
		}
	}
	if (c == '"' || c == '\\')
		printf("\\%c", c);
	else if (c < 0x20)
		printf("\\u%04x", c);
	else
		putchar(c);
}

static void end_line(void)
{
	printf("}\n");
	lines++;
}

static void put_text(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	putchar('"');
	for (size_t i = 0; i < len;) {
		int n = sequence(s + i, len - i);

		if (n < 0)
			fputs("\xef\xbf\xbd", stdout);
		else if (n == 1)
			put_char(s[i]);
		else
			fwrite(s + i, 1, (size_t)n, stdout);
		i += (size_t)abs(n);
	}
	putchar('"');
}

static void put_string(const char *name, const char *value)
{
	printf(",\"%s\":", name);
	put_text(value, strlen(value));
}

static void put_number(const char *name, uint64_t value)
{
	printf(",\"%s\":%" PRIu64, name, value);
}

static void put_id(const char *name, uint64_t id)
{
	printf(",\"%s\":\"%016" PRIx64 "\"", name, id);
}

static void put_code(uint32_t code, bool domain)
{
	if (domain)
		put_number("code", code);
	else if (code)
		printf(",\"code\":\"PEN%u\"", code);
	else
		printf(",\"code\":null");
}

static void put_bytes(const char *name, const uint8_t bytes[16])
{
	printf(",\"%s\":\"", name);
	for (int i = 0; i < 16; i++)
		printf("%02x", bytes[i]);
	putchar('"');
}

static void put_state(const char *const *names, size_t count, uint32_t state)
{
	if (state && state < count)
		put_string("state", names[state]);
	else
		printf(",\"state\":\"state%u\"", state);
}

static const char *stage_name(const struct pen_ring *ring, uint32_t stage)
{
	return stage < PEN_RING_STAGES ? ring->stages[stage] : "";
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | (c >= 'A' ? 32 : 0)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* OWNER.SLOT.ring, odd bytes of OWNER as %XX; other names: the uid. */
static void put_user(const struct pen_ring *ring)
{
	const char *name = strrchr(ring->path, '/'), *end, *dot;
	char user[4096];
	size_t len = 0;

	name = name ? name + 1 : ring->path;
	end = name + strlen(name);
	dot = end - name > 5 && !strcmp(end - 5, ".ring") ? end - 5 : NULL;
	while (dot && dot > name && dot[-1] >= '0' && dot[-1] <= '9')
		dot--;
	printf(",\"userId\":");
	if (!dot || dot == end - 5 || dot - name < 2 || dot[-1] != '.') {
		printf("\"%u\"", ring->header.owner_uid);
		return;
	}
	for (const char *s = name; s < dot - 1; s++) {
		bool odd = s[0] == '%' && dot - 1 - s > 2 && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0;

		user[len++] = odd ? (char)(hex_digit(s[1]) << 4 | hex_digit(s[2])) : s[0];
		s += odd ? 2 : 0;
	}
	put_text(user, len);
}

/* ---- what is in the file ------------------------------------------------------------------- */

static void show_ring(const struct pen_ring *ring)
{
	const struct pen_ring_header *h = &ring->header;
	struct pen_ring_hot hot;

	pen_ring_hot(ring, &hot);
	printf("{\"kind\":\"ring\",\"abi\":\"%u.%u\"", h->abi_major, h->abi_minor);
	put_number("compat", h->compat_flags);
	put_number("epoch", h->epoch);
	put_bytes("instance", h->instance);
	put_bytes("boot_id", h->boot_id);
	put_number("writer_pid", h->writer_pid);
	put_number("writer_start_ticks", h->writer_start_ticks);
	put_number("pidns", h->pidns_ino);
	put_number("writer_uid", h->writer_uid);
	put_number("owner_uid", h->owner_uid);
	put_number("created_mono_ns", h->created_mono_ns);
	put_number("created_real_ns", h->created_real_ns);
	put_number("hb_period_ms", h->hb_period_ms);
	put_number("wake_period_us", h->wake_period_us);
	put_number("event_slots", h->event_slots);
	put_number("gauge_slots", h->gauge_slots);
	put_number("claim", hot.claim);
	put_number("tail", hot.tail);
	put_number("coalesced", hot.coalesced_total);
	put_number("hb_mono_ns", hot.hb_mono_ns);
	put_number("hb_count", hot.hb_count);
	printf(",\"real_minus_mono\":%" PRId64, hot.real_minus_mono);
	put_state(writer_states, COUNT(writer_states), hot.state);
	put_number("state_reason", hot.state_reason);
	put_id("last_batch", hot.last_batch_id);
	put_number("commit_lsn", hot.commit_lsn);
	put_number("durable_lsn", hot.durable_lsn);
	put_number("inflight_chunks", hot.inflight_chunks);
	put_number("inflight_bytes", hot.inflight_bytes);
	put_number("queued_batches", hot.queued_batches);
	printf(",\"stages\":[");
	for (int i = 0; i < (int)PEN_RING_STAGES; i++) {
		if (i)
			putchar(',');
		put_text(ring->stages[i], strlen(ring->stages[i]));
	}
	putchar(']');
	end_line();
}

static void show_counters(const struct pen_ring *ring)
{
	static uint32_t shown[COUNTERS_MAX];
	struct pen_ring_counter counter;
	uint64_t value;
	uint32_t n = 0;

	for (uint32_t i = 0; pen_ring_counter(ring, i, &counter, &value); i++) {
		uint32_t k = 0;

		while (k < n && shown[k] != counter.id)
			k++;
		if (k < n || n == COUNTERS_MAX)
			continue;
		shown[n++] = counter.id;
		printf("{\"kind\":\"counter\",\"id\":%u", counter.id);
		put_string("name", counter.name);
		put_number("unit", counter.unit);
		put_number("value", pen_ring_total(ring, counter.id));
		end_line();
	}
}

static uint64_t items_done(const struct pen_ring_gauge *g)
{
	return g->committed + g->rejected + g->failed + g->skipped;
}

/* In hundredths of a percent, exactly. */
static unsigned points(const struct pen_ring_gauge *g)
{
	uint64_t done = g->items_total ? g->committed : g->bytes_done,
		 total = g->items_total ? g->items_total : g->bytes_total;
	unsigned __int128 share;

	if (g->state == 5)
		return 10000;
	share = total ? (unsigned __int128)done * 10000 / total : 0;
	return share < 9999 ? (unsigned)share : 9999;
}

static void show_message(const struct pen_ring_gauge *g)
{
	uint64_t done = items_done(g);
	unsigned p = points(g);

	printf(",\"percentage\":%u", p / 100);
	if (p % 10)
		printf(".%02u", p % 100);
	else if (p % 100)
		printf(".%u", p % 100 / 10);
	printf(",\"message\":\"Processing batch item %" PRIu64,
	       !g->items_total || done < g->items_total ? done + 1 : g->items_total);
	if (g->items_total)
		printf(" of %" PRIu64, g->items_total);
	putchar('"');
}

/* A live counter replaces what has its name, and the last of two with one name counts. */
static void show_live(const struct pen_ring_gauge *g, const struct pen_ring_names *names, const char *stage)
{
	const char *keys[12] = { "sourcesAnalyzed", "currentOperation", "currentArticle", "totalArticles" };
	uint64_t values[12] = { items_done(g), 0, items_done(g), g->items_total };
	bool live[12] = { false };
	int n = 4;

	for (int i = 0; i < (int)PEN_RING_LIVE; i++) {
		int k = 0;

		if (!names->live[i][0])
			continue;
		while (k < n && strcmp(keys[k], names->live[i]))
			k++;
		n = k == n ? n + 1 : n;
		keys[k] = names->live[i];
		values[k] = g->live[i];
		live[k] = true;
	}
	printf(",\"details\":{\"liveStats\":{");
	for (int k = 0; k < n; k++) {
		if (k)
			putchar(',');
		put_text(keys[k], strlen(keys[k]));
		putchar(':');
		if (k == 1 && !live[k])
			put_text(stage, strlen(stage));
		else
			printf("%" PRIu64, values[k]);
	}
	printf("}}");
}

static void show_batch(const struct pen_ring *ring, uint32_t slot, const struct pen_ring_gauge *g)
{
	const char *stage = stage_name(ring, g->stage);
	struct pen_ring_names names;

	(void)pen_ring_names(ring, slot, g->batch_id, &names);
	if (!*stage)
		stage = g->state < COUNT(batch_states) ? batch_states[g->state] : "";
	printf("{\"kind\":\"batch\"");
	put_user(ring);
	put_string("stage", stage);
	show_message(g);
	show_live(g, &names, stage);
	put_id("batch", g->batch_id);
	put_string("label", names.label);
	put_state(batch_states, COUNT(batch_states), g->state);
	put_number("attempt", g->attempt);
	put_number("queued_ms", g->t_queued_ms);
	put_number("started_ms", g->t_started_ms);
	put_number("updated_ms", g->t_updated_ms);
	put_number("bytes_total", g->bytes_total);
	put_number("bytes_done", g->bytes_done);
	put_number("items_total", g->items_total);
	put_number("committed", g->committed);
	put_number("rejected", g->rejected);
	put_number("failed", g->failed);
	put_number("skipped", g->skipped);
	put_number("duplicates", g->duplicates);
	put_number("retrying", g->retrying);
	put_number("rate_milli", g->rate_milli);
	if (g->eta_ms == PEN_RING_UNKNOWN)
		printf(",\"eta_ms\":null");
	else
		put_number("eta_ms", g->eta_ms);
	put_code(g->err, false);
	put_number("commit_lsn", g->commit_lsn);
	put_number("as_of", g->as_of);
	put_number("user_tag", g->user_tag);
	put_number("gauge", slot);
	end_line();
}

static void show_event(const struct pen_ring *ring, const struct pen_ring_event *e)
{
	if (e->type >= COUNT(types) || !types[e->type])
		return;
	printf("{\"kind\":\"event\",\"index\":%" PRIu64, e->seq - 1);
	put_number("time_ns", e->ts_ns);
	put_id("batch", e->batch_id);
	put_string("type", types[e->type]);
	put_string("stage", stage_name(ring, e->stage));
	put_number("gauge", e->gauge_idx);
	put_number("a", e->a);
	put_number("b", e->b);
	put_number("sequence", e->c);
	put_code(e->code, e->type == PEN_RING_EV_ERROR_DOMAIN);
	end_line();
}

/* Where the oldest event lies that was written and not claimed again. */
static uint64_t oldest(const struct pen_ring *ring)
{
	const struct pen_ring_part *part = &ring->parts[PEN_RING_EVENTS];
	struct pen_ring_hot hot;
	uint64_t index, end;

	pen_ring_hot(ring, &hot);
	index = hot.claim > part->count ? hot.claim - part->count : 0;
	end = hot.tail < index + part->count ? hot.tail : index + part->count;
	while (index < end && !pen_ring_load(part->at + (index & (part->count - 1)) * part->stride))
		index++;
	return index;
}

static int show_events(struct pen_ring *ring)
{
	bool check = ring->header.compat_flags & PEN_RING_COMPAT_CRC;
	struct pen_ring_event events[AT_ONCE];
	uint64_t lost, end = ring->cursor;
	int n;

	ring->cursor = oldest(ring);
	while (ring->cursor < end) {
		n = pen_ring_poll(ring, events, AT_ONCE, &lost);
		if (n < 0)
			return n;
		if (lost) {
			printf("{\"kind\":\"lost\",\"events\":%" PRIu64, lost);
			end_line();
		}
		for (int i = 0; i < n; i++) {
			if (check && pen_ring_crc32(0, &events[i], offsetof(struct pen_ring_event, crc)) !=
					     events[i].crc)
				return -EBADMSG;
			show_event(ring, &events[i]);
		}
	}
	return 0;
}

static int show(struct pen_ring *ring)
{
	struct pen_ring_gauge gauge;

	show_ring(ring);
	show_counters(ring);
	for (uint32_t slot = 0; slot < ring->parts[PEN_RING_GAUGES].count; slot++)
		if (pen_ring_gauge(ring, slot, &gauge) > 0)
			show_batch(ring, slot, &gauge);
	return show_events(ring);
}

/* Everything is read as for a person, but nobody looks at it. */
static int judge(struct pen_ring *ring)
{
	FILE *verdicts = fdopen(dup(1), "w");
	char path[4096];

	if (!verdicts || !freopen("/dev/null", "w", stdout))
		return 1;
	while (fgets(path, sizeof(path), stdin)) {
		path[strcspn(path, "\n")] = 0;
		lines = 0;
		if (pen_ring_open(ring, path, PEN_RING_OWNERS_OWN)) {
			fprintf(verdicts, "refused\n");
			continue;
		}
		if (show(ring))
			fprintf(verdicts, "ok corrupt\n");
		else
			fprintf(verdicts, "ok %u\n", lines);
		pen_ring_close(ring);
	}
	return fclose(verdicts) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct pen_ring ring;
	int rc;

	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "-"))
		return judge(&ring);
	rc = pen_ring_open(&ring, argv[1], PEN_RING_OWNERS_OWN);
	if (!rc) {
		rc = show(&ring);
		pen_ring_close(&ring);
	}
	if (rc)
		fprintf(stderr, "ring_json: %s: %s\n", argv[1], strerror(-rc));
	return rc ? 3 : 0;
}
