/* SPDX-License-Identifier: MIT */
/*
 * Numbers are compared as long double, which on x86-64 holds every integer of 64 bits; equal texts are equal however
 * long they are. The decimal point is a point in every locale.
 */
#include "engine/condition.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "ring/error.h"

#define NUMBER_MAX 400u /* bytes of a number that is compared by its size */

/* ---- parsing ------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	enum pen_condition_op op;
} operators[] = { { "==", PEN_CONDITION_EQ }, { "!=", PEN_CONDITION_NE }, { "<=", PEN_CONDITION_LE },
		  { ">=", PEN_CONDITION_GE }, { "<", PEN_CONDITION_LT },  { ">", PEN_CONDITION_GT } };

/* The leftmost operator: a pointer that holds one of these bytes cannot be compared. */
static const char *find_operator(const char *text, enum pen_condition_op *ret_op, size_t *ret_len)
{
	for (; *text; text++)
		for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
			if (!strncmp(text, operators[i].text, strlen(operators[i].text))) {
				*ret_op = operators[i].op;
				*ret_len = strlen(operators[i].text);
				return text;
			}
	return NULL;
}

/* Static storage of the C library: nothing is made, and nothing to free. */
static locale_t plain_locale(void)
{
	return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* A JSON number, and nothing else. */
static bool number_of(const char *text, size_t len, long double *ret)
{
	struct pen_json_flaw flaw;
	char copy[NUMBER_MAX + 1 + PEN_JSON_PADDING] = { 0 };

	if (!len || len > NUMBER_MAX || !(*text == '-' || (*text >= '0' && *text <= '9')))
		return false;
	memcpy(copy, text, len);
	if (copy[len - 1] <= ' ' || !pen_json_valid(copy, len, &flaw))
		return false;
	*ret = strtold_l(copy, NULL, plain_locale());
	return true;
}

static bool word_of(const char *text, size_t len)
{
	return (len == 4 && (!memcmp(text, "true", 4) || !memcmp(text, "null", 4))) ||
	       (len == 5 && !memcmp(text, "false", 5));
}

static int take_value(struct pen_condition *w, const char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
		w->kind = PEN_CONDITION_TEXT;
		text++;
		len -= 2;
	} else if (number_of(text, len, &w->number)) {
		w->kind = PEN_CONDITION_NUMBER;
	} else {
		w->kind = word_of(text, len) ? PEN_CONDITION_WORD : PEN_CONDITION_TEXT;
	}
	w->value = strndup(text, len);
	w->len = len;
	return w->value ? 0 : -ENOMEM;
}

int pen_condition_parse(struct pen_condition *where, const char *text, struct pen_failure *why)
{
	const char *at = text + strspn(text, " \t"), *op;
	struct pen_condition w = { .op = PEN_CONDITION_THERE };
	size_t op_len = 0, len;
	bool absent;
	char *pointer;
	int rc;

	if (strlen(text) > PEN_CONDITION_BYTES)
		return pen_fail(why, -PEN_USAGE, 0, "a condition has at most %u bytes", PEN_CONDITION_BYTES);
	if (*at == '!') {
		w.op = PEN_CONDITION_ABSENT;
		at++;
	}
	absent = w.op == PEN_CONDITION_ABSENT;
	op = find_operator(at, &w.op, &op_len);
	if (absent && op)
		return pen_fail(why, -PEN_USAGE, 0, "the condition '%s' has both ! and a comparison", text);
	len = op ? (size_t)(op - at) : strlen(at);
	while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	pointer = strndup(at, len);
	rc = pointer ? pen_pointer_parse(&w.pointer, pointer) : -ENOMEM;
	free(pointer);
	if (!rc && op)
		rc = take_value(&w, op + op_len);
	if (!rc && w.kind == PEN_CONDITION_WORD && w.op >= PEN_CONDITION_LT)
		rc = -PEN_USAGE;
	if (rc) {
		pen_condition_fini(&w);
		return pen_fail(
			why, rc, rc == -ENOMEM ? ENOMEM : 0,
			"'%s' is no condition: /POINTER, !/POINTER, or /POINTER and ==, !=, <, <=, >, >= and a value",
			text);
	}
	*where = w;
	return 0;
}

void pen_condition_fini(struct pen_condition *where)
{
	pen_pointer_fini(&where->pointer);
	free(where->value);
	where->value = NULL;
}

/* ---- judging ------------------------------------------------------------------------------- */

static bool holds(enum pen_condition_op op, int c)
{
	switch (op) {
	case PEN_CONDITION_EQ:
		return c == 0;
	case PEN_CONDITION_NE:
		return c != 0;
	case PEN_CONDITION_LT:
		return c < 0;
	case PEN_CONDITION_LE:
		return c <= 0;
	case PEN_CONDITION_GT:
		return c > 0;
	case PEN_CONDITION_GE:
		return c >= 0;
	default:
		return false;
	}
}

/* How the item's value stands to the condition's: false when they are of different kinds. */
static bool compare(const struct pen_condition *w, const char *at, size_t len, int *ret)
{
	bool string = *at == '"';
	long double n;

	if (w->kind == PEN_CONDITION_TEXT) {
		if (string)
			*ret = pen_json_compare(at, len, w->value, w->len);
		return string;
	}
	if (string) {
		at++;
		len -= 2;
	}
	if (w->kind == PEN_CONDITION_NUMBER) {
		if (len == w->len && !memcmp(at, w->value, len)) {
			*ret = 0;
			return true;
		}
		if (!number_of(at, len, &n))
			return false;
		*ret = (n > w->number) - (n < w->number);
		return true;
	}
	*ret = len != w->len || memcmp(at, w->value, len) != 0;
	return word_of(at, len);
}

bool pen_condition_fits(const struct pen_condition *where, const char *text, size_t len)
{
	const char *at;
	size_t n;
	int c;

	if (pen_json_locate(text, len, &where->pointer, &at, &n))
		return where->op == PEN_CONDITION_ABSENT;
	if (where->op <= PEN_CONDITION_ABSENT)
		return where->op == PEN_CONDITION_THERE;
	if (!compare(where, at, n, &c))
		return where->op == PEN_CONDITION_NE;
	return holds(where->op, c);
}
