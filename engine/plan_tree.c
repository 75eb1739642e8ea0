/* SPDX-License-Identifier: MIT */
/*
 * The parts of a plan that are about trees and lists of items: what of a directory is meant, how it is looked at,
 * what becomes of its files.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/aftermath.h"
#include "engine/plan.h"
#include "ring/error.h"

/* The directory to move to, from wherever a later run may look. */
static int copy_aftermath(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	const char *to = run->move_to ? run->move_to : "";
	char cwd[PATH_MAX];

	plan->on_success = run->on_success;
	if ((plan->on_success == PEN_SUCCESS_MOVE) != (*to != 0))
		return pen_fail(why, -PEN_USAGE, 0, "to move source files needs a directory, and only that");
	if (!*to || *to == '/') {
		plan->move_to = strdup(to);
	} else if (!getcwd(cwd, sizeof cwd)) {
		return pen_fail(why, -PEN_USAGE, errno, "this directory has no name: %s", strerror(errno));
	} else if (asprintf(&plan->move_to, "%s/%s", cwd, to) < 0) {
		plan->move_to = NULL;
	}
	return plan->move_to ? 0 : -ENOMEM;
}

int pen_plan_copy_tree(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	int rc;

	plan->tree.filter = &plan->filter;
	plan->tree.follow = run->follow_symlinks;
	rc = pen_filter_init(&plan->filter, run, why);
	return rc ? rc : copy_aftermath(plan, run, why);
}

int pen_plan_copy_items(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	if (run->source_count)
		return pen_fail(why, -PEN_USAGE, 0,
				"a list of items stands instead of sources, not beside them");
	if (!*run->items)
		return pen_fail(why, -PEN_USAGE, 0, "the name of the list of items is empty");
	if (run->format == PEN_FORMAT_AUTO)
		plan->format = plan->key_kind == PEN_KEY_POINTER ? PEN_FORMAT_NDJSON : PEN_FORMAT_LINES;
	else if (run->format != PEN_FORMAT_NDJSON && run->format != PEN_FORMAT_LINES)
		return pen_fail(why, -PEN_USAGE, 0,
				"a list of items holds lines: its format is ndjson or lines");
	plan->items = true;
	plan->terminator = run->items_nul ? 0 : '\n';
	plan->wanted = calloc(1, sizeof *plan->wanted);
	if (!plan->wanted || !(plan->wanted[0] = strdup(run->items)))
		return -ENOMEM;
	plan->wanted_count = 1;
	return 0;
}

/* A filter that meets no directory would leave nothing out, against what was asked. */
static int check_filter(const struct pen_plan *plan, struct pen_failure *why)
{
	if (plan->puts || (!plan->filter.include_count && !plan->filter.exclude_count))
		return 0;
	for (uint32_t i = 0; i < plan->source_count; i++)
		if (plan->sources[i].kind == PEN_SOURCE_TREE)
			return 0;
	return pen_fail(
		why, -PEN_USAGE, 0,
		"--include and --exclude choose among the files of a directory, and no source is one");
}

int pen_plan_check_tree(const struct pen_plan *plan, struct pen_failure *why)
{
	int rc = check_filter(plan, why);

	return rc ? rc : pen_aftermath_check(plan, why);
}

bool pen_plan_sign_tree(const struct pen_plan *plan, FILE *f)
{
	bool ok = pen_filter_sign(&plan->filter, f);

	if (plan->tree.follow)
		ok = ok && fwrite("follow", 7, 1, f) == 1;
	if (plan->items)
		ok = ok && fwrite(plan->terminator ? "items" : "item0", 6, 1, f) == 1;
	return ok;
}

int pen_source_look_tree(struct pen_plan *plan, struct pen_source *source, int fd, const _Atomic bool *stop,
			 struct pen_sum *sum, struct pen_failure *why)
{
	struct pen_walk *walk = NULL;
	struct pen_walk_file file;
	int rc = pen_walk_open(fd, &plan->tree, &walk);

	if (rc)
		return pen_fail(why, rc == -ENOMEM ? rc : -PEN_SOURCE_OPEN, -rc, "'%s' cannot be listed: %s",
				source->path, strerror(-rc));
	source->kind = PEN_SOURCE_TREE;
	source->format = plan->format ? plan->format : PEN_FORMAT_FILES;
	while ((rc = pen_walk_next(walk, &file)) > 0) {
		pen_sum_add(sum, pen_walk_file_hash(&file));
		source->files++;
		source->size += file.size;
		if (atomic_load_explicit(stop,
					 memory_order_relaxed)) { /* a hint; nothing hangs on its order */
			rc = pen_fail(why, -PEN_INTERRUPTED_BY, 0, "interrupted while looking at '%s'",
				      source->path);
			break;
		}
	}
	source->sum = *sum;
	pen_walk_close(walk);
	return rc == -ENOMEM ? pen_fail(why, rc, ENOMEM, "no memory to list '%s'", source->path) : rc;
}
