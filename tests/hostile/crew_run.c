/* SPDX-License-Identifier: MIT */
/*
 * crew_run - runs a crew from the command line, for run.py: items in on stdin, one a line; results out as JSON lines
 *
 *   crew_run exec|worker COMMAND [OPTION=VALUE]...
 *
 *   jobs window timeout_ms grace_ms output_max stderr_keep memory_max launcher   as in engine/crew.h
 *   count=N      N items "item 0", "item 1", ... instead of stdin
 *   form=json    items are JSON; form=path: they are names of files
 *   retries=N    RETRY and CRASHED are given again, N times at most; the last result counts [0]
 *   cancel=N     after N results: soft; hard=N: hard
 *   quiet=1      only the summary
 *   crash=N      every item claims N crashes
 *   stall_ms=N   sleeps between polls
 *   linger_ms=N  sleeps before it closes the crew
 *
 * The last line is the summary: results by fate, what is left (children, descriptors), the largest resident size.
 * It is its own launcher.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "engine/crew.h"

struct item {
	char *text;
	size_t len;
	char key[24];
	uint32_t attempt;
	uint32_t crashes;
	bool over;
};

static struct item *items;
static size_t item_count;
static uint64_t retries, cancel_after = UINT64_MAX, hard_after = UINT64_MAX, quiet, crash, stall_ms,
			 linger_ms;
static enum { FORM_BYTES, FORM_JSON, FORM_PATH } form;
static uint64_t fates[PEN_TASK_UNCHARGED + 1];

static const char *fate_name(enum pen_task_fate fate)
{
	static const char *const names[] = { "",       "done",	  "rejected", "retry",
					     "failed", "dropped", "crashed",  "uncharged" };

	return names[fate];
}

static void print_text(const char *name, const void *data, size_t len)
{
	const unsigned char *p = data;

	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < len; i++)
		if (p[i] < ' ' || p[i] == '"' || p[i] == '\\' || p[i] >= 0x7f)
			printf("\\u%04x", p[i]); /* each byte as the character of its number */
		else
			putchar(p[i]);
	putchar('"');
}

static size_t shown(size_t len)
{
	return len < 4096 ? len : 4096;
}

static void print_result(const struct pen_task_result *r)
{
	printf("{\"id\":%" PRIu64 ",\"fate\":\"%s\",\"code\":%d,\"exit\":%d,\"signal\":%d,\"timed_out\":%s",
	       r->id, fate_name(r->fate), -r->code, r->exit_status, r->term_signal,
	       r->timed_out ? "true" : "false");
	printf(",\"attempt\":%u,\"value_len\":%zu,\"stderr_len\":%zu,\"json\":%s,\"retry_after_ms\":%" PRIu64,
	       items[r->id].attempt, r->value_len, r->stderr_len, r->value_json ? "true" : "false",
	       r->retry_after_ns / 1000000);
	printf(",\"has_value\":%s,\"cpu_us\":%" PRIu64 ",\"rss_kib\":%" PRIu64, r->value ? "true" : "false",
	       r->cpu_us, r->rss_kib);
	if (r->value)
		print_text("value", r->value, shown(r->value_len));
	print_text("stderr", r->stderr_tail, shown(r->stderr_len));
	print_text("message", r->message, strlen(r->message));
	print_text("worker_code", r->worker_code, strlen(r->worker_code));
	printf(",\"deeds\":[");
	for (uint32_t i = 0; i < r->deed_count; i++) {
		const struct pen_deed *d = &r->deeds[i];

		printf("%s{\"del\":%s", i ? "," : "", d->del ? "true" : "false");
		print_text("dataset", d->dataset, strlen(d->dataset));
		print_text("key", d->key, d->key_len);
		if (d->value)
			print_text("value", d->value, d->value_len);
		putchar('}');
	}
	puts("]}");
}

static void add_item(const char *text, size_t len)
{
	struct item *it;

	items = realloc(items, (item_count + 1) * sizeof(*items));
	if (!items)
		abort();
	it = &items[item_count];
	*it = (struct item){ .text = malloc(len + 1), .len = len, .attempt = 1, .crashes = (uint32_t)crash };
	if (!it->text)
		abort();
	memcpy(it->text, text, len);
	it->text[len] = '\0';
	snprintf(it->key, sizeof(it->key), "k%zu", item_count++);
}

static void read_items(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	while ((len = getline(&line, &cap, stdin)) > 0)
		add_item(line, (size_t)len - (line[len - 1] == '\n'));
	free(line);
}

static void give(struct pen_crew *crew, size_t i)
{
	const struct item *it = &items[i];
	const struct pen_task task = {
		.id = i,
		.seq = i,
		.attempt = it->attempt,
		.crashes = it->crashes,
		.form = form == FORM_JSON ? PEN_TASK_JSON : PEN_TASK_BYTES,
		.key = it->key,
		.key_len = strlen(it->key),
		.item = form == FORM_PATH ? NULL : it->text,
		.item_len = form == FORM_PATH ? 0 : it->len,
		.path = form == FORM_PATH ? it->text : NULL,
	};

	if (pen_crew_give(crew, &task))
		abort();
}

static uint32_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Processes whose parent we are. */
static uint32_t children(void)
{
	char name[64], text[256];
	uint32_t n = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(name, "r");
	if (f) {
		while (fscanf(f, "%255s", text) == 1)
			n++;
		fclose(f);
	}
	return n;
}

static void set_option(struct pen_crew_options *opt, const char *text)
{
	const char *value = strchr(text, '=');
	uint64_t n = value ? strtoull(value + 1, NULL, 10) : 0;
	size_t len = value ? (size_t)(value - text) : strlen(text);

#define IS(name) (len == strlen(name) && memcmp(text, name, len) == 0)
	if (IS("jobs"))
		opt->jobs = (uint32_t)n;
	else if (IS("window"))
		opt->window = (uint32_t)n;
	else if (IS("timeout_ms"))
		opt->timeout_ns = n * 1000000;
	else if (IS("grace_ms"))
		opt->grace_ns = n * 1000000;
	else if (IS("output_max"))
		opt->output_max = n;
	else if (IS("stderr_keep"))
		opt->stderr_keep = (uint32_t)n;
	else if (IS("memory_max"))
		opt->memory_max = n;
	else if (IS("launcher"))
		opt->launcher = value + 1;
	else if (IS("tmpdir"))
		opt->tmpdir = value + 1;
	else if (IS("retries"))
		retries = n;
	else if (IS("cancel"))
		cancel_after = n;
	else if (IS("hard"))
		hard_after = n;
	else if (IS("quiet"))
		quiet = n;
	else if (IS("crash"))
		crash = n;
	else if (IS("stall_ms"))
		stall_ms = n;
	else if (IS("linger_ms"))
		linger_ms = n;
	else if (IS("form"))
		form = strcmp(value + 1, "json") == 0	? FORM_JSON
		       : strcmp(value + 1, "path") == 0 ? FORM_PATH
							: FORM_BYTES;
	else if (IS("count"))
		for (char item[32]; item_count < n;)
			add_item(item, (size_t)snprintf(item, sizeof(item),
							form == FORM_JSON ? "%zu" : "item %zu", item_count));
	else
		fprintf(stderr, "crew_run: what is %s?\n", text), exit(2);
#undef IS
}

/* True: the item is over. */
static bool take(const struct pen_task_result *r)
{
	struct item *it = &items[r->id];

	if (it->over)
		abort(); /* a task came out twice */
	if ((r->fate == PEN_TASK_RETRY || r->fate == PEN_TASK_CRASHED) && it->attempt <= retries) {
		it->attempt++;
		it->crashes += r->fate == PEN_TASK_CRASHED;
		return false;
	}
	it->over = true;
	fates[r->fate]++;
	if (!quiet)
		print_result(r);
	return true;
}

static size_t run(struct pen_crew *crew)
{
	struct pen_task_result results[64];
	size_t *again = calloc(item_count + 1, sizeof(*again));
	size_t next = 0, done = 0, back = 0;
	bool stopped = false;

	while (again && done < item_count) {
		uint32_t n;

		stopped |= pen_crew_failure(crew) != NULL;
		while (!stopped && pen_crew_room(crew) && (back || next < item_count))
			give(crew, back ? again[--back] : next++);
		if (stall_ms)
			nanosleep(&(struct timespec){ 0, (long)stall_ms * 1000000 }, NULL);
		n = pen_crew_poll(crew, results, 64, UINT64_MAX);
		for (uint32_t i = 0; i < n; i++) {
			if (take(&results[i]))
				done++;
			else
				again[back++] = results[i].id;
		}
		if (done >= hard_after || done >= cancel_after) {
			pen_crew_cancel(crew, done >= hard_after);
			stopped = true;
		}
		if (!n && stopped)
			break;
	}
	free(again);
	return done;
}

int main(int argc, char **argv)
{
	struct pen_crew_options opt = { .launcher = "/proc/self/exe" };
	struct pen_failure why = { 0 };
	struct pen_crew_counts counts = { 0 };
	struct pen_crew *crew = NULL;
	struct rusage used;
	uint32_t fds;
	size_t done = 0;
	int rc;

	if (argc == 2 && strcmp(argv[1], "launcher") == 0)
		return pen_launcher_main(3);
	if (argc < 3)
		return 2;
	opt.kind = strcmp(argv[1], "worker") == 0 ? PEN_CREW_WORKER : PEN_CREW_EXEC;
	opt.command = argv[2];
	for (int i = 3; i < argc; i++)
		set_option(&opt, argv[i]);
	if (!item_count)
		read_items();
	fds = open_fds();
	rc = pen_crew_open(&crew, &opt, &why);
	if (rc) {
		printf("{\"open\":%d", -rc);
		print_text("text", why.text, strlen(why.text));
		printf(",\"fds\":%u,\"children\":%u}\n", open_fds() - fds, children());
		return 0;
	}
	done = run(crew);
	pen_crew_counts(crew, &counts);
	if (pen_crew_failure(crew))
		why = *pen_crew_failure(crew);
	(void)fflush(stdout);
	nanosleep(&(struct timespec){ (time_t)(linger_ms / 1000), (long)(linger_ms % 1000) * 1000000 }, NULL);
	pen_crew_close(crew);
	getrusage(RUSAGE_SELF, &used);
	printf("{\"open\":0,\"items\":%zu,\"over\":%zu", item_count, done);
	for (int f = PEN_TASK_DONE; f <= PEN_TASK_UNCHARGED; f++)
		printf(",\"%s\":%" PRIu64, fate_name(f), fates[f]);
	printf(",\"broken\":%d", -why.code);
	print_text("text", why.text, strlen(why.text));
	printf(",\"started\":%" PRIu64 ",\"child_crashes\":%" PRIu64 ",\"timeouts\":%" PRIu64
	       ",\"running\":%u,\"fds\":%d,\"children\":%u,\"rss_kib\":%ld}\n",
	       counts.started, counts.crashed, counts.timeouts, counts.running, (int)(open_fds() - fds),
	       children(), used.ru_maxrss);
	for (size_t i = 0; i < item_count; i++)
		free(items[i].text);
	free(items);
	return 0;
}
