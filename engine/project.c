/* SPDX-License-Identifier: MIT */
/*
 * Each member is looked for by itself: a pass over the item up to it. Few members are asked for, and most of them stand
 * near the front; one pass for all would need a tree of names.
 */
#include "engine/project.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/error.h"

struct member {
	struct pen_pointer pointer;
	char *head; /* `"name":`, escaped */
	size_t head_len;
};

struct pen_project {
	struct member members[PEN_PROJECT_MAX];
	uint32_t count;
	size_t extra;
};

/* ---- parsing ------------------------------------------------------------------------------- */

/* `"name":` as JSON writes it. Control characters are the only others that need an escape. */
static char *make_head(const char *name, size_t len)
{
	char *head = malloc(6 * len + 4), *out = head;

	if (!head)
		return NULL;
	*out++ = '"';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20) {
			out += snprintf(out, 7, "\\u%04x", c);
			continue;
		}
		if (c == '"' || c == '\\')
			*out++ = '\\';
		*out++ = (char)c;
	}
	*out++ = '"';
	*out++ = ':';
	*out = '\0';
	return head;
}

/* A top-level name as a pointer. */
static char *pointer_of(const char *name, size_t len)
{
	char *text = malloc(2 * len + 2), *out = text;

	if (!text)
		return NULL;
	*out++ = '/';
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '~' || name[i] == '/')
			*out++ = '~';
		*out++ = name[i] == '~' ? '0' : name[i] == '/' ? '1' : name[i];
	}
	*out = '\0';
	return text;
}

/* One part of the list: NAME, /POINTER or NAME=/POINTER. */
static int parse_member(struct member *m, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len), *name = text;
	size_t name_len = equals && *text != '/' ? (size_t)(equals - text) : len;
	bool named = name_len < len;
	char *pointer;
	int rc;

	if (!name_len || (named && text[name_len + 1] != '/'))
		return -PEN_USAGE;
	pointer = named		 ? strndup(text + name_len + 1, len - name_len - 1)
		  : *text == '/' ? strndup(text, len)
				 : pointer_of(text, len);
	rc = pointer ? pen_pointer_parse(&m->pointer, pointer) : -ENOMEM;
	free(pointer);
	if (rc)
		return rc;
	if (!named && *text == '/') {
		name = m->pointer.text + m->pointer.at[m->pointer.parts - 1];
		name_len = m->pointer.len[m->pointer.parts - 1];
	}
	m->head = make_head(name, name_len);
	m->head_len = m->head ? strlen(m->head) : 0;
	return m->head ? 0 : -ENOMEM;
}

/* Is what a leads to what b leads to, or does it hold it? */
static bool holds(const struct pen_pointer *a, const struct pen_pointer *b)
{
	if (a->parts > b->parts)
		return false;
	for (uint32_t i = 0; i < a->parts; i++)
		if (a->len[i] != b->len[i] || memcmp(a->text + a->at[i], b->text + b->at[i], a->len[i]) != 0)
			return false;
	return true;
}

static int check_member(const struct pen_project *p, const struct member *m, struct pen_failure *why)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct member *other = &p->members[i];

		if (holds(&other->pointer, &m->pointer) || holds(&m->pointer, &other->pointer))
			return pen_fail(why, -PEN_USAGE, 0,
					"project: '%s' and '%s' are the same, or one lies inside the other",
					other->pointer.raw, m->pointer.raw);
		if (!strcmp(other->head, m->head))
			return pen_fail(
				why, -PEN_USAGE, 0,
				"project: '%s' and '%s' would have the same name: give one another, NAME=%s",
				other->pointer.raw, m->pointer.raw, m->pointer.raw);
	}
	return 0;
}

static int parse_list(struct pen_project *p, const char *text, struct pen_failure *why)
{
	for (;;) {
		size_t len = strcspn(text, ",");
		struct member *m = &p->members[p->count];
		int rc;

		if (p->count == PEN_PROJECT_MAX)
			return pen_fail(why, -PEN_USAGE, 0, "project: at most %u members", PEN_PROJECT_MAX);
		rc = parse_member(m, text, len);
		if (rc == -PEN_USAGE)
			return pen_fail(why, rc, 0,
					"project: '%.*s' is no member: NAME, /POINTER or NAME=/POINTER",
					(int)(len < 200 ? len : 200), text);
		if (!rc)
			rc = check_member(p, m, why);
		if (rc) {
			pen_pointer_fini(&m->pointer);
			free(m->head);
			m->head = NULL;
			return rc;
		}
		p->count++;
		p->extra += m->head_len + 1; /* and a comma */
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

int pen_project_parse(const char *text, struct pen_project **ret, struct pen_failure *why)
{
	struct pen_project *p = calloc(1, sizeof *p);
	int rc = p ? parse_list(p, text, why) : -ENOMEM;

	if (rc) {
		pen_project_close(p);
		return rc == -ENOMEM ? pen_fail(why, rc, ENOMEM, "no memory for a projection") : rc;
	}
	p->extra += 2; /* braces */
	*ret = p;
	return 0;
}

void pen_project_close(struct pen_project *project)
{
	if (!project)
		return;
	for (uint32_t i = 0; i < project->count; i++) {
		pen_pointer_fini(&project->members[i].pointer);
		free(project->members[i].head);
	}
	free(project);
}

size_t pen_project_extra(const struct pen_project *project)
{
	return project->extra;
}

/* ---- taking -------------------------------------------------------------------------------- */

int pen_project_take(const struct pen_project *project, const char *text, size_t len, char *out,
		     size_t *ret_len)
{
	char *to = out;
	size_t blank = 0;

	while (blank < len && strchr(" \t\r\n", text[blank]) && text[blank])
		blank++;
	if (blank == len || text[blank] != '{')
		return -PEN_NOT_OBJECT;
	*to++ = '{';
	for (uint32_t i = 0; i < project->count; i++) {
		const struct member *m = &project->members[i];
		const char *at;
		size_t n;
		int rc = pen_json_locate(text, len, &m->pointer, &at, &n);

		if (rc == -PEN_JSON_BAD)
			return rc;
		if (rc)
			continue;
		if (to != out + 1)
			*to++ = ',';
		to = mempcpy(to, m->head, m->head_len);
		to = mempcpy(to, at, n);
	}
	*to++ = '}';
	*ret_len = (size_t)(to - out);
	return 0;
}
