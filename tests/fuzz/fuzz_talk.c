/* SPDX-License-Identifier: MIT */
/*
 * fuzz_talk - a line that a worker wrote, and the line that it was given
 *
 * An input is a line. Held to be true of every input:
 *
 *   1. what lies behind the line changes nothing: neither the verdict nor what is read;
 *   2. what is no JSON is refused; what is refused, with a sentence;
 *   3. what comes out of a line that is taken lies in it, is ended where it should be, and is what its contract says;
 *   4. what was read, said again in the plainest way (everything in base64 or escaped), reads the same;
 *   5. the line as an item: its request is one line of JSON, the same in pieces of any size, and its bytes come
 *      back when a worker says them back.
 *
 * A broken promise aborts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "engine/talk.h"

#define BEHIND PEN_JSON_PADDING

#define HOLD(cond)                                                                    \
	do {                                                                          \
		if (!(cond)) {                                                        \
			fprintf(stderr, "fuzz_talk: line %d: %s\n", __LINE__, #cond); \
			abort();                                                      \
		}                                                                     \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line, taken apart in a block of its own. */
struct heard {
	char *line;
	size_t len;
	const char *wrong;
	struct pen_talk_reply reply;
	struct pen_deed deeds[PEN_CREW_DEEDS_MAX];
};

static struct heard first, again;
static struct pen_json *json;

static void hear(struct heard *h, const void *data, size_t len, char behind)
{
	h->line = malloc(len + BEHIND);
	h->len = len;
	HOLD(h->line);
	if (len)
		memcpy(h->line, data, len);
	memset(h->line + len, behind, BEHIND);
	h->wrong = pen_talk_read(json, h->line, len, &h->reply, h->deeds);
}

static void forget(struct heard *h)
{
	free(h->line);
	h->line = NULL;
}

static bool same_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return !a == !b && a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

static void hold_same(const struct heard *a, const struct heard *b)
{
	const struct pen_talk_reply *x = &a->reply, *y = &b->reply;

	HOLD(!a->wrong == !b->wrong && (!a->wrong || strcmp(a->wrong, b->wrong) == 0));
	if (a->wrong)
		return;
	HOLD(x->word == y->word && x->id == y->id && x->retry_after_ns == y->retry_after_ns);
	HOLD(same_bytes(x->value, x->value_len, y->value, y->value_len));
	HOLD(strcmp(x->code, y->code) == 0 && strcmp(x->message, y->message) == 0);
	HOLD(x->deed_count == y->deed_count);
	for (uint32_t i = 0; i < x->deed_count; i++) {
		const struct pen_deed *p = &a->deeds[i], *q = &b->deeds[i];

		HOLD(p->del == q->del && strcmp(p->dataset, q->dataset) == 0);
		HOLD(same_bytes(p->key, p->key_len, q->key, q->key_len));
		HOLD(same_bytes(p->value, p->value_len, q->value, q->value_len));
	}
}

static bool within(const struct heard *h, const void *at, size_t len)
{
	const char *p = at;

	return p >= h->line && p <= h->line + h->len && len <= (size_t)(h->line + h->len - p);
}

/* A text of the line, or the "" that stands for none. */
static bool text_within(const struct heard *h, const char *text)
{
	return (!*text && !within(h, text, 0)) ||
	       (within(h, text, 0) && memchr(text, 0, (size_t)(h->line + h->len + 1 - text)));
}

static void hold_contract(const struct heard *h)
{
	const struct pen_talk_reply *r = &h->reply;
	struct pen_json_flaw flaw;

	HOLD(r->word <= PEN_TALK_DROP && r->deed_count <= PEN_CREW_DEEDS_MAX);
	HOLD(text_within(h, r->code) && text_within(h, r->message));
	HOLD(!r->value || within(h, r->value, r->value_len));
	HOLD(!r->value || r->word == PEN_TALK_OK);
	HOLD(!r->value || !r->value_json || pen_json_valid(r->value, r->value_len, &flaw));
	HOLD(!r->deed_count || r->word == PEN_TALK_OK);
	for (uint32_t i = 0; i < r->deed_count; i++) {
		const struct pen_deed *d = &h->deeds[i];

		HOLD(text_within(h, d->dataset) && *d->dataset);
		HOLD(d->key_len && within(h, d->key, d->key_len));
		HOLD(d->del == !d->value && (d->del || within(h, d->value, d->value_len)));
	}
}

/* ---- said again ---- */

struct text {
	char *at;
	size_t len, cap;
};

static void say(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len > t->cap) {
		t->cap = 2 * (t->len + len);
		t->at = realloc(t->at, t->cap);
		HOLD(t->at);
	}
	memcpy(t->at + t->len, bytes, len);
	t->len += len;
}

static void say_text(struct text *t, const char *text)
{
	say(t, text, strlen(text));
}

static void say_number(struct text *t, const char *name, uint64_t n)
{
	char out[96];

	snprintf(out, sizeof(out), "%s%" PRIu64, name, n);
	say_text(t, out);
}

static void say_string(struct text *t, const char *name, const char *text)
{
	say_text(t, name);
	say_text(t, "\"");
	for (; *text; text++) {
		char out[8];

		if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\') {
			snprintf(out, sizeof(out), "\\u%04x", (unsigned)(unsigned char)*text);
			say_text(t, out);
		} else {
			say(t, text, 1);
		}
	}
	say_text(t, "\"");
}

static void say_base64(struct text *t, const char *name, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *p = data;
	uint32_t v = 0, bits = 0;

	say_text(t, name);
	say_text(t, "\"");
	for (size_t i = 0; i < len; i++) {
		v = v << 8 | p[i];
		for (bits += 8; bits >= 6; bits -= 6)
			say(t, &digits[v >> (bits - 6) & 63], 1);
	}
	if (bits)
		say(t, &digits[v << (6 - bits) & 63], 1);
	say_text(t, "\"");
}

static void say_deeds(struct text *t, const struct heard *h, bool del)
{
	bool more = false;

	say_text(t, del ? ",\"delete\":[" : ",\"put\":[");
	for (uint32_t i = 0; i < h->reply.deed_count; i++) {
		const struct pen_deed *d = &h->deeds[i];

		if (d->del != del)
			continue;
		say_string(t, more ? ",{\"dataset\":" : "{\"dataset\":", d->dataset);
		say_base64(t, ",\"key_base64\":", d->key, d->key_len);
		if (!del)
			say_base64(t, ",\"value_base64\":", d->value, d->value_len);
		say_text(t, "}");
		more = true;
	}
	say_text(t, "]");
}

static void hold_said_again(const struct heard *h)
{
	static const char *const errors[] = { [PEN_TALK_REJECT] = ",\"error\":\"reject\"",
					      [PEN_TALK_RETRY] = ",\"error\":\"retry\"",
					      [PEN_TALK_FATAL] = ",\"error\":\"fatal\"",
					      [PEN_TALK_DROP] = ",\"error\":\"drop\"" };
	const struct pen_talk_reply *r = &h->reply;
	struct text t = { 0 };
	/* Deletes first, where they came first. */
	bool del = r->deed_count && h->deeds[0].del;

	if (r->word == PEN_TALK_READY)
		return;
	say_number(&t, "{\"id\":", r->id);
	if (r->word != PEN_TALK_OK)
		say_text(&t, errors[r->word]);
	else if (r->value)
		say_base64(&t, ",\"value_base64\":", r->value, r->value_len);
	else
		say_text(&t, ",\"ok\":true");
	say_string(&t, ",\"code\":", r->code);
	say_string(&t, ",\"message\":", r->message);
	say_number(&t, ",\"retry_after_ms\":", r->retry_after_ns / 1000000);
	if (r->word == PEN_TALK_OK) {
		say_deeds(&t, h, del);
		say_deeds(&t, h, !del);
	}
	say_text(&t, "}");
	hear(&again, t.at, t.len, '\n');
	hold_same(h, &again);
	forget(&again);
	free(t.at);
}

/* ---- the line as an item ---- */

static char *write_all(const struct pen_task *task, size_t cap, size_t room, size_t *ret_len)
{
	struct pen_talk_request request;
	char *out = malloc(room);
	size_t n;

	HOLD(out);
	*ret_len = 0;
	pen_talk_begin(&request, 7, task->item_len % 3 ? "0b2c-77" : NULL, task);
	while ((n = pen_talk_write(&request, out + *ret_len, cap))) {
		HOLD(n <= cap);
		*ret_len += n;
		HOLD(*ret_len + cap <= room);
	}
	return out;
}

static void hold_request(const uint8_t *data, size_t size)
{
	static const char said[] = "{\"id\":7,\"value_";
	struct pen_task task = {
		.id = 1, .seq = 3, .attempt = 2, .item = (const char *)data, .item_len = size
	};
	size_t room = 6 * size + 512;
	size_t cap = size ? 8 + data[size - 1] % 64u : 8;
	struct pen_json_flaw flaw;
	struct text t = { 0 };
	size_t len, piece_len;
	char *line, *pieces, *item;

	if (pen_json_valid((const char *)data, size, &flaw) && size && size % 2)
		task.form = PEN_TASK_JSON;
	line = write_all(&task, room / 2, 2 * room, &len);
	pieces = write_all(&task, cap, room, &piece_len);
	HOLD(same_bytes(line, len, pieces, piece_len));
	HOLD(len && memchr(line, '\n', len) == line + len - 1);
	HOLD(pen_json_valid(line, len, &flaw));
	item = memmem(line, len, "\"item", 5);
	HOLD(item);
	if (task.form != PEN_TASK_JSON) {
		say_text(&t, said);
		say(&t, item + 6, (size_t)(line + len - 1 - (item + 6)));
		hear(&again, t.at, t.len, '\n');
		HOLD(!again.wrong && again.reply.word == PEN_TALK_OK && again.reply.id == 7);
		HOLD(again.reply.value_len == size && (!size || memcmp(again.reply.value, data, size) == 0));
		forget(&again);
		free(t.at);
	}
	free(line);
	free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char behinds[] = { 0, '"', '}', '9', (char)0x80 };
	struct pen_json_flaw flaw;
	char *copy = malloc(size + BEHIND);
	bool valid;

	if (!json)
		HOLD(pen_json_open(&json) == 0);
	HOLD(copy);
	if (size)
		memcpy(copy, data, size);
	memset(copy + size, 0, BEHIND);
	valid = pen_json_valid(copy, size, &flaw);
	hear(&first, data, size, '\n');
	HOLD(first.wrong ? first.wrong[0] : valid);
	for (size_t i = 0; i < sizeof(behinds); i++) {
		hear(&again, data, size, behinds[i]);
		hold_same(&first, &again);
		forget(&again);
	}
	if (!first.wrong) {
		hold_contract(&first);
		hold_said_again(&first);
	}
	forget(&first);
	hold_request((const uint8_t *)copy, size);
	free(copy);
	return 0;
}
