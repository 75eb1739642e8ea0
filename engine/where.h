/* SPDX-License-Identifier: MIT */
/*
 * where - a condition on items: which of them `retry --where` and `items --where` mean
 *
 *   code=PEN1042 and error~timeout and attempts>=2
 *   not (state=rejected or key ~ '^tmp/') and source != "a b.csv"
 *
 *   condition    FIELD OPERATOR VALUE, joined by `and`, `or`, `not`, and parentheses; not binds closest, then and
 *   code         the error code, by name or number: PEN1042, 1042; none: no error. Only = != ~ !~
 *   state        committed, rejected, failed, quarantined, skipped, retrying. Only = != ~ !~
 *   error        the message; `message` is the same
 *   key          as `penstock get` takes it: a number (or SOURCE:OFFSET) in datasets keyed by @seq and @offset, whose
 *                order is that of the numbers; hex digits for @content; else bytes
 *   source       bytes
 *   seq, line, attempts    whole numbers. Not ~ !~
 *   = != < <= > >=         numbers as such, text byte by byte
 *   ~ !~         a POSIX extended regular expression fits somewhere, or nowhere; letters differ from capitals
 *   VALUE        up to a blank or a parenthesis; or in '...' (as it stands) or "..." (\" and \\ are " and \). A quote
 *                inside a value without quotes is refused, so that none is forgotten
 *
 * What an item does not have is empty text, or 0. Blanks are free; and, or, not may be written in capitals.
 *
 *   Threads    a parsed condition is constant: any thread.
 *   Memory     one block, and what regcomp() needs for each expression. Matching allocates nothing itself;
 *              the C library's regexec() does.
 *   Limits     PEN_WHERE_BYTES a condition, PEN_WHERE_TERMS comparisons, PEN_WHERE_DEPTH levels of parentheses and
 *              nots; a regular expression has PEN_WHERE_REGEX bytes, PEN_WHERE_DEPTH groups inside each other and
 *              PEN_WHERE_STEPS characters with its repetitions written out, and no back-references: what makes the C
 *              library's matcher slow or large is refused.
 *   Errors     -PEN_USAGE with the column, counted in characters from 1; -PEN_MEMORY.
 */
#ifndef PEN_ENGINE_WHERE_H
#define PEN_ENGINE_WHERE_H

#include "include/penstock.h"

#define PEN_WHERE_BYTES 4096u
#define PEN_WHERE_TERMS 64u
#define PEN_WHERE_DEPTH 32u
#define PEN_WHERE_REGEX 256u
#define PEN_WHERE_STEPS 1024u

/* The calls are public: pen_where_parse(), pen_where_match(), pen_where_free(). */

#endif
