/* SPDX-License-Identifier: MIT */
/*
 * What a cell looks like: a number, a date, an address. Column names do not look like these, so a first row that
 * does is no header. Coarse on purpose: it reads a few dozen cells a file and never decides about data.
 */
#include <string.h>
#include <strings.h>

#include "engine/csv_sniff.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static void trim(const char **cell, size_t *len)
{
	while (*len && (**cell == ' ' || **cell == '\t')) {
		++*cell;
		--*len;
	}
	while (*len && ((*cell)[*len - 1] == ' ' || (*cell)[*len - 1] == '\t'))
		--*len;
}

/* How many of the bytes are of the set; digits: how many are digits. */
static size_t count(const char *cell, size_t len, const char *set, size_t *digits)
{
	size_t n = 0;

	*digits = 0;
	for (size_t i = 0; i < len; i++) {
		*digits += is_digit(cell[i]);
		n += cell[i] && strchr(set, cell[i]) != NULL;
	}
	return n;
}

bool pen_csv_is_number(const char *cell, size_t len)
{
	static const char *const signs[] = { "-", "+", "$", "(", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5" };
	size_t digits;

	trim(&cell, &len);
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
		size_t n = strlen(signs[i]);

		if (len > n && !memcmp(cell, signs[i], n)) {
			cell += n;
			len -= n;
		}
	}
	if (!len || !(is_digit(*cell) || (len > 1 && (*cell == '.' || *cell == ',') && is_digit(cell[1]))))
		return false;
	return count(cell, len, ".,' eE+-%)", &digits) + digits == len;
}

/* 2024-01-02, 1/2/24, 12:30:00.5, 2024-01-02T12:30:00Z, +01:00. */
static bool is_date(const char *cell, size_t len)
{
	size_t digits, marks = count(cell, len, "-/:.+ TZ", &digits);

	return digits && is_digit(*cell) && marks + digits == len;
}

/* 2 Jan 2024, January 2, 2024: a month's name among numbers. */
static bool is_spelled_date(const char *cell, size_t len)
{
	static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
	size_t words = 0, i = 0, digits;
	bool month = false;

	count(cell, len, "", &digits);
	while (i < len) {
		size_t begin = i;

		while (i < len && is_letter(cell[i]))
			i++;
		words += i > begin;
		for (size_t k = 0; i - begin >= 3 && k < sizeof months - 1; k += 3)
			month |= !strncasecmp(cell + begin, months + k, 3);
		while (i < len && !is_letter(cell[i])) {
			if (!is_digit(cell[i]) && !strchr(" ,.-/:", cell[i]))
				return false;
			i++;
		}
	}
	return month && words == 1 && digits;
}

/* E-mail, IPv6, URL (an IPv4 address looks like a number). */
static bool is_address(const char *cell, size_t len)
{
	const char *at = memchr(cell, '@', len), *colon = memchr(cell, ':', len);
	size_t hex = 0, colons = 0;

	if (memchr(cell, ' ', len))
		return false;
	if (at && at > cell && memchr(at, '.', len - (size_t)(at - cell)))
		return true;
	if (len > 4 && !strncasecmp(cell, "www.", 4))
		return true;
	if (!colon)
		return false;
	if (colon > cell && cell + len - colon > 3 && !memcmp(colon, "://", 3))
		return true;
	for (size_t i = 0; i < len; i++) {
		char c = (char)(cell[i] | 0x20);

		colons += cell[i] == ':';
		hex += is_digit(cell[i]) || (c >= 'a' && c <= 'f') || cell[i] == '.' || cell[i] == '/';
	}
	return colons >= 2 && hex + colons == len;
}

bool pen_csv_is_value(const char *cell, size_t len)
{
	trim(&cell, &len);
	return len && (pen_csv_is_number(cell, len) || is_date(cell, len) || is_spelled_date(cell, len) ||
		       is_address(cell, len));
}
