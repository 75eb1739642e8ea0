/* SPDX-License-Identifier: MIT */
#include "tools/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/json.h"
#include "tools/option.h"
#include "tools/say.h"

struct slice {
	const char *data;
	size_t len;
};

struct reader {
	struct pen_request *request;
	const char *file;
	struct slice sources, items; /* items: an inline array */
	char member[64];	     /* that is being read */
	const struct pen_option *option;
	int status;
};

static int refuse(struct reader *r, const char *what)
{
	pen_say_error(-PEN_USAGE, "%s: %s%s%s", r->file, r->member, *r->member ? " " : "", what);
	r->status = 2;
	return 1;
}

/* ---- words ----------------------------------------------------------------------------------- */

static int push(struct reader *r, char *word)
{
	struct pen_request *q = r->request;

	if (word && q->argc + 1 >= q->cap) {
		int cap = q->cap ? q->cap * 2 : 64;
		char **grown = realloc(q->argv, (size_t)cap * sizeof *grown);

		if (grown) {
			q->argv = grown;
			q->cap = cap;
		}
	}
	if (!word || q->argc + 1 >= q->cap) {
		free(word);
		r->status = pen_say_failure(-PEN_MEMORY, NULL);
		return 1;
	}
	q->argv[q->argc++] = word;
	q->argv[q->argc] = NULL;
	return 0;
}

struct text {
	char *data;
	size_t len, cap;
};

static void append(void *arg, const void *piece, size_t len)
{
	struct text *t = arg;

	/* Never longer than what it was read from. */
	if (t->len + len < t->cap)
		memcpy(t->data + t->len, piece, len);
	t->len += len;
}

/* A string's text or a number as it is written, behind what is there. false: it is neither, or holds a NUL. */
static bool scalar(struct text *t, struct slice v)
{
	size_t from = t->len;

	if (*v.data == '"')
		pen_jw_unescape(v.data, v.len, append, t);
	else if (*v.data == '-' || (*v.data >= '0' && *v.data <= '9'))
		append(t, v.data, v.len);
	else
		return false;
	return t->len < t->cap && !memchr(t->data + from, 0, t->len - from);
}

static bool begin(struct text *t, const char *head, size_t more)
{
	*t = (struct text){ .cap = strlen(head) + more + 2 };
	t->data = malloc(t->cap);
	if (t->data)
		append(t, head, strlen(head));
	return t->data != NULL;
}

/* head, then the value: a word of its own. */
static int push_value(struct reader *r, const char *head, struct slice v)
{
	struct text t;

	if (!begin(&t, head, v.len)) {
		r->status = pen_say_failure(-PEN_MEMORY, NULL);
		return 1;
	}
	if (!scalar(&t, v)) {
		free(t.data);
		return refuse(r, "takes a string or a number");
	}
	t.data[t.len] = '\0';
	return push(r, t.data);
}

/* ---- members --------------------------------------------------------------------------------- */

static void head_of(const struct reader *r, char head[80])
{
	(void)snprintf(head, 80, "--%s=", r->option->name);
}

static int push_element(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct reader *r = arg;
	char head[80];

	(void)name;
	(void)name_len;
	head_of(r, head);
	return push_value(r, head, (struct slice){ value, len });
}

/* {"team": "x"} is team=x. */
static int push_pair(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct reader *r = arg;
	struct slice key = { name, name_len }, v = { value, len };
	struct text t;
	char head[80];

	head_of(r, head);
	if (!begin(&t, head, name_len + len)) {
		r->status = pen_say_failure(-PEN_MEMORY, NULL);
		return 1;
	}
	if (!scalar(&t, key) || (append(&t, "=", 1), !scalar(&t, v))) {
		free(t.data);
		return refuse(r, "takes strings or numbers");
	}
	t.data[t.len] = '\0';
	return push(r, t.data);
}

struct joined {
	struct reader *r;
	struct text text;
	bool any;
};

static int join(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct joined *j = arg;

	(void)name;
	(void)name_len;
	if (j->any)
		append(&j->text, ",", 1);
	j->any = true;
	return scalar(&j->text, (struct slice){ value, len }) ? 0 : refuse(j->r, "takes strings or numbers");
}

/* ["2s", "4s"] is 2s,4s. */
static int push_joined(struct reader *r, struct slice v)
{
	struct joined j = { .r = r };
	char head[80];

	head_of(r, head);
	if (!begin(&j.text, head, v.len)) {
		r->status = pen_say_failure(-PEN_MEMORY, NULL);
		return 1;
	}
	if (pen_jw_each(v.data, v.len, join, &j)) {
		free(j.text.data);
		return 1;
	}
	j.text.data[j.text.len] = '\0';
	return push(r, j.text.data);
}

static int push_option(struct reader *r, struct slice v)
{
	char head[80];

	if (*v.data == 'n') /* null: as if it were not there */
		return 0;
	head_of(r, head);
	switch (r->option->kind) {
	case PEN_OPT_FLAG:
		if (*v.data != 't' && *v.data != 'f')
			return refuse(r, "takes true or false");
		head[strlen(head) - 1] = '\0';
		return *v.data == 't' ? push(r, strdup(head)) : 0;
	case PEN_OPT_LIST:
		if (*v.data == '[')
			return pen_jw_each(v.data, v.len, push_element, r);
		if (*v.data == '{' && r->option->id == PEN_O_LABEL)
			return pen_jw_each(v.data, v.len, push_pair, r);
		return push_value(r, head, v);
	case PEN_OPT_TEXT:
		if (*v.data == '[')
			return push_joined(r, v);
		return push_value(r, head, v);
	case PEN_OPT_LATER:
		head[strlen(head) - 1] = '\0';
		return push(r, strdup(head)); /* the parser knows what to say */
	default:
		return push_value(r, head, v);
	}
}

static const struct pen_option *option_named(const char *name)
{
	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *o = &pen_options[i];

		if (o->commands != PEN_OPT_GLOBAL && o->commands >> PEN_CMD_SUBMIT & 1 &&
		    o->id != PEN_O_SPEC && o->name && !strcmp(o->name, name))
			return o;
	}
	return NULL;
}

static int unknown(struct reader *r)
{
	const char *best = NULL;

	pen_say_error(-PEN_USAGE, "%s: there is no member '%s'", r->file, r->member);
	for (size_t i = 0; i < pen_options_count && !best; i++) {
		char list[66] = "", near[64]; /* a list of one, ended by an empty word */

		(void)snprintf(list, sizeof list - 1, "%s", pen_options[i].name);
		if (pen_options[i].kind != PEN_OPT_LATER && option_named(list) &&
		    pen_option_near(r->member, list, '|', near, sizeof near))
			best = pen_options[i].name;
	}
	if (best)
		pen_say_advice("did you mean %s?", best);
	else
		pen_say_advice(
			"members are sources, items, and the options that `penstock submit --help` lists");
	r->status = 2;
	return 1;
}

static int take_member(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct reader *r = arg;
	struct text t = { .data = r->member, .cap = sizeof r->member };
	struct slice v = { value, len };

	pen_jw_unescape(name, name_len, append, &t);
	r->member[t.len < sizeof r->member ? t.len : sizeof r->member - 1] = '\0';
	for (char *p = r->member; *p; p++)
		*p = *p == '_' ? '-' : *p;
	if (!strcmp(r->member, "sources")) {
		r->sources = v;
		return 0;
	}
	if (!strcmp(r->member, "items") && *v.data == '[') {
		r->items = v;
		return 0;
	}
	r->option = t.len < sizeof r->member ? option_named(r->member) : NULL;
	return r->option ? push_option(r, v) : unknown(r);
}

/* ---- sources and items ----------------------------------------------------------------------- */

static int push_source(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	(void)name;
	(void)name_len;
	return push_value(arg, "", (struct slice){ value, len });
}

struct inlined {
	struct reader *r;
	struct pen_out *out; /* NULL: only looks */
	bool lines, broken;  /* as lines; a line would hold more than one */
	bool others;	     /* values that are no strings */
};

static void put_piece(void *arg, const void *piece, size_t len)
{
	struct inlined *in = arg;

	in->broken |= memchr(piece, '\n', len) || memchr(piece, '\r', len);
	if (in->out)
		pen_out_bytes(in->out, piece, len);
}

static int put_one(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct inlined *in = arg;
	bool string = *(const char *)value == '"';

	(void)name;
	(void)name_len;
	in->others |= !string;
	if (in->lines && string)
		pen_jw_unescape(value, len, put_piece, in);
	else if (in->out)
		pen_jw_compact(in->out, value, len);
	if (in->out)
		pen_out_char(in->out, '\n');
	return 0;
}

/* Which of the two forms the items take. */
static int choose_form(struct reader *r, const char *format, struct inlined *in)
{
	in->lines = true;
	(void)pen_jw_each(r->items.data, r->items.len, put_one, in);
	if (!format)
		in->lines = !in->others && !in->broken;
	else if (!strcmp(format, "ndjson"))
		in->lines = false;
	else if (strcmp(format, "lines") != 0)
		return refuse(r, "that stand in the file are lines or ndjson");
	else if (in->broken)
		return refuse(r, "hold more than one line: format ndjson keeps them whole");
	return 0;
}

/* The items become what is read from stdin. */
static int put_items(struct reader *r, bool lines)
{
	struct inlined in = { .r = r, .lines = lines };
	struct pen_out out;
	int fd = memfd_create("items", MFD_CLOEXEC);
	bool good = fd >= 0;

	if (good) {
		pen_out_init(&out, fd);
		in.out = &out;
		(void)pen_jw_each(r->items.data, r->items.len, put_one, &in);
		pen_out_flush(&out);
		good = !pen_out_failed(&out) && !lseek(fd, 0, SEEK_SET) && dup2(fd, STDIN_FILENO) >= 0;
		pen_out_fini(&out);
		(void)close(fd);
	}
	if (good)
		return 0;
	r->status = pen_say_failure(-errno, NULL);
	return 1;
}

static int take_sources(struct reader *r, const struct pen_cmd *cmd)
{
	const char *format = pen_cmd_value(cmd, PEN_O_FORMAT)->text;
	struct inlined in = { .r = r };

	for (int i = 1; i < r->request->argc && !format; i++)
		if (!strncmp(r->request->argv[i], "--format=", 9))
			format = r->request->argv[i] + 9;
	if (r->items.data) {
		(void)snprintf(r->member, sizeof r->member, "items");
		if (r->sources.data)
			return refuse(r, "stand instead of sources: not both");
		if (format && !strcmp(format, "auto"))
			format = NULL;
		return choose_form(r, format, &in) || put_items(r, in.lines) ||
		       (!format && push(r, strdup(in.lines ? "--format=lines" : "--format=ndjson"))) ||
		       push(r, strdup("-"));
	}
	(void)snprintf(r->member, sizeof r->member, "sources");
	if (!r->sources.data)
		return 0;
	if (push(r, strdup("--")))
		return 1;
	return *r->sources.data == '[' ? pen_jw_each(r->sources.data, r->sources.len, push_source, r)
				       : push_value(r, "", r->sources);
}

/* ---- the file -------------------------------------------------------------------------------- */

static int load(const char *file, char **ret, size_t *ret_len)
{
	int fd = strcmp(file, "-") ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO,
	    rc = fd < 0 ? -errno : 0;
	size_t len = 0, cap = 0;
	char *data = NULL;
	ssize_t n = 1;

	while (!rc && n) {
		if (len == cap) {
			char *grown = cap > PEN_REQUEST_BYTES ? NULL
							      : realloc(data, cap + (1u << 16) + cap / 2);

			if (!grown) {
				rc = cap > PEN_REQUEST_BYTES ? -EFBIG : -ENOMEM;
				break;
			}
			data = grown;
			cap += (1u << 16) + cap / 2;
		}
		n = read(fd, data + len, cap - len);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		len += n > 0 ? (size_t)n : 0;
		n = n < 0 ? 1 : n;
	}
	if (fd > STDIN_FILENO)
		(void)close(fd);
	if (!rc && len > PEN_REQUEST_BYTES)
		rc = -EFBIG;
	if (rc) {
		free(data);
		pen_say_error(rc, "%s cannot be read: %s", file, strerror(-rc));
		return rc == -EFBIG ? 2 : 3;
	}
	*ret = data;
	*ret_len = len;
	return 0;
}

/* What is typed wins over what the file says. */
static void merge(struct pen_request *q, const struct pen_args *typed)
{
	q->args = q->file;
	for (size_t i = 0; i < PEN_O_COUNT; i++)
		if (typed->value[i].set)
			q->args.value[i] = typed->value[i];
	for (size_t i = 0; i < PEN_LISTS; i++)
		if (typed->lists[i].count)
			q->args.lists[i] = typed->lists[i];
}

static int parse(struct reader *r, const struct pen_cmd *cmd)
{
	struct pen_request *q = r->request;
	int rc = pen_option_parse(&q->file, q->argc, q->argv);

	if (rc) {
		pen_say_error(rc, "%s: %s", r->file, q->file.error);
		if (q->file.advice[0])
			pen_say_advice("%s", q->file.advice);
		return pen_error_exit(rc);
	}
	merge(q, cmd->args);
	q->cmd = *cmd;
	q->cmd.args = &q->args;
	return 0;
}

int pen_request_read(const struct pen_cmd *cmd, struct pen_request *ret)
{
	struct reader r = { .request = ret, .file = pen_cmd_value(cmd, PEN_O_SPEC)->text };
	char *data = NULL;
	size_t len = 0;

	*ret = (struct pen_request){ 0 };
	if (cmd->args->word_count) {
		pen_say_error(-PEN_USAGE, "--spec says what the sources are: name none beside it");
		return 2;
	}
	r.status = load(r.file, &data, &len);
	if (r.status)
		return r.status;
	if (!pen_jw_valid(data, len) || data[strspn(data, " \t\r\n")] != '{')
		(void)refuse(&r, "is no JSON object");
	else if (!push(&r, strdup("penstock")) && !push(&r, strdup("submit")) &&
		 !pen_jw_each(data, len, take_member, &r) && !take_sources(&r, cmd))
		r.status = parse(&r, cmd);
	free(data);
	return r.status;
}

void pen_request_fini(struct pen_request *request)
{
	pen_option_fini(&request->file);
	for (int i = 0; i < request->argc; i++)
		free(request->argv[i]);
	free(request->argv);
}
