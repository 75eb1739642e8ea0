/* SPDX-License-Identifier: MIT */
/*
 * project - some members of a JSON object, as a new one
 *
 *	id,title,/meta/year,lang=/meta/language
 *
 * A member is a name at the top, or a JSON pointer, whose last part is then its name, or NAME=/POINTER. The new object
 * has them in this order, each value as it stands in the item; what the item lacks is left out. What is no object is
 * a reject.
 *
 *   Threads    constant once parsed: any number.
 *   Memory     its own text.
 *   Limits     PEN_PROJECT_MAX members. No member lies inside another, so the result is at most pen_project_extra()
 *              bytes longer than the item.
 *   Padding    as in json.h.
 */
#ifndef PEN_ENGINE_PROJECT_H
#define PEN_ENGINE_PROJECT_H

#include "engine/json.h"
#include "include/penstock.h"

#define PEN_PROJECT_MAX 64u

struct pen_project;

/* 0, -PEN_USAGE or -ENOMEM with the reason. */
int pen_project_parse(const char *text, struct pen_project **ret, struct pen_failure *why);
void pen_project_close(struct pen_project *project); /* NULL is allowed */
size_t pen_project_extra(const struct pen_project *project);
/* Writes the object to out, which has room for len + extra bytes. 0, -PEN_NOT_OBJECT, -PEN_JSON_BAD. */
int pen_project_take(const struct pen_project *project, const char *text, size_t len, char *out,
		     size_t *ret_len);

#endif
