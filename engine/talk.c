/* SPDX-License-Identifier: MIT */
/*
 * Requests go out by parts; each form of part has a writer that stops where the room ends and goes on there.
 *
 * A reply is first judged as a whole by the JSON room. What follows walks the members of a text that is known to be
 * valid, so it only has to ask whether names and kinds fit. Decoding in place is safe because what is decoded is
 * never longer than its source, and the walk is behind it by then.
 */
#include "engine/talk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/json_scan.h"
#include "ring/assert.h"
#include "ring/base.h"

#define RETRY_MS_MAX (366ull * 24 * 3600 * 1000)

/* ---- requests ---- */

static void add(struct pen_talk_request *r, enum pen_talk_form form, const char *data, size_t len)
{
	pen_assert(r->count < PEN_TALK_PARTS);
	r->parts[r->count++] = (struct pen_talk_part){ form, data, len };
}

static void add_text(struct pen_talk_request *r, const char *text)
{
	add(r, PEN_TALK_PLAIN, text, strlen(text));
}

/* A text or bytes, with the name for either. */
static void add_string(struct pen_talk_request *r, const char *text_name, const char *bytes_name,
		       const void *data, size_t len)
{
	bool text = pen_json_utf8(data, len);

	add_text(r, text ? text_name : bytes_name);
	add(r, text ? PEN_TALK_STRING : PEN_TALK_BASE64, data, len);
}

void pen_talk_begin(struct pen_talk_request *request, uint64_t id, const char *correlation,
		    const struct pen_task *task)
{
	*request = (struct pen_talk_request){ 0 };
	(void)snprintf(request->head, sizeof(request->head),
		       "{\"id\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"attempt\":%u,%s%.36s%s", id, task->seq,
		       task->attempt, correlation ? "\"correlation_id\":\"" : "",
		       correlation ? correlation : "", correlation ? "\"," : "");
	add_text(request, request->head);
	if (task->key_len) {
		add_string(request, "\"key\":\"", "\"key_base64\":\"", task->key, task->key_len);
		add_text(request, "\",");
	}
	if (task->path) {
		add_string(request, "\"path\":\"", "\"path_base64\":\"", task->path, strlen(task->path));
		add_text(request, "\"}\n");
	} else if (task->form == PEN_TASK_JSON) {
		add_text(request, "\"item\":");
		add(request, PEN_TALK_ONE_LINE, task->item, task->item_len);
		add_text(request, "}\n");
	} else {
		add_string(request, "\"item_text\":\"", "\"item_base64\":\"", task->item ? task->item : "",
			   task->item ? task->item_len : 0);
		add_text(request, "\"}\n");
	}
}

/* Each takes from from[0, len) and writes into to[0, cap); *ret_used: how much was taken. Returns what was written. */

static size_t write_plain(const char *from, size_t len, char *to, size_t cap, size_t *ret_used)
{
	*ret_used = pen_min(len, cap);
	memcpy(to, from, *ret_used);
	return *ret_used;
}

static size_t write_one_line(const char *from, size_t len, char *to, size_t cap, size_t *ret_used)
{
	size_t n = write_plain(from, len, to, cap, ret_used);

	for (char *p = to; (p = memchr(p, '\n', (size_t)(to + n - p)));)
		*p = ' ';
	for (char *p = to; (p = memchr(p, '\r', (size_t)(to + n - p)));)
		*p = ' ';
	return n;
}

static size_t put_escape(char *to, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = "btn\0fr"; /* of 8 to 13; \v has none */

	to[0] = '\\';
	if (c == '"' || c == '\\') {
		to[1] = (char)c;
		return 2;
	}
	if (c >= '\b' && c <= '\r' && letters[c - '\b']) {
		to[1] = letters[c - '\b'];
		return 2;
	}
	to[1] = 'u';
	to[2] = to[3] = '0';
	to[4] = hex[c >> 4];
	to[5] = hex[c & 15];
	return 6;
}

static size_t write_string(const char *from, size_t len, char *to, size_t cap, size_t *ret_used)
{
	size_t used = 0;
	size_t out = 0;

	while (used < len && cap - out >= 6) {
		size_t run = pen_min(len - used, cap - out);
		size_t n = 0;

		while (n < run) {
			unsigned char c = (unsigned char)from[used + n];

			if (c < ' ' || c == '"' || c == '\\')
				break;
			to[out + n++] = (char)c;
		}
		used += n;
		out += n;
		if (n < run && cap - out >= 6)
			out += put_escape(to + out, (unsigned char)from[used++]);
	}
	*ret_used = used;
	return out;
}

static size_t write_base64(const char *from, size_t len, char *to, size_t cap, size_t *ret_used)
{
	static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t used = 0;
	size_t out = 0;

	for (; used < len && cap - out >= 4; out += 4) {
		const unsigned char *p = (const unsigned char *)from + used;
		size_t n = pen_min(len - used, 3);
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)(n > 1 ? p[1] : 0) << 8 | (n > 2 ? p[2] : 0);

		to[out] = digits64[v >> 18];
		to[out + 1] = digits64[v >> 12 & 63];
		to[out + 2] = n > 1 ? digits64[v >> 6 & 63] : '=';
		to[out + 3] = n > 2 ? digits64[v & 63] : '=';
		used += n;
	}
	*ret_used = used;
	return out;
}

size_t pen_talk_write(struct pen_talk_request *request, char *to, size_t cap)
{
	static size_t (*const writers[])(const char *, size_t, char *, size_t, size_t *) = {
		[PEN_TALK_PLAIN] = write_plain,
		[PEN_TALK_ONE_LINE] = write_one_line,
		[PEN_TALK_STRING] = write_string,
		[PEN_TALK_BASE64] = write_base64,
	};
	size_t out = 0;

	pen_assert(cap >= 8);
	while (request->part < request->count) {
		const struct pen_talk_part *part = &request->parts[request->part];
		size_t used;

		out += writers[part->form](part->data + request->at, part->len - request->at, to + out,
					   cap - out, &used);
		request->at += used;
		if (request->at < part->len)
			break; /* no more room */
		request->part++;
		request->at = 0;
	}
	return out;
}

/* ---- replies ---- */

/* A member of an object: its name, and the first and last + 1 byte of its value. */
struct member {
	const char *name;
	size_t name_len;
	char *value;
	char *end;
};

struct walk {
	struct scan s;
	char *at;
};

/* at: a '{' or '['. The text is valid. */
static void enter(struct walk *w, char *at)
{
	w->at = (char *)(uintptr_t)skip_blank(&w->s, (const uint8_t *)at + 1);
}

/* at: a ',' or the end of a container. */
static bool more(struct walk *w)
{
	if (*w->at == ',')
		w->at = (char *)(uintptr_t)skip_blank(&w->s, (const uint8_t *)w->at + 1);
	return *w->at != '}' && *w->at != ']';
}

static bool next_value(struct walk *w, char **ret_value, char **ret_end)
{
	const uint8_t *end;

	*ret_value = w->at;
	end = pen_json_skip(&w->s, (const uint8_t *)w->at);
	if (!end)
		return false;
	*ret_end = (char *)(uintptr_t)end;
	w->at = (char *)(uintptr_t)skip_blank(&w->s, end);
	return true;
}

static bool next_member(struct walk *w, struct member *m)
{
	char *name, *end;

	if (!more(w) || !next_value(w, &name, &end))
		return false;
	m->name = name + 1;
	m->name_len = (size_t)(end - name) - 2;
	if (memchr(m->name, '\\', m->name_len)) {
		int64_t len = pen_json_unescape(name + 1, m->name_len);

		m->name_len = len < 0 ? 0 : (size_t)len;
	}
	/* at the colon */
	w->at = (char *)(uintptr_t)skip_blank(&w->s, (const uint8_t *)w->at + 1);
	return next_value(w, &m->value, &m->end);
}

static bool is(const struct member *m, const char *name)
{
	return m->name_len == strlen(name) && memcmp(m->name, name, m->name_len) == 0;
}

/* A string's bytes, decoded in place and NUL-terminated. */
static const char *take_string(const struct member *m, const char **ret, size_t *ret_len)
{
	int64_t len;

	if (*m->value != '"')
		return "is no string";
	len = m->end - m->value - 2;
	if (memchr(m->value + 1, '\\', (size_t)len))
		len = pen_json_unescape(m->value + 1, (size_t)len);
	if (len < 0)
		return "has half of a surrogate pair";
	m->value[1 + len] = '\0';
	*ret = m->value + 1;
	*ret_len = (size_t)len;
	return NULL;
}

static int digit64(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Base64, with or without padding, either alphabet. */
static const char *take_base64(const struct member *m, const char **ret, size_t *ret_len)
{
	const char *wrong = take_string(m, ret, ret_len);
	unsigned char *out = (unsigned char *)m->value + 1;
	const unsigned char *p = out;
	const unsigned char *end;
	uint32_t v = 0;
	uint32_t bits = 0;

	if (wrong)
		return wrong;
	end = p + *ret_len;
	for (int pad = 0; pad < 2 && end > p && end[-1] == '='; pad++)
		end--;
	if ((end - p) % 4 == 1)
		return "is no base64";
	for (; p < end; p++) {
		int d = digit64(*p);

		if (d < 0)
			return "is no base64";
		v = v << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*out++ = (unsigned char)(v >> bits);
		}
	}
	*ret_len = (size_t)(out - ((unsigned char *)m->value + 1));
	return NULL;
}

static const char *take_json(const struct member *m, const char **ret, size_t *ret_len)
{
	*ret = m->value;
	*ret_len = (size_t)(m->end - m->value);
	return NULL;
}

static const char *take_number(const struct member *m, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (m->end - m->value > 19)
		return "is no number that fits";
	for (const char *p = m->value; p < m->end; p++) {
		if (!is_digit((uint8_t)*p))
			return "is no whole number";
		v = v * 10 + (uint64_t)(*p - '0');
	}
	*ret = v;
	return v > max ? "is no number that fits" : NULL;
}

/* What a member says, when its name is one of value, value_text, value_base64. False: it is not. */
static bool take_value(const struct member *m, const char **ret, size_t *ret_len, bool *ret_json,
		       const char **ret_wrong)
{
	if (is(m, "value"))
		*ret_wrong = take_json(m, ret, ret_len);
	else if (is(m, "value_text"))
		*ret_wrong = take_string(m, ret, ret_len);
	else if (is(m, "value_base64"))
		*ret_wrong = take_base64(m, ret, ret_len);
	else
		return false;
	*ret_json = m->name_len == 5;
	return true;
}

/* One element of put or delete. */
static const char *take_deed(struct walk *w, char *at, struct pen_deed *deed)
{
	struct member m;
	const char *wrong = NULL;
	const char *data;
	size_t len;
	bool json;

	if (*at != '{')
		return "an element of \"put\" or \"delete\" is no object";
	enter(w, at);
	while (!wrong && next_member(w, &m)) {
		if (is(&m, "dataset")) {
			wrong = deed->dataset ? "is there twice" : take_string(&m, &deed->dataset, &len);
			if (!wrong && strlen(deed->dataset) != len)
				wrong = "has a NUL";
		} else if (is(&m, "key") || is(&m, "key_base64")) {
			wrong = deed->key	  ? "is there twice"
				: m.name_len == 3 ? take_string(&m, &data, &len)
						  : take_base64(&m, &data, &len);
			if (!wrong) {
				deed->key = data;
				deed->key_len = len;
			}
		} else if (!deed->del && take_value(&m, &data, &len, &json, &wrong)) {
			wrong = deed->value ? "is there twice" : wrong;
			if (!wrong) {
				deed->value = data;
				deed->value_len = len;
			}
		}
	}
	if (wrong)
		return "a member of an element of \"put\" or \"delete\" is there twice or of the wrong kind";
	if (!deed->dataset || !*deed->dataset || !deed->key_len || (!deed->del && !deed->value))
		return deed->del ? "an element of \"delete\" needs \"dataset\" and \"key\""
				 : "an element of \"put\" needs \"dataset\", \"key\" and a value";
	return NULL;
}

static const char *take_deeds(const struct walk *outer, const struct member *m, bool del,
			      struct pen_talk_reply *ret, struct pen_deed *deeds)
{
	struct walk list = *outer;
	struct walk inner = *outer;
	const char *wrong = NULL;
	char *value, *end;

	if (*m->value != '[')
		return "\"put\" or \"delete\" is no array";
	enter(&list, m->value);
	while (!wrong && more(&list) && next_value(&list, &value, &end)) {
		if (ret->deed_count == PEN_CREW_DEEDS_MAX)
			return "more than 1,024 puts and deletes";
		deeds[ret->deed_count] = (struct pen_deed){ .del = del };
		wrong = take_deed(&inner, value, &deeds[ret->deed_count++]);
	}
	return wrong;
}

static const char *take_error(const struct member *m, struct pen_talk_reply *ret)
{
	static const struct {
		const char *name;
		enum pen_talk_word word;
	} words[] = { { "reject", PEN_TALK_REJECT },
		      { "retry", PEN_TALK_RETRY },
		      { "fatal", PEN_TALK_FATAL },
		      { "drop", PEN_TALK_DROP } };
	const char *text;
	size_t len;

	if (!take_string(m, &text, &len))
		for (size_t i = 0; i < PEN_COUNT(words); i++)
			if (strcmp(text, words[i].name) == 0) {
				ret->word = words[i].word;
				return NULL;
			}
	return "\"error\" is none of \"reject\", \"retry\", \"fatal\" and \"drop\"";
}

enum seen {
	SEEN_ID = 1,
	SEEN_OK = 2,
	SEEN_VALUE = 4,
	SEEN_ERROR = 8,
	SEEN_READY = 16,
	SEEN_PUT = 32,
	SEEN_DELETE = 64,
	SEEN_AFTER = 128,
	SEEN_CODE = 256,
	SEEN_MESSAGE = 512
};

/* What a member of the reply is; 0: none of ours. */
static enum seen take_member(const struct walk *w, const struct member *m, struct pen_talk_reply *ret,
			     struct pen_deed *deeds, const char **ret_wrong)
{
	const char *wrong = NULL;
	enum seen what = 0;
	uint64_t ms = 0;
	size_t len;

	if (is(m, "id")) {
		what = SEEN_ID;
		if (take_number(m, UINT64_MAX / 2, &ret->id))
			*ret_wrong = "\"id\" is no whole number";
	} else if (is(m, "ok") || is(m, "ready")) {
		what = m->name_len == 2 ? SEEN_OK : SEEN_READY;
		if (*m->value != 't')
			*ret_wrong = "\"ok\" or \"ready\" is not true";
	} else if (take_value(m, &ret->value, &ret->value_len, &ret->value_json, &wrong)) {
		what = SEEN_VALUE;
		*ret_wrong = wrong ? "\"value_text\" is no string, or \"value_base64\" no base64" : NULL;
	} else if (is(m, "error")) {
		what = SEEN_ERROR;
		*ret_wrong = take_error(m, ret);
	} else if (is(m, "code") || is(m, "message")) {
		what = m->name_len == 4 ? SEEN_CODE : SEEN_MESSAGE;
		if (take_string(m, m->name_len == 4 ? &ret->code : &ret->message, &len))
			*ret_wrong = "\"code\" or \"message\" is no string";
	} else if (is(m, "retry_after_ms")) {
		what = SEEN_AFTER;
		if (take_number(m, RETRY_MS_MAX, &ms))
			*ret_wrong = "\"retry_after_ms\" is no whole number of at most a year";
		ret->retry_after_ns = ms * PEN_NS_PER_MS;
	} else if (is(m, "put") || is(m, "delete")) {
		what = m->name_len == 3 ? SEEN_PUT : SEEN_DELETE;
		*ret_wrong = take_deeds(w, m, m->name_len == 6, ret, deeds);
	}
	return what;
}

static const char *judge(uint32_t seen, struct pen_talk_reply *ret)
{
	if (seen & SEEN_READY) {
		ret->word = PEN_TALK_READY;
		return seen == SEEN_READY || seen == (SEEN_READY | SEEN_MESSAGE)
			       ? NULL
			       : "\"ready\" stands in an answer";
	}
	if (!(seen & SEEN_ID))
		return "it has no \"id\"";
	if (seen & SEEN_ERROR)
		return seen & (SEEN_OK | SEEN_VALUE | SEEN_PUT | SEEN_DELETE)
			       ? "it says \"error\", and a value, \"ok\", \"put\" or \"delete\""
			       : NULL;
	ret->word = PEN_TALK_OK;
	return seen & (SEEN_OK | SEEN_VALUE) ? NULL : "it says neither \"ok\", \"value\" nor \"error\"";
}

const char *pen_talk_read(struct pen_json *json, char *line, size_t len, struct pen_talk_reply *ret,
			  struct pen_deed *deeds)
{
	struct pen_json_flaw flaw = { 0 };
	struct walk w = { { (const uint8_t *)line, (const uint8_t *)line + len, NULL }, line };
	uint32_t seen = 0;
	struct member m;
	const char *wrong = NULL;

	*ret = (struct pen_talk_reply){ .code = "", .message = "" };
	if (pen_json_check(json, line, len, NULL, NULL, 0, NULL, &flaw))
		return "it is no JSON";
	w.at = (char *)(uintptr_t)skip_blank(&w.s, (const uint8_t *)line);
	if (*w.at != '{')
		return "it is no JSON object";
	enter(&w, w.at);
	while (next_member(&w, &m)) {
		enum seen what = take_member(&w, &m, ret, deeds, &wrong);

		if (wrong)
			return wrong;
		if (seen & what)
			return "a member is there twice";
		seen |= what;
	}
	return judge(seen, ret);
}
