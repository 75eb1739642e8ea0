/* SPDX-License-Identifier: MIT */
/*
 * What of a request is about processors, and about the children that work on single items.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/context.h"
#include "engine/crew.h"
#include "engine/plan.h"
#include "ring/error.h"

#define MAX_CRASHES 3u
#define MEMORY_LEAST (8u << 20) /* a program with the C library maps some 6 */

static int copy_env(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	if (!run->env_count)
		return 0;
	plan->job.env = calloc(run->env_count + 1, sizeof *plan->job.env);
	if (!plan->job.env)
		return -ENOMEM;
	for (size_t i = 0; i < run->env_count; i++) {
		if (!strchr(run->env[i], '=') || *run->env[i] == '=')
			return pen_fail(why, -PEN_USAGE, 0, "'%s' is not NAME=VALUE", run->env[i]);
		plan->job.env[i] = strdup(run->env[i]);
		if (!plan->job.env[i])
			return -ENOMEM;
		plan->job.env_count++;
	}
	return 0;
}

static int copy_children(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	enum pen_backoff_jitter jitter = PEN_JITTER_NONE;
	int rc = 0;

	if (plan->puts)
		return pen_fail(
			why, -PEN_UNSUPPORTED, 0,
			"records that a program puts are not handed to commands; submit a list of items");
	if (run->jobs > PEN_CREW_JOBS_MAX || run->window > PEN_CREW_WINDOW_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "at most %u jobs, and %u items sent ahead to one worker",
				PEN_CREW_JOBS_MAX, PEN_CREW_WINDOW_MAX);
	if (run->memory_max && run->memory_max < MEMORY_LEAST)
		return pen_fail(why, -PEN_USAGE, 0,
				"a child of %llu bytes does not even start: %u MiB at least",
				(unsigned long long)run->memory_max, MEMORY_LEAST >> 20);
	if (run->output_max > PEN_RECORD_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "a value has at most %u bytes", PEN_RECORD_MAX);
	plan->job.command = strdup(run->processor);
	if (!plan->job.command)
		return -ENOMEM;
	plan->job.line = strchr(plan->job.command, ':') + 1;
	plan->job.worker = plan->job.command[0] == 'w';
	plan->job.jobs = run->jobs;
	plan->job.window = run->window;
	plan->job.timeout_ns = run->timeout_ns;
	plan->job.retry_for_ns = run->retry_for_ns;
	plan->job.memory_max = run->memory_max;
	plan->job.output_max = run->output_max ? run->output_max : plan->max_record;
	plan->job.cache = run->cache;
	plan->job.max_crashes = run->max_crashes ? run->max_crashes : MAX_CRASHES;
	if (!*plan->job.line)
		return pen_fail(why, -PEN_USAGE, 0, "the processor '%s' has no command", run->processor);
	if (run->jitter)
		rc = pen_backoff_jitter_find(run->jitter, &jitter, why);
	if (!rc)
		rc = pen_backoff_parse(&plan->job.backoff, run->backoff, jitter,
				       run->has_max_retries ? run->max_retries : PEN_BACKOFF_RETRIES, why);
	if (!rc && run->halt)
		rc = pen_halt_parse(&plan->job.halt, run->halt, why);
	return rc ? rc : copy_env(plan, run, why);
}

int pen_plan_copy_job(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	return pen_plan_names_job(run->processor) ? copy_children(plan, run, why) : 0;
}

bool pen_plan_names_job(const char *processor)
{
	return processor && (!strncmp(processor, "exec:", 5) || !strncmp(processor, "worker:", 7));
}

void pen_plan_free_job(struct pen_plan *plan)
{
	for (size_t i = 0; i < plan->job.env_count; i++)
		free(plan->job.env[i]);
	free(plan->job.env);
	free(plan->job.command);
}

int pen_plan_crew(const struct pen_plan *plan, uint64_t batch, const struct pen_context *context,
		  struct pen_crew_options *ret)
{
	static const size_t line = 384; /* an owner has at most 255 bytes */
	size_t own = 4, slots = own + plan->job.env_count + 1;
	const char **env = malloc(slots * sizeof *env + own * line);
	char *text;

	if (!env)
		return -ENOMEM;
	text = (char *)(env + slots);
	for (size_t i = 0; i < own; i++)
		env[i] = text + i * line;
	snprintf(text, line, "PENSTOCK_BATCH=%016llx", (unsigned long long)batch);
	snprintf(text + line, line, "PENSTOCK_OWNER=%s", plan->owner);
	snprintf(text + 2 * line, line, "PENSTOCK_CORRELATION_ID=%s", context->correlation_id);
	snprintf(text + 3 * line, line, "TRACEPARENT=");
	pen_context_child(context, batch, text + 3 * line + strlen("TRACEPARENT="));
	for (size_t i = 0; i < plan->job.env_count; i++)
		env[own + i] = plan->job.env[i];
	env[slots - 1] = NULL;
	ret->kind = plan->job.worker ? PEN_CREW_WORKER : PEN_CREW_EXEC;
	ret->command = plan->job.line;
	ret->jobs = plan->job.jobs;
	ret->window = plan->job.window;
	ret->timeout_ns = plan->job.timeout_ns;
	ret->correlation_id = context->correlation_id;
	ret->memory_max = plan->job.memory_max;
	ret->output_max = plan->job.output_max;
	ret->env = env;
	return 0;
}

/* What is done to an item decides the result; how often, how long and by how many does not. */
bool pen_plan_sign_job(const struct pen_plan *plan, FILE *f)
{
	uint64_t n;

	if (!plan->job.command)
		return true;
	n = strlen(plan->job.command);
	return fwrite("job", 3, 1, f) == 1 && fwrite(&n, sizeof n, 1, f) == 1 &&
	       fwrite(plan->job.command, 1, n, f) == n;
}
