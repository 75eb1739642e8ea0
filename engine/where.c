/* SPDX-License-Identifier: MIT */
#include "engine/where.h"

#include <errno.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ring/base.h"
#include "ring/error.h"

enum field { CODE, STATE, ERROR, KEY, SOURCE, SEQ, LINE, ATTEMPTS };
enum sort { NAME, TEXT, NUMBER };

static const struct {
	const char *name;
	enum field field;
	enum sort sort;
} fields[] = {
	{ "code", CODE, NAME },	    { "state", STATE, NAME }, { "error", ERROR, TEXT },
	{ "message", ERROR, TEXT }, { "key", KEY, TEXT },     { "source", SOURCE, TEXT },
	{ "seq", SEQ, NUMBER },	    { "line", LINE, NUMBER }, { "attempts", ATTEMPTS, NUMBER },
};
#define FIELDS "code, state, error, key, source, seq, line, attempts"

enum operator{ EQUAL, UNEQUAL, LESS, AT_MOST, MORE, AT_LEAST, FITS, FITS_NOT };

/* Longer ones first. */
static const struct {
	const char *text;
	enum operator op;
} operators[] = {
	{ "!=", UNEQUAL }, { "!~", FITS_NOT }, { "<=", AT_MOST }, { ">=", AT_LEAST },
	{ "=", EQUAL },	   { "<", LESS },      { ">", MORE },	  { "~", FITS },
};

struct term {
	enum field field;
	enum sort sort;
	enum operator op;
	bool has_regex;
	regex_t regex;
	uint64_t number; /* of a NUMBER; the negative code or state of a NAME */
	const char *text;
	size_t len;
};

enum node_kind { TERM, NOT, AND, OR };

struct node {
	enum node_kind kind;
	uint16_t left, right; /* nodes; TERM: left is the term */
};

/* A term, what joins it to the ones before, and a `not` for each level: not more than that. */
#define NODES (PEN_WHERE_TERMS * 2 + PEN_WHERE_TERMS * PEN_WHERE_DEPTH)

struct pen_where {
	struct term terms[PEN_WHERE_TERMS];
	struct node nodes[NODES];
	uint32_t term_count, node_count;
	uint16_t root;
	char *strings_end;
	char strings[PEN_WHERE_BYTES + PEN_WHERE_TERMS + 1]; /* the values, each ended by NUL */
};

struct parser {
	struct pen_where *where;
	const char *text, *at;
	struct pen_failure *why;
	uint32_t depth;
};

static int or_chain(struct parser *p, uint16_t *ret);

/* ---- words --------------------------------------------------------------------------------- */

static unsigned column(const struct parser *p, const char *at)
{
	unsigned n = 1;

	for (const char *c = p->text; c < at; c++)
		n += ((unsigned char)*c & 0xc0) != 0x80;
	return n;
}

#define refuse(p, where_at, format, ...) \
	pen_fail((p)->why, -PEN_USAGE, 0, "--where: column %u: " format, column(p, where_at), __VA_ARGS__)

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(struct parser *p)
{
	while (blank(*p->at))
		p->at++;
}

static size_t letters(const char *at)
{
	size_t len = 0;

	while ((at[len] | 0x20) >= 'a' && (at[len] | 0x20) <= 'z')
		len++;
	return len;
}

/* Takes the word if it comes next. */
static bool word(struct parser *p, const char *name)
{
	size_t len;

	skip(p);
	len = letters(p->at);
	if (len != strlen(name) || strncasecmp(p->at, name, len) != 0)
		return false;
	p->at += len;
	return true;
}

/* What comes next, for a sentence: up to 24 bytes, cut at a character. */
static int shown(const char *at)
{
	size_t len = strcspn(at, " \t\n\r");

	if (len > 24) {
		len = 24;
		while (len && ((unsigned char)at[len] & 0xc0) == 0x80)
			len--;
	}
	return (int)len;
}

static uint16_t add_node(struct pen_where *where, enum node_kind kind, uint16_t left, uint16_t right)
{
	where->nodes[where->node_count] = (struct node){ kind, left, right };
	return (uint16_t)where->node_count++;
}

/* ---- values -------------------------------------------------------------------------------- */

static int value(struct parser *p, struct term *term)
{
	char *to = p->where->strings_end, quote = 0;
	const char *begin;

	skip(p);
	begin = p->at;
	if (*p->at == '\'' || *p->at == '"')
		quote = *p->at++;
	term->text = to;
	while (*p->at && *p->at != quote && (quote || (!blank(*p->at) && *p->at != '(' && *p->at != ')'))) {
		if (!quote && (*p->at == '\'' || *p->at == '"'))
			return refuse(p, p->at, "a quote inside a value; put the whole value in %s",
				      *p->at == '"' ? "'...'" : "\"...\"");
		if (quote == '"' && *p->at == '\\' && (p->at[1] == '"' || p->at[1] == '\\'))
			p->at++;
		*to++ = *p->at++;
	}
	if (quote && *p->at != quote)
		return refuse(p, begin, "the quote %c is not closed", quote);
	if (quote)
		p->at++;
	else if (p->at == begin && (*begin == '(' || *begin == ')'))
		return refuse(p, begin, "a value that begins with %c goes in quotes", *begin);
	else if (p->at == begin)
		return refuse(p, begin, "a value is missing; %s is one that is empty", "''");
	term->len = (size_t)(to - term->text);
	*to++ = '\0';
	p->where->strings_end = to;
	return 0;
}

static bool whole_number(const char *text, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	*ret = n;
	return true;
}

/* Behind a [set] that begins at c, or at its end when it is not closed. */
static const char *behind_set(const char *c)
{
	c += c[1] == '^' ? 2 : 1;
	for (bool first = true; *c && (*c != ']' || first); first = false) {
		if (*c == '[' && (c[1] == ':' || c[1] == '.' || c[1] == '=')) {
			const char end[] = { c[1], ']', '\0' }, *to = strstr(c + 2, end);

			c = to ? to + 2 : c + 1;
		} else {
			c++;
		}
	}
	return *c ? c + 1 : c;
}

/* How often {n}, {n,}, {,m} or {n,m} at c writes out what stands before it; *ret: behind it. */
static uint64_t repeats(const char *c, const char **ret)
{
	uint64_t n = 0, most = 0;

	for (c++; (*c >= '0' && *c <= '9') || *c == ','; c++) {
		n = *c == ',' ? 0 : pen_min(n * 10 + (uint64_t)(*c - '0'), 1000000);
		most = pen_max(most, n);
	}
	*ret = *c == '}' ? c + 1 : c;
	return most + 1;
}

/*
 * What the C library's matcher cannot be trusted with: back-references take for ever, and it writes repetitions out (of
 * x+ it makes xx*), so that nested ones double with each level. NULL, or the reason.
 */
static const char *too_much(const char *regex, size_t len)
{
	uint64_t sum[PEN_WHERE_DEPTH + 1] = { 0 }, last = 0; /* steps: of each open group, of the last atom */
	uint32_t depth = 0;

	if (len > PEN_WHERE_REGEX)
		return "is longer than 256 bytes";
	for (const char *c = regex; *c;) {
		char now = *c++;

		if (now == '\\' && *c >= '1' && *c <= '9')
			return "has a back-reference";
		if (now == '(') {
			if (depth == PEN_WHERE_DEPTH)
				return "has more than 32 groups inside each other";
			sum[depth++] += last;
			sum[depth] = last = 0;
		} else if (now == ')' && depth) {
			last = sum[depth--] + last + 1;
		} else if (now == '+') {
			last = last * 2 + 1;
		} else if (now == '{') {
			last = (last + 1) * repeats(c - 1, &c);
		} else if (now != '*' && now != '?') {
			sum[depth] += last;
			last = 1;
			if (now == '[')
				c = behind_set(c - 1);
			else if (now == '\\' && *c)
				c++;
		}
		if (sum[depth] + last > PEN_WHERE_STEPS)
			return "repeats too much: more than 1024 characters when it is written out";
	}
	return NULL;
}

static int regex(struct parser *p, struct term *term, const char *at)
{
	const char *what = too_much(term->text, term->len);
	char text[80];
	int rc;

	if (what)
		return refuse(p, at, "the expression %s", what);
	rc = regcomp(&term->regex, term->text, REG_EXTENDED | REG_NOSUB);
	if (rc == REG_ESPACE)
		return pen_fail(p->why, -PEN_MEMORY, 0, "--where: column %u: no memory for the expression",
				column(p, at));
	if (rc) {
		regerror(rc, &term->regex, text, sizeof text);
		return refuse(p, at, "no regular expression: %s", text);
	}
	term->has_regex = true;
	return 0;
}

static int state_value(struct parser *p, struct term *term, const char *at)
{
	for (int s = PEN_ITEM_COMMITTED; s <= PEN_ITEM_RETRYING; s++) {
		if (strcmp(term->text, pen_item_state_name((enum pen_item_state)s)) == 0) {
			term->number = (uint64_t)s;
			return 0;
		}
	}
	return refuse(
		p, at,
		"'%.*s' is no state; states are committed, rejected, failed, quarantined, skipped, retrying",
		shown(term->text), term->text);
}

static int code_value(struct parser *p, struct term *term, const char *at)
{
	int code = pen_error_find(term->text);

	if (!code && strcmp(term->text, "none") != 0)
		return refuse(p, at, "'%.*s' is no code; `penstock explain` lists them", shown(term->text),
			      term->text);
	term->number = (uint64_t)code;
	return 0;
}

static int compare(struct parser *p, uint16_t *ret)
{
	struct term *term = &p->where->terms[p->where->term_count];
	const char *begin, *at;
	size_t len, i;
	int rc;

	skip(p);
	begin = p->at;
	len = letters(begin);
	if (!*begin)
		return refuse(p, begin, "a condition is missing, such as %s", "code=PEN1042");
	for (i = 0; i < PEN_COUNT(fields); i++)
		if (strlen(fields[i].name) == len && memcmp(fields[i].name, begin, len) == 0)
			break;
	if (i == PEN_COUNT(fields))
		return refuse(p, begin, "'%.*s' is no field; fields are %s",
			      len ? (int)pen_min(len, 24) : shown(begin), begin, FIELDS);
	if (p->where->term_count == PEN_WHERE_TERMS)
		return refuse(p, begin, "more than %u comparisons", PEN_WHERE_TERMS);
	*term = (struct term){ .field = fields[i].field, .sort = fields[i].sort };
	p->at += len;
	skip(p);
	at = p->at;
	for (i = 0; i < PEN_COUNT(operators); i++)
		if (strncmp(at, operators[i].text, strlen(operators[i].text)) == 0)
			break;
	if (i == PEN_COUNT(operators))
		return refuse(p, at, "an operator is missing behind %.*s: = != ~ !~ < <= > >=", (int)len,
			      begin);
	term->op = operators[i].op;
	if (term->sort == NAME && term->op >= LESS && term->op <= AT_LEAST)
		return refuse(p, at, "%.*s takes = != ~ !~, not %s", (int)len, begin, operators[i].text);
	if (term->sort == NUMBER && term->op >= FITS)
		return refuse(p, at, "%.*s is a number: it takes = != < <= > >=, not %s", (int)len, begin,
			      operators[i].text);
	p->at += strlen(operators[i].text);
	skip(p);
	at = p->at;
	rc = value(p, term);
	if (rc)
		return rc;
	if (term->op >= FITS)
		rc = regex(p, term, at);
	else if (term->field == STATE)
		rc = state_value(p, term, at);
	else if (term->field == CODE)
		rc = code_value(p, term, at);
	else if (term->sort == NUMBER && !whole_number(term->text, &term->number))
		rc = refuse(p, at, "'%.*s' is no whole number", shown(term->text), term->text);
	if (rc)
		return rc;
	*ret = add_node(p->where, TERM, (uint16_t)p->where->term_count++, 0);
	return 0;
}

/* ---- structure ----------------------------------------------------------------------------- */

static int one(struct parser *p, uint16_t *ret)
{
	const char *begin;
	int rc;

	*ret = 0;
	skip(p);
	begin = p->at;
	if (*begin != '(' && !word(p, "not"))
		return compare(p, ret);
	if (p->depth == PEN_WHERE_DEPTH)
		return refuse(p, begin, "more than %u levels of parentheses and nots", PEN_WHERE_DEPTH);
	p->depth++;
	if (*begin == '(') {
		p->at++;
		rc = or_chain(p, ret);
		skip(p);
		if (!rc && *p->at != ')')
			rc = refuse(p, p->at, "a ) or `and` or `or` is missing; the ( is in column %u",
				    column(p, begin));
		if (!rc)
			p->at++;
	} else {
		rc = one(p, ret);
		if (!rc)
			*ret = add_node(p->where, NOT, *ret, 0);
	}
	p->depth--;
	return rc;
}

static int and_chain(struct parser *p, uint16_t *ret)
{
	uint16_t right = 0;
	int rc = one(p, ret);

	while (!rc && word(p, "and")) {
		rc = one(p, &right);
		if (!rc)
			*ret = add_node(p->where, AND, *ret, right);
	}
	return rc;
}

static int or_chain(struct parser *p, uint16_t *ret)
{
	uint16_t right = 0;
	int rc = and_chain(p, ret);

	while (!rc && word(p, "or")) {
		rc = and_chain(p, &right);
		if (!rc)
			*ret = add_node(p->where, OR, *ret, right);
	}
	return rc;
}

int pen_where_parse(const char *text, struct pen_where **ret, struct pen_failure *why)
{
	struct parser p = { .text = text, .at = text, .why = why };
	int rc;

	if (strlen(text) > PEN_WHERE_BYTES)
		return pen_fail(why, -PEN_USAGE, 0, "--where: longer than %u bytes", PEN_WHERE_BYTES);
	p.where = calloc(1, sizeof *p.where);
	if (!p.where)
		return pen_fail(why, -PEN_MEMORY, 0, "--where: no memory for the condition");
	p.where->strings_end = p.where->strings;
	rc = or_chain(&p, &p.where->root);
	skip(&p);
	if (!rc && *p.at)
		rc = refuse(&p, p.at, "'%.*s' instead of `and`, `or` or the end", shown(p.at), p.at);
	if (rc) {
		p.where->term_count += p.where->term_count < PEN_WHERE_TERMS; /* the one it broke in */
		pen_where_free(p.where);
		return rc;
	}
	*ret = p.where;
	return 0;
}

void pen_where_free(struct pen_where *where)
{
	if (!where)
		return;
	for (uint32_t i = 0; i < where->term_count; i++)
		if (where->terms[i].has_regex)
			regfree(&where->terms[i].regex);
	free(where);
}

/* ---- matching ------------------------------------------------------------------------------ */

static bool ordered(enum operator op, int sign)
{
	switch (op) {
	case EQUAL:
		return sign == 0;
	case UNEQUAL:
		return sign != 0;
	case LESS:
		return sign < 0;
	case AT_MOST:
		return sign <= 0;
	case MORE:
		return sign > 0;
	default:
		return sign >= 0;
	}
}

/* Enough for the longest key as hex digits. */
#define WORD (2 * PEN_KEY_MAX + 1)

static bool is_number(const struct pen_item *item)
{
	return (item->key_kind == PEN_KEY_SEQ || item->key_kind == PEN_KEY_OFFSET) &&
	       (item->key.len == 8 || item->key.len == 12);
}

/* A key as people type it. */
static struct pen_view key_text(const struct pen_item *item, char word[WORD])
{
	const uint8_t *key = item->key.data;
	int len;

	if (is_number(item) && item->key.len == 8) {
		len = snprintf(word, WORD, "%" PRIu64, pen_get_be64(key));
		return (struct pen_view){ word, (size_t)len };
	}
	if (is_number(item)) {
		len = snprintf(word, WORD, "%" PRIu32 ":%" PRIu64, pen_get_be32(key), pen_get_be64(key + 4));
		return (struct pen_view){ word, (size_t)len };
	}
	if (item->key_kind == PEN_KEY_CONTENT && item->key.len <= PEN_KEY_MAX) {
		for (size_t i = 0; i < item->key.len; i++)
			(void)snprintf(word + 2 * i, 3, "%02x", key[i]);
		return (struct pen_view){ word, 2 * item->key.len };
	}
	return key ? item->key : (struct pen_view){ "", 0 };
}

/* NUMBER or SOURCE:OFFSET, as two numbers. */
static bool numbers(const char *text, uint64_t ret[2])
{
	const char *colon = strchr(text, ':');
	char source[24];
	size_t len = colon ? (size_t)(colon - text) : 0;

	ret[0] = 0;
	if (!colon)
		return whole_number(text, &ret[1]);
	if (len >= sizeof source)
		return false;
	memcpy(source, text, len);
	source[len] = '\0';
	return whole_number(source, &ret[0]) && whole_number(colon + 1, &ret[1]);
}

static struct pen_view text_of(const struct term *term, const struct pen_item *item, char word[WORD])
{
	const char *text = NULL;

	switch (term->field) {
	case KEY:
		return key_text(item, word);
	case SOURCE:
		text = item->source;
		break;
	case CODE:
		text = item->code ? pen_error_name(item->code) : "none";
		break;
	case STATE:
		text = pen_item_state_name(item->state);
		break;
	default:
		text = item->message;
	}
	return text ? (struct pen_view){ text, strlen(text) } : (struct pen_view){ "", 0 };
}

static uint64_t number_of(const struct term *term, const struct pen_item *item)
{
	switch (term->field) {
	case CODE:
		return (uint64_t)item->code;
	case STATE:
		return (uint64_t)item->state;
	case SEQ:
		return item->seq;
	case LINE:
		return item->line;
	default:
		return item->attempts;
	}
}

/* Keys that are numbers are compared as such: true, and *ret_sign, when the value is one of the same form. */
static bool compare_key(const struct term *term, const struct pen_item *item, int *ret_sign)
{
	bool pair = item->key.len == 12;
	uint64_t want[2], have[2];

	if (!is_number(item) || pair != (strchr(term->text, ':') != NULL) || !numbers(term->text, want))
		return false;
	have[0] = pair ? pen_get_be32(item->key.data) : 0;
	have[1] = pen_get_be64((const uint8_t *)item->key.data + (pair ? 4 : 0));
	*ret_sign = have[0] != want[0]	? (have[0] < want[0] ? -1 : 1)
		    : have[1] < want[1] ? -1
					: have[1] > want[1];
	return true;
}

static bool holds(const struct term *term, const struct pen_item *item)
{
	struct pen_view text;
	char word[WORD];
	int sign;

	if (term->has_regex) {
		regmatch_t range = { .rm_so = 0 };

		text = text_of(term, item, word);
		range.rm_eo = (regoff_t)text.len; /* a key may hold NUL */
		return (regexec(&term->regex, text.data, 1, &range, REG_STARTEND) == 0) == (term->op == FITS);
	}
	if (term->sort != TEXT) {
		uint64_t n = number_of(term, item);

		return ordered(term->op, n < term->number ? -1 : n > term->number);
	}
	if (term->field == KEY && compare_key(term, item, &sign))
		return ordered(term->op, sign);
	text = text_of(term, item, word);
	sign = memcmp(text.data, term->text, pen_min(text.len, term->len));
	if (!sign)
		sign = text.len < term->len ? -1 : text.len > term->len;
	return ordered(term->op, sign);
}

/* As deep as the longest chain of terms: PEN_WHERE_TERMS + PEN_WHERE_DEPTH. */
static bool eval(const struct pen_where *where, uint16_t i, const struct pen_item *item)
{
	const struct node *node = &where->nodes[i];

	switch (node->kind) {
	case TERM:
		return holds(&where->terms[node->left], item);
	case NOT:
		return !eval(where, node->left, item);
	case AND:
		return eval(where, node->left, item) && eval(where, node->right, item);
	default:
		return eval(where, node->left, item) || eval(where, node->right, item);
	}
}

bool pen_where_match(const struct pen_where *where, const struct pen_item *item)
{
	return eval(where, where->root, item);
}
