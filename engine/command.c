/* SPDX-License-Identifier: MIT */
/*
 * One pass over the text decides whether it needs a shell; then either the words are cut, or the shell's text is made.
 *
 * A shell's text is copied with its places replaced by references that fit the quotes around them: "${X}" outside of
 * quotes, ${X} inside double ones, '"${X}"' inside single ones. $( ) and ` ` open a context of their own. If this
 * reading of the text is ever not the shell's, a value may be cut at its blanks, and no more: what a variable holds
 * is not read again. Putting the quoted value itself into the text would be one mistake away from running it.
 */
#include "engine/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "ring/error.h"

#define DEPTH 32u /* of contexts in a shell's text */

static const struct {
	const char *name;
	size_t len;
	enum pen_command_place place;
	const char *variable;
} places[] = {
	{ "{}", 2, PEN_COMMAND_PATH, "${PENSTOCK_ITEM_PATH}" },
	{ "{key}", 5, PEN_COMMAND_KEY, "${PENSTOCK_ITEM_KEY}" },
	{ "{seq}", 5, PEN_COMMAND_SEQ, "${PENSTOCK_ITEM_SEQ}" },
};

/* Words that are the shell's own: they have no program, or one that would do nothing here. */
static const char *const shell_words[] = {
	"!",	 ".",	  ":",	  "{",	    "alias",  "break", "case",	"cd",	    "command", "continue",
	"eval",	 "exec",  "exit", "export", "for",    "if",    "read",	"readonly", "return",  "set",
	"shift", "times", "trap", "type",   "ulimit", "umask", "unset", "until",    "wait",    "while",
};

/* The place that begins here; -1: none. */
static int place_at(const char *p)
{
	if (*p != '{')
		return -1;
	for (size_t i = 0; i < PEN_COUNT(places); i++)
		if (strncmp(p, places[i].name, places[i].len) == 0)
			return (int)i;
	return -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ---- does it need a shell? ---- */

static bool is_assignment(const char *p)
{
	const char *q = p;

	while (is_name(*q))
		q++;
	return q > p && *q == '=' && !(*p >= '0' && *p <= '9');
}

static bool is_shells_word(const char *p)
{
	size_t len = strcspn(p, " \t\n");

	for (size_t i = 0; i < PEN_COUNT(shell_words); i++)
		if (strlen(shell_words[i]) == len && memcmp(p, shell_words[i], len) == 0)
			return true;
	return false;
}

/* -PEN_USAGE: a quote is not closed. */
static int needs_shell(const char *text, bool *ret)
{
	const char *p = text + strspn(text, " \t");
	bool word = true; /* a word may begin here */
	bool dollar;

	*ret = is_assignment(p) || is_shells_word(p);
	while (*p) {
		if (*p == '\\' && p[1]) {
			p += 2;
		} else if (*p == '\'') {
			p = strchr(p + 1, '\'');
			if (!p)
				return -PEN_USAGE;
			p++;
		} else if (*p == '"') {
			for (p++; *p && *p != '"'; p++) {
				dollar = *p == '$' || *p == '`';
				*ret |= dollar;
				if (*p == '\\' && p[1])
					p++;
			}
			if (!*p)
				/* "$( " ) " is the shell's to judge. */
				return *ret ? 0 : -PEN_USAGE;
			p++;
		} else {
			*ret |= strchr("|&;<>()$`*?[]\n", *p) || (word && (*p == '#' || *p == '~'));
			word = is_blank(*p);
			p++;
			continue;
		}
		word = false;
	}
	return 0;
}

/* ---- words ---- */

struct cut {
	struct pen_command *to;
	char *out; /* where text is written */
	uint32_t begin;
	bool open; /* a word has begun, also when it is empty ("") */
};

static bool add_piece(struct cut *c, enum pen_command_place place, bool last)
{
	uint32_t end = (uint32_t)(c->out - c->to->text);

	if (c->to->count == PEN_COMMAND_WORDS)
		return false;
	c->to->pieces[c->to->count++] = (struct pen_command_piece){ c->begin, end - c->begin, place, last };
	c->to->words += last;
	c->begin = end;
	return true;
}

/* Takes one place or one character; returns what is behind it, NULL when there are too many. */
static const char *take(struct cut *c, const char *p)
{
	int i = place_at(p);

	c->open = true;
	if (i < 0) {
		*c->out++ = *p;
		return p + 1;
	}
	if (!add_piece(c, places[i].place, false))
		return NULL;
	c->to->wants_path |= places[i].place == PEN_COMMAND_PATH;
	c->to->has_places = true;
	return p + places[i].len;
}

static const char *take_quoted(struct cut *c, const char *p, char quote)
{
	c->open = true;
	for (p++; p && *p != quote;) {
		if (quote == '"' && *p == '\\' && p[1] && strchr("\"\\$`", p[1]))
			*c->out++ = p[1], p += 2;
		else
			p = take(c, p);
	}
	return p ? p + 1 : NULL;
}

static int cut_words(struct pen_command *to, const char *p)
{
	struct cut c = { .to = to, .out = to->text };

	while (p && *p) {
		if (is_blank(*p)) {
			if (c.open && !add_piece(&c, PEN_COMMAND_TEXT_ONLY, true))
				return -PEN_USAGE;
			c.open = false;
			p++;
		} else if (*p == '\'' || *p == '"') {
			p = take_quoted(&c, p, *p);
		} else if (*p == '\\' && p[1]) {
			c.open = true;
			*c.out++ = p[1];
			p += 2;
		} else {
			p = take(&c, p);
		}
	}
	if (!p || (c.open && !add_piece(&c, PEN_COMMAND_TEXT_ONLY, true)))
		return -PEN_USAGE;
	return 0;
}

/* ---- a shell's text ---- */

/* What the next character stands in: '\0' outside of quotes, '"' or '\''. */
struct context {
	char quote;
	char closed_by;	   /* what leads back to the context around it: ')' or '`' */
	uint32_t brackets; /* open ones before that */
};

static char *reference(char *out, char quote, const char *variable)
{
	const char *before = quote == '\'' ? "'\"" : quote ? "" : "\"";
	const char *behind = quote == '\'' ? "\"'" : quote ? "" : "\"";

	for (const char *part[] = { before, variable, behind }, **p = part; p < part + 3; p++) {
		memcpy(out, *p, strlen(*p));
		out += strlen(*p);
	}
	return out;
}

/* Copies one character or two and keeps track of where it stands. */
static const char *copy(char **out, const char *p, struct context *stack, uint32_t *depth)
{
	struct context *now = &stack[*depth];

	if (*p == '\\' && p[1] && now->quote != '\'') {
		*(*out)++ = *p++;
	} else if (now->quote == '\'') {
		now->quote = *p == '\'' ? '\0' : '\'';
	} else if (*p == '"') {
		now->quote = now->quote ? '\0' : '"';
	} else if (*p == '\'' && !now->quote) {
		now->quote = '\'';
	} else if (*p == '$' && p[1] == '(' && *depth + 1 < DEPTH) {
		stack[++*depth] = (struct context){ '\0', ')', 0 };
		*(*out)++ = *p++;
	} else if (*p == '`' && now->closed_by == '`') {
		--*depth;
	} else if (*p == '`' && *depth + 1 < DEPTH) {
		stack[++*depth] = (struct context){ '\0', '`', 0 };
	} else if (*p == '(' && !now->quote) {
		now->brackets++;
	} else if (*p == ')' && !now->quote && now->brackets) {
		now->brackets--;
	} else if (*p == ')' && !now->quote && now->closed_by == ')') {
		--*depth;
	}
	*(*out)++ = *p++;
	return p;
}

static int make_script(struct pen_command *to, const char *p)
{
	static const char *const front[] = { "sh", "-c" };
	struct context stack[DEPTH] = { { 0 } };
	struct cut c = { .to = to, .out = to->text };
	uint32_t depth = 0;

	for (size_t i = 0; i < PEN_COUNT(front); i++) {
		memcpy(c.out, front[i], strlen(front[i]));
		c.out += strlen(front[i]);
		(void)add_piece(&c, PEN_COMMAND_TEXT_ONLY, true); /* the first two fit */
	}
	while (*p) {
		int i = place_at(p);

		if (i < 0) {
			p = copy(&c.out, p, stack, &depth);
			continue;
		}
		to->wants_path |= places[i].place == PEN_COMMAND_PATH;
		to->has_places = true;
		c.out = reference(c.out, stack[depth].quote, places[i].variable);
		p += places[i].len;
	}
	(void)add_piece(&c, PEN_COMMAND_TEXT_ONLY, true); /* the third */
	return 0;
}

/* ---- programs ---- */

static int can_run(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : -EACCES;
}

int pen_command_find(const char *name, char *ret_path, size_t cap)
{
	const char *path = getenv("PATH");
	size_t name_len = strlen(name);
	int rc = -ENOENT;

	if (!name_len)
		return -ENOENT;
	if (strchr(name, '/')) {
		if (name_len >= cap)
			return -ENAMETOOLONG;
		memcpy(ret_path, name, name_len + 1);
		return can_run(name);
	}
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; path; path = strchr(path, ':')) {
		size_t len;

		path += *path == ':';
		len = strcspn(path, ":");
		if (len + 1 + name_len < cap) {
			int found;

			memcpy(ret_path, len ? path : ".", len ? len : 1);
			len = len ? len : 1;
			ret_path[len] = '/';
			memcpy(ret_path + len + 1, name, name_len + 1);
			found = can_run(ret_path);
			if (!found)
				return 0;
			rc = found == -EACCES ? found : rc;
		}
	}
	return rc;
}

/* The first word's program, unless the first word has places. */
static int find_program(struct pen_command *command, struct pen_failure *why)
{
	const struct pen_command_piece *first = command->pieces;
	char name[4096], path[4096];
	int rc;

	if (command->shell) {
		command->program = strdup("/bin/sh");
		return command->program ? 0 : -ENOMEM;
	}
	if (!first->last)
		return 0;
	if (first->len >= sizeof(name))
		return pen_fail(why, -PEN_CHILD_MISSING, ENAMETOOLONG, "its name has %u bytes", first->len);
	memcpy(name, command->text + first->at, first->len);
	name[first->len] = '\0';
	rc = pen_command_find(name, path, sizeof(path));
	if (rc)
		return pen_fail(why, -PEN_CHILD_MISSING, -rc, "\"%s\"%s", name,
				rc == -EACCES	    ? " may not be run"
				: strchr(name, '/') ? " is not there"
						    : " is not on the PATH");
	command->program = strdup(path);
	return command->program ? 0 : -ENOMEM;
}

int pen_command_open(struct pen_command *ret, const char *text, struct pen_failure *why)
{
	struct pen_command made = { 0 };
	size_t len = strlen(text);
	size_t places_max = 0;
	int rc;

	if (len > PEN_COMMAND_TEXT)
		return pen_fail(why, -PEN_USAGE, 0, "a command of %zu bytes; at most %u", len,
				PEN_COMMAND_TEXT);
	if (needs_shell(text, &made.shell))
		return pen_fail(why, -PEN_USAGE, 0, "a quote is not closed in: %.200s", text);
	for (const char *p = text; (p = strchr(p, '{')); p++)
		places_max++;
	/* A place of two characters becomes up to 26 in a shell's text. */
	made.text = malloc(len + 32 * places_max + 16);
	made.pieces = malloc(PEN_COMMAND_WORDS * sizeof(*made.pieces));
	rc = !made.text || !made.pieces ? -ENOMEM
	     : made.shell		? make_script(&made, text)
					: cut_words(&made, text);
	if (rc == -PEN_USAGE)
		rc = pen_fail(why, rc, 0, "a command of more than %u words", PEN_COMMAND_WORDS);
	else if (rc)
		rc = pen_fail(why, rc, -rc, "no memory for a command");
	else if (!made.words)
		rc = pen_fail(why, -PEN_USAGE, 0, "the command is empty");
	else
		rc = find_program(&made, why);
	if (rc) {
		pen_command_fini(&made);
		return rc;
	}
	*ret = made;
	return 0;
}

void pen_command_fini(struct pen_command *command)
{
	free(command->program);
	free(command->text);
	free(command->pieces);
	*command = (struct pen_command){ 0 };
}

/* ---- for an item ---- */

static const char *value_of(const struct pen_command_values *values, enum pen_command_place place)
{
	const char *value = place == PEN_COMMAND_PATH  ? values->path
			    : place == PEN_COMMAND_KEY ? values->key
			    : place == PEN_COMMAND_SEQ ? values->seq
						       : NULL;

	return value ? value : "";
}

int pen_command_words(const struct pen_command *command, const struct pen_command_values *values, char *buf,
		      size_t cap, char **argv)
{
	char *word = buf;
	char *end = buf + cap;
	uint32_t n = 0;

	for (uint32_t i = 0; i < command->count; i++) {
		const struct pen_command_piece *piece = &command->pieces[i];
		const char *value = value_of(values, piece->place);
		size_t len = strlen(value);

		if ((size_t)(end - buf) < (size_t)piece->len + len + 1)
			return -E2BIG;
		memcpy(buf, command->text + piece->at, piece->len);
		memcpy(buf + piece->len, value, len);
		buf += piece->len + len;
		if (piece->last) {
			*buf++ = '\0';
			argv[n++] = word;
			word = buf;
		}
	}
	argv[n] = NULL;
	return 0;
}
