/* SPDX-License-Identifier: MIT */
/*
 * logger - the levels that a directory says, for those who log there and for those who do not
 */
#include <string.h>

#include "ring/error.h"
#include "ring/log.h"
#include "store/logbook.h"

int pen_log_share(const char *dir, const char *levels, struct pen_failure *why)
{
	struct pen_logbook book;
	int rc = pen_logbook_open(&book, dir, why);

	if (rc)
		return rc;
	rc = pen_log_words_set(book.dir, levels, why);
	pen_logbook_close(&book);
	return rc;
}

long pen_log_shared(const char *dir, char *ret, size_t cap, struct pen_failure *why)
{
	struct pen_logbook book;
	long n = pen_logbook_open(&book, dir, why);

	if (n)
		return n;
	n = pen_log_words_text(book.dir, ret, cap);
	pen_logbook_close(&book);
	if (n < 0)
		return pen_fail(why, -PEN_LOG_PLACE, (int)-n, "the levels of '%s' cannot be read: %s", dir,
				strerror((int)-n));
	return n;
}
