/* SPDX-License-Identifier: MIT */
#include "ring/log_line.h"

#include <string.h>
#include <strings.h>

#include "ring/assert.h"

#define REDACTED "[redacted]"

/* ---- bytes ----------------------------------------------------------------------------------- */

/* What does not fit is left out; room for the end of the line is the caller's to keep. */
struct pen {
	char *at;
	size_t len, cap;
};

static void put(struct pen *p, const char *text, size_t len)
{
	len = (size_t)pen_min(len, p->cap - p->len);
	memcpy(p->at + p->len, text, len);
	p->len += len;
}

#define PUT(p, literal) put((p), (literal), sizeof(literal) - 1)

static void put_word(struct pen *p, const char *text)
{
	put(p, text, strlen(text));
}

static void put_u64(struct pen *p, uint64_t n)
{
	char digits[20];
	size_t at = sizeof digits;

	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	put(p, digits + at, sizeof digits - at);
}

static void put_i64(struct pen *p, int64_t n)
{
	if (n < 0)
		PUT(p, "-");
	put_u64(p, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

/* Three decimals, which is what times need; what is no number of JSON is null. */
static void put_real(struct pen *p, double v)
{
	uint64_t milli;
	char frac[4];

	if (!(v > -9e15 && v < 9e15)) {
		PUT(p, "null");
		return;
	}
	if (v < 0)
		PUT(p, "-");
	milli = (uint64_t)((v < 0 ? -v : v) * 1000 + 0.5);
	put_u64(p, milli / 1000);
	frac[0] = '.';
	for (int i = 3; i >= 1; i--, milli /= 10)
		frac[i] = (char)('0' + milli % 10);
	put(p, frac, 4);
}

static void put_hex(struct pen *p, uint64_t n, int digits)
{
	static const char hex[] = "0123456789abcdef";

	for (int i = digits - 1; i >= 0; i--)
		put(p, &hex[n >> (4 * i) & 15], 1);
}

void pen_log_line_time(char ret[24], uint64_t ms)
{
	/* Days to a date by the count of days since 1 March of year 0 (400 years are 146,097 days). */
	uint64_t days = ms / 86400000 + 719468, rest = ms % 86400000, era = days / 146097,
		 doe = days % 146097;
	uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	uint64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
	uint64_t year = yoe + era * 400 + (month <= 2);
	const uint64_t parts[] = { year % 10000,     month,	 day, rest / 3600000, rest / 60000 % 60,
				   rest / 1000 % 60, rest % 1000 };
	static const uint8_t widths[] = { 4, 2, 2, 2, 2, 2, 3 };
	static const char behind[] = "--T::.Z";

	for (size_t i = 0; i < PEN_COUNT(parts); i++) {
		uint64_t n = parts[i];

		for (int d = widths[i] - 1; d >= 0; d--, n /= 10)
			ret[d] = (char)('0' + n % 10);
		ret += widths[i];
		*ret++ = behind[i];
	}
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* The length of the character at c, and what it is; 0: no UTF-8. */
static size_t character(const uint8_t *c, size_t left, uint32_t *ret)
{
	size_t n = c[0] < 0x80			 ? 1
		   : c[0] >= 0xc2 && c[0] < 0xe0 ? 2
		   : c[0] >= 0xe0 && c[0] < 0xf0 ? 3
		   : c[0] >= 0xf0 && c[0] < 0xf5 ? 4
						 : 0;
	uint32_t v = n == 1 ? c[0] : n == 2 ? c[0] & 0x1fu : n == 3 ? c[0] & 0xfu : c[0] & 7u;

	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (c[i] & 0x3fu);
	}
	if ((n == 3 && v < 0x800) || (n == 4 && (v < 0x10000 || v > 0x10ffff)) || (v >= 0xd800 && v < 0xe000))
		return 0;
	*ret = v;
	return n;
}

static bool control(uint32_t v)
{
	return v < 0x20 || (v >= 0x7f && v < 0xa0) || v == 0x200e || v == 0x200f ||
	       (v >= 0x2028 && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069) || v == 0xfeff;
}

static void put_escaped(struct pen *p, const char *text, size_t len)
{
	const uint8_t *c = (const uint8_t *)text;

	PUT(p, "\"");
	while (len) {
		uint32_t v = 0;
		size_t n = character(c, len, &v);

		if (p->cap - p->len < 8) /* a character that is whole, or none */
			break;
		if (!n)
			PUT(p, "\xef\xbf\xbd");
		else if (v == '"' || v == '\\') {
			PUT(p, "\\");
			put(p, (const char *)c, 1);
		} else if (v == '\n')
			PUT(p, "\\n");
		else if (v == '\t')
			PUT(p, "\\t");
		else if (control(v)) {
			PUT(p, "\\u");
			put_hex(p, v, 4);
		} else
			put(p, (const char *)c, n);
		n += !n;
		c += n;
		len -= n;
	}
	PUT(p, "\"");
}

/* ---- secrets --------------------------------------------------------------------------------- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool name_char(char c)
{
	c = lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

bool pen_log_line_secret(const char *name, size_t len)
{
	static const char *const words[] = { "token",	  "password",	"passwd",     "passphrase",
					     "pwd",	  "secret",	"cookie",     "authorization",
					     "apikey",	  "credential", "privatekey", "accesskey",
					     "sessionid", "bearer" };
	char bare[128];
	size_t n = 0;

	/* api_key, api-key and apiKey are one word. */
	for (size_t i = 0; i < len && n < sizeof bare; i++)
		if (name[i] != '_' && name[i] != '-' && name[i] != '.')
			bare[n++] = lower(name[i]);
	for (size_t w = 0; w < PEN_COUNT(words); w++)
		if (memmem(bare, n, words[w], strlen(words[w])))
			return true;
	return false;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the value that begins at `at`: a quoted one ends with its quote, another one where a value ends. */
static size_t value_end(const char *t, size_t len, size_t at, bool line)
{
	char quote = 0;

	if (at < len && (t[at] == '"' || t[at] == '\''))
		quote = t[at++];
	for (; at < len; at++) {
		if (quote && t[at] == '\\' && at + 1 < len)
			at++;
		else if (quote	? t[at] == quote
			 : line ? t[at] == '\n' || t[at] == '\r'
				: blank(t[at]) || strchr("&;,)}]>\"'`|", t[at]))
			break;
	}
	return at;
}

/* A word that says how what follows it is meant: "Authorization: Bearer x". */
static bool scheme(const char *t, size_t len)
{
	static const char *const words[] = { "bearer", "basic", "digest", "token", "negotiate" };

	for (size_t i = 0; i < PEN_COUNT(words); i++)
		if (strlen(words[i]) == len && !strncasecmp(words[i], t, len))
			return true;
	return false;
}

/* The name that ends before `end`: where it begins. Quotes and blanks between are passed over. */
static size_t name_begin(const char *t, size_t end, size_t *ret_end)
{
	while (end && (t[end - 1] == ' ' || t[end - 1] == '"' || t[end - 1] == '\'' || t[end - 1] == ']'))
		end--;
	*ret_end = end;
	while (end && name_char(t[end - 1]))
		end--;
	return end;
}

/* `at` is behind "://": the end of the user part (at its @), or 0. */
static size_t user_end(const char *t, size_t len, size_t at, bool cut)
{
	size_t end = 0, from = at;
	bool colon = false, digits = true;

	for (; at < len && !blank(t[at]) && !strchr("/?#\"'<>\\`", t[at]); at++) {
		if (t[at] == '@')
			end = at;
		if (colon && (t[at] < '0' || t[at] > '9'))
			digits = false;
		colon |= t[at] == ':';
	}
	if (!end && cut && at == len && colon && !digits)
		return len;
	return end > from ? end : 0;
}

static void redact_value(const char *t, size_t len, size_t *at, bool line, struct pen *out)
{
	size_t end;

	while (*at < len && (t[*at] == ' ' || t[*at] == '\t'))
		put(out, &t[(*at)++], 1);
	end = value_end(t, len, *at, line);
	if (!line && scheme(t + *at, end - *at) && end < len && t[end] == ' ') {
		put(out, t + *at, end + 1 - *at);
		*at = end + 1;
		end = value_end(t, len, *at, line);
	}
	if (end == *at)
		return;
	if (t[*at] == '"' || t[*at] == '\'')
		put(out, &t[*at], 1);
	PUT(out, REDACTED);
	*at = end;
}

size_t pen_log_line_redact(const char *t, size_t len, bool cut, char *ret, size_t cap)
{
	struct pen out = { ret, 0, cap };
	size_t word = 0; /* where the word in hand begins */

	for (size_t i = 0; i < len;) {
		char c = t[i];
		size_t begin, end;

		put(&out, &c, 1);
		i++;
		if (c == ':' && i + 2 <= len && t[i] == '/' && t[i + 1] == '/') {
			PUT(&out, "//");
			i += 2;
			end = user_end(t, len, i, cut);
			if (end) {
				PUT(&out, REDACTED);
				i = end;
			}
			word = i;
		} else if (c == '=' || c == ':') {
			begin = name_begin(t, i - 1, &end);
			if (end > begin && pen_log_line_secret(t + begin, end - begin)) {
				bool jar = c == ':' && memmem(t + begin, end - begin, "ookie", 5);

				redact_value(t, len, &i, jar, &out);
			}
			word = i;
		} else if (blank(c)) {
			end = i - 1;
			if (end > word && ((t[word] == '-' && pen_log_line_secret(t + word, end - word)) ||
					   (end - word == 6 && !strncasecmp(t + word, "bearer", 6))))
				redact_value(t, len, &i, false, &out);
			word = i;
		}
	}
	return out.len;
}

/* ---- the line -------------------------------------------------------------------------------- */

struct parts {
	const char *correlation, *user, *message;
	const uint8_t *fields, *frames;
};

static struct parts parts_of(const struct pen_log_record *rec)
{
	struct parts p = { .correlation = (const char *)(rec + 1) };

	p.user = p.correlation + rec->correlation_len;
	p.message = p.user + rec->user_len;
	p.fields = (const uint8_t *)p.message + rec->message_len;
	p.frames = (const uint8_t *)rec + rec->bytes - rec->frame_count * 8u;
	return p;
}

bool pen_log_line_field(const struct pen_log_record *rec, const char *name, struct pen_log_packed *ret,
			const uint8_t **ret_value)
{
	const uint8_t *at = parts_of(rec).fields;

	for (unsigned i = 0; i < rec->field_count; i++) {
		struct pen_log_packed f;

		memcpy(&f, at, sizeof f);
		at += sizeof f;
		if (f.name_len == strlen(name) && !memcmp(at, name, f.name_len)) {
			*ret = f;
			*ret_value = at + f.name_len;
			return true;
		}
		at += f.name_len + f.value_len;
	}
	return false;
}

static void put_text(struct pen *p, const char *text, size_t len, bool cut, struct pen_log_scratch *scratch)
{
	put_escaped(p, scratch->text,
		    pen_log_line_redact(text, len, cut, scratch->text, sizeof scratch->text));
}

static void put_or_null(struct pen *p, const char *text, size_t len)
{
	if (len)
		put_escaped(p, text, len);
	else
		PUT(p, "null");
}

static void put_value(struct pen *p, const struct pen_log_packed *f, const uint8_t *value, bool cut,
		      struct pen_log_scratch *scratch)
{
	uint64_t word = 0;
	double real;

	if (f->type > PEN_LOG_IS_TEXT)
		memcpy(&word, value, 8);
	memcpy(&real, &word, 8);
	switch (f->type) {
	case PEN_LOG_IS_TEXT:
		put_text(p, (const char *)value, f->value_len, cut, scratch);
		break;
	case PEN_LOG_IS_U64:
		put_u64(p, word);
		break;
	case PEN_LOG_IS_I64:
		put_i64(p, (int64_t)word);
		break;
	case PEN_LOG_IS_REAL:
		put_real(p, real);
		break;
	case PEN_LOG_IS_BOOL:
		put_word(p, word ? "true" : "false");
		break;
	default:
		PUT(p, "null");
	}
}

static void put_fields(struct pen *p, const struct pen_log_record *rec, const uint8_t *at,
		       struct pen_log_scratch *scratch)
{
	PUT(p, ",\"fields\":{");
	for (unsigned i = 0; i < rec->field_count; i++) {
		struct pen_log_packed f;

		memcpy(&f, at, sizeof f);
		at += sizeof f;
		if (i)
			PUT(p, ",");
		put_escaped(p, (const char *)at, f.name_len);
		PUT(p, ":");
		if (pen_log_line_secret((const char *)at, f.name_len))
			PUT(p, "\"" REDACTED "\"");
		else
			put_value(p, &f, at + f.name_len, rec->cut, scratch);
		at += f.name_len + f.value_len;
	}
	PUT(p, "}");
}

/* Members that are escaped are at most six times a record, so that nothing below is ever cut short. */
_Static_assert(PEN_LOG_LINE_BYTES > 6 * PEN_LOG_RECORD_BYTES + PEN_LOG_FIELDS * 64 + 4096,
	       "a line holds any record");

size_t pen_log_line_make(const struct pen_log_record *rec, int pid, struct pen_log_scratch *scratch,
			 char *ret, size_t cap)
{
	static const char *const severities[] = { "", "low", "medium", "high", "critical" };
	const struct parts parts = parts_of(rec);
	struct pen p = { ret, 0, cap };
	char time[24];

	pen_log_line_time(time, rec->time_ms);
	PUT(&p, "{\"time\":\"");
	put(&p, time, sizeof time);
	PUT(&p, "\",\"level\":\"");
	put_word(&p, pen_log_level_name(rec->level));
	PUT(&p, "\",\"kind\":\"");
	put_word(&p, pen_log_kind_name(rec->kind));
	PUT(&p, "\",\"module\":\"");
	put_word(&p, pen_log_module_name(rec->module));
	PUT(&p, "\",\"message\":");
	put_text(&p, parts.message, rec->message_len, rec->cut, scratch);
	PUT(&p, ",\"correlationId\":");
	put_or_null(&p, parts.correlation, rec->correlation_len);
	PUT(&p, ",\"userId\":");
	put_or_null(&p, parts.user, rec->user_len);
	PUT(&p, ",\"batch\":");
	if (rec->batch) {
		PUT(&p, "\"");
		put_hex(&p, rec->batch, 16);
		PUT(&p, "\"");
	} else {
		PUT(&p, "null");
	}
	PUT(&p, ",\"item\":");
	if (rec->has_item)
		put_u64(&p, rec->item);
	else
		PUT(&p, "null");
	PUT(&p, ",\"pid\":");
	put_i64(&p, pid);
	PUT(&p, ",\"tid\":");
	put_u64(&p, rec->tid);
	if (rec->code) {
		PUT(&p, ",\"code\":\"");
		put_word(&p, pen_error_name(rec->code));
		PUT(&p, "\"");
	}
	if (rec->severity && rec->severity < PEN_COUNT(severities)) {
		PUT(&p, ",\"severity\":\"");
		put_word(&p, severities[rec->severity]);
		PUT(&p, "\"");
	}
	if (rec->field_count)
		put_fields(&p, rec, parts.fields, scratch);
	if (rec->cut)
		PUT(&p, ",\"cut\":true");
	return p.len;
}

size_t pen_log_line_trace(char *line, size_t len, size_t cap, char *const *names, size_t count,
			  struct pen_log_scratch *scratch)
{
	struct pen p = { line, len, cap };

	PUT(&p, ",\"trace\":[");
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(names[i]);

		if (cap - p.len < 1024)
			break;
		if (i)
			PUT(&p, ",");
		put_text(&p, names[i], (size_t)pen_min(n, 120), false, scratch);
	}
	PUT(&p, "]");
	return p.len;
}
