/* SPDX-License-Identifier: MIT */
#include "engine/flag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/json.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/change.h"
#include "store/dataset.h"
#include "store/flag.h"
#include "store/flagset.h"
#include "store/ramp.h"
#include "store/store.h"
#include "store/turn.h"
#include "store/verdict.h"

const char *pen_flag_reason_name(enum pen_flag_reason reason)
{
	static const char *const names[] = { "UNKNOWN", "STATIC",   "DEFAULT", "TARGETING_MATCH",
					     "SPLIT",	"DISABLED", "ERROR" };

	return names[(unsigned)reason < PEN_COUNT(names) ? reason : 0];
}

const char *pen_flag_error_name(enum pen_flag_error error)
{
	static const char *const names[] = { "", "FLAG_NOT_FOUND", "PARSE_ERROR", "INVALID_CONTEXT",
					     "GENERAL" };

	return names[(unsigned)error < PEN_COUNT(names) ? error : 0];
}

int pen_flag_guard(struct pen_store *store, const char *name, const char *key, bool fallback,
		   struct pen_flag_verdict *ret, struct pen_failure *why)
{
	struct pen_flag_verdict v;

	pen_flag_eval(store, name, key, fallback, &v);
	if (ret)
		*ret = v;
	if (v.on)
		return 0;
	return pen_fail(why, -PEN_FLAG_REFUSED, 0, "flag %.*s is off for %.255s (%s%s%s)",
			(int)PEN_FLAG_NAME_MAX, name, key && *key ? key : "nobody in particular",
			pen_flag_reason_name(v.reason), v.error ? ", " : "", pen_flag_error_name(v.error));
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int bad(struct pen_failure *why, const char *name, const char *what)
{
	return pen_fail(why, -PEN_FLAG_BAD, 0, "flag '%.*s': %s", (int)PEN_FLAG_NAME_MAX, name, what);
}

static bool fits(const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!*list[i] || !pen_dataset_text_fits(list[i], PEN_FLAG_TEXT_MAX))
			return false;
	return true;
}

static bool edit_fits(const struct pen_flag_edit *e)
{
	return fits(e->at, e->count) && fits(e->add, e->add_count) && fits(e->remove, e->remove_count);
}

static const char *check_variants(const struct pen_flag_set *set)
{
	uint64_t sum = 0;

	if (set->variant_count > PEN_FLAG_VARIANTS_MAX)
		return "has more than 64 variants";
	for (size_t i = 0; i < set->variant_count; i++) {
		const char *name = set->variants[i].name;

		if (!*name || !pen_dataset_text_fits(name, PEN_FLAG_VARIANT_MAX))
			return "a variant's name is 1 to 63 bytes of text";
		for (size_t k = 0; k < i; k++)
			if (strcmp(set->variants[k].name, name) == 0)
				return "two variants have one name";
		sum += set->variants[i].weight;
	}
	if (sum > INT32_MAX)
		return "the weights of variants add up to more than 2147483647";
	return sum || !set->variant_count ? NULL : "all weights of variants are 0";
}

static const char *check(const struct pen_flag_set *set)
{
	if (!pen_flag_name_len(set->name))
		return "a name is 1 to 128 of A-Z a-z 0-9 _ . -";
	if (set->has_rollout && set->rollout > PEN_FLAG_WHOLE)
		return "a rollout is 0 to 100 percent";
	if (set->has_bucketing && (unsigned)set->bucketing > PEN_FLAG_UNLEASH)
		return "there is no such bucketing";
	if (!edit_fits(&set->whitelist) || !edit_fits(&set->blacklist))
		return "a name in a list is 1 to 255 bytes of text";
	if (set->salt && !pen_dataset_text_fits(set->salt, PEN_FLAG_TEXT_MAX))
		return "a salt is at most 255 bytes of text";
	return set->has_variants ? check_variants(set) : NULL;
}

/* A JSON object on one line. NULL and *ret (malloc'ed), or what is wrong. */
static const char *check_metadata(const char *text, char **ret)
{
	struct pen_json_flaw flaw;
	size_t len = strlen(text);

	if (len > PEN_FLAG_METADATA_MAX)
		return "metadata is larger than 64 KiB";
	*ret = calloc(1, len + PEN_JSON_PADDING + 1);
	if (!*ret)
		return NULL; /* no memory: seen by the caller */
	memcpy(*ret, text, len);
	if (!len)
		return NULL;
	if (!pen_json_valid(*ret, len, &flaw) || (*ret)[strspn(*ret, " \t\r\n")] != '{')
		return "metadata is no JSON object";
	for (char *c = *ret; *c; c++) /* in a string none of these stands as it is */
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	return NULL;
}

/* ---- merging --------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_bare(const void *a, const void *b)
{
	return strcmp(pen_verdict_bare(*(const char *const *)a), pen_verdict_bare(*(const char *const *)b));
}

/* The list as it is to be: *ret_list is malloc'ed, its names are others'. */
static int merge(const struct pen_flag_edit *edit, const char *const *old, size_t old_count,
		 const char ***ret_list, size_t *ret_count)
{
	size_t n = 0, kept = 0;
	const char **list, **gone;

	if (edit->count > PEN_FLAG_LIST_MAX || edit->add_count > PEN_FLAG_LIST_MAX ||
	    edit->remove_count > PEN_FLAG_LIST_MAX)
		return -PEN_FLAG_BAD;
	list = malloc((old_count + edit->count + edit->add_count + 1) * sizeof(*list));
	gone = malloc((edit->remove_count + 1) * sizeof(*gone));
	if (!list || !gone) {
		free(list);
		free(gone);
		return -PEN_MEMORY;
	}
	for (size_t i = 0; i < old_count && !edit->replace; i++)
		list[n++] = old[i];
	for (size_t i = 0; i < edit->count && edit->replace; i++)
		list[n++] = edit->at[i];
	for (size_t i = 0; i < edit->add_count; i++)
		list[n++] = edit->add[i];
	for (size_t i = 0; i < edit->remove_count; i++)
		gone[i] = edit->remove[i];
	qsort(list, n, sizeof(*list), by_bytes);
	qsort(gone, edit->remove_count, sizeof(*gone), by_bare);
	for (size_t i = 0; i < n; i++)
		if ((!kept || strcmp(list[kept - 1], list[i]) != 0) &&
		    !bsearch(&list[i], gone, edit->remove_count, sizeof(*gone), by_bare))
			list[kept++] = list[i];
	free(gone);
	*ret_list = list;
	*ret_count = kept;
	return kept <= PEN_FLAG_LIST_MAX ? 0 : -PEN_FLAG_BAD;
}

/* As others make them: a c, the time, 16 random digits; base 36. */
static void new_id(uint64_t now_ms, char ret[32])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	uint8_t noise[16] = { 0 };

	/* Whether it was filled is as good as said: it never fails for so few bytes once the kernel is up. */
	(void)!getrandom(noise, sizeof(noise), 0);
	ret[0] = 'c';
	for (int i = 8; i > 0; i--, now_ms /= 36)
		ret[i] = digits[now_ms % 36];
	for (int i = 0; i < 16; i++)
		ret[9 + i] = digits[noise[i] % 36];
	ret[25] = 0;
}

struct change {
	const struct pen_flag_set *set;
	char *metadata, id[32];
	const char **white, **black;
	struct pen_flag after;
};

static int make(struct change *c, const struct pen_flag *old, uint64_t now_ms)
{
	const struct pen_flag_set *set = c->set;
	struct pen_flag *f = &c->after;
	int rc;

	if (old) {
		*f = *old;
	} else {
		new_id(now_ms, c->id);
		*f = (struct pen_flag){
			.id = c->id, .name = set->name, .metadata = "", .salt = "", .created_ms = now_ms
		};
	}
	f->updated_ms = now_ms;
	if (set->has_enabled)
		f->enabled = set->enabled;
	if (set->has_rollout)
		f->rollout = set->rollout;
	if (set->has_bucketing)
		f->bucketing = set->bucketing;
	if (set->salt)
		f->salt = set->salt;
	if (c->metadata)
		f->metadata = c->metadata;
	if (set->has_variants) {
		f->variants = set->variants;
		f->variant_count = set->variant_count;
	}
	rc = merge(&set->whitelist, f->whitelist, f->whitelist_count, &c->white, &f->whitelist_count);
	if (!rc)
		rc = merge(&set->blacklist, f->blacklist, f->blacklist_count, &c->black, &f->blacklist_count);
	f->whitelist = c->white;
	f->blacklist = c->black;
	return rc;
}

/* ---- writing --------------------------------------------------------------------------------- */

int pen_flag_replace(struct pen_txn *txn, enum pen_flag_action action, const struct pen_flag *before,
		     struct pen_flag *after, const char *by, const char *reason)
{
	struct pen_fmt_flag_total total;
	int rc = pen_flag_total_load(txn, &total);

	if (!rc && !before && total.flags >= PEN_FLAGS_MAX)
		return -PEN_FLAG_BAD;
	after->version++;
	if (!rc)
		rc = pen_flag_put(txn, after);
	if (!rc && !before) {
		total.flags++;
		rc = pen_flag_total_save(txn, &total);
	}
	return rc ? rc : pen_change_add(txn, action, before, after, by, reason);
}

int pen_flag_commit(struct pen_store *store, struct pen_txn *txn, struct pen_failure *why)
{
	int rc = pen_txn_commit(txn, why);

	if (rc)
		return rc;
	pen_turn_flags_changed(store);
	/* Whoever made the change sees it from now on; one that cannot be read now is found later. */
	(void)pen_flagset_sync(store);
	return 0;
}

static int set_in(struct pen_txn *txn, struct change *c, uint64_t *ret_version, bool *ret_write,
		  struct pen_failure *why)
{
	const struct pen_flag_set *set = c->set;
	struct pen_flag *old = NULL;
	int rc = pen_flag_load(txn, set->name, &old);

	if (rc == -PEN_NOT_FOUND)
		rc = 0;
	if (!rc && set->if_version && set->if_version != (old ? old->version : 0))
		rc = pen_fail(why, -PEN_FLAG_CHANGED, 0, "flag %s has version %" PRIu64 ", not %" PRIu64,
			      set->name, old ? old->version : 0, set->if_version);
	if (!rc) {
		rc = make(c, old, pen_real_ms(pen_store_clock(pen_txn_store(txn))));
		if (rc == -PEN_FLAG_BAD)
			(void)bad(why, set->name, "a list has more than 10,000 names");
	}
	if (!rc && old)
		rc = pen_change_any(old, &c->after, ret_write);
	if (!rc && *ret_write)
		rc = pen_flag_replace(txn, PEN_FLAG_DID_SET, old, &c->after, set->by, set->reason);
	if (!rc && ret_version)
		*ret_version = c->after.version;
	free(old);
	return rc;
}

int pen_flag_set(struct pen_store *store, const struct pen_flag_set *set, uint64_t *ret_version,
		 struct pen_failure *why)
{
	struct change c = { .set = set };
	struct pen_txn *txn;
	const char *wrong;
	bool write = true;
	int rc;

	if (set->size < sizeof(*set) || !set->name)
		return -EINVAL;
	wrong = check(set);
	if (!wrong && set->metadata)
		wrong = check_metadata(set->metadata, &c.metadata);
	if (wrong || (set->metadata && !c.metadata)) {
		free(c.metadata);
		return wrong ? bad(why, set->name, wrong) : -PEN_MEMORY;
	}
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (!rc) {
		rc = set_in(txn, &c, ret_version, &write, why);
		if (rc || !write)
			pen_txn_abort(txn);
		else
			rc = pen_flag_commit(store, txn, why);
	}
	free(c.metadata);
	free(c.white);
	free(c.black);
	return rc ? pen_fail(why, rc, 0, "flag %s cannot be changed: %s", set->name, pen_error_text(rc)) : 0;
}

static int rm_in(struct pen_txn *txn, const char *name, const char *by, const char *reason)
{
	struct pen_fmt_flag_total total;
	struct pen_flag *old = NULL;
	int rc = pen_flag_load(txn, name, &old);

	if (!rc)
		rc = pen_flag_del(txn, name);
	if (!rc)
		rc = pen_ramp_clear(txn, name);
	if (!rc)
		rc = pen_flag_total_load(txn, &total);
	if (!rc) {
		total.flags--;
		rc = pen_flag_total_save(txn, &total);
	}
	if (!rc)
		rc = pen_change_add(txn, PEN_FLAG_DID_RM, old, NULL, by, reason);
	free(old);
	return rc;
}

int pen_flag_rm(struct pen_store *store, const char *name, const char *by, const char *reason,
		struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc;

	if (!pen_flag_name_len(name))
		return pen_fail(why, -PEN_NOT_FOUND, 0, "there is no flag '%.*s'", (int)PEN_FLAG_NAME_MAX,
				name);
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	rc = rm_in(txn, name, by, reason);
	if (!rc)
		return pen_flag_commit(store, txn, why);
	pen_txn_abort(txn);
	if (rc == -PEN_NOT_FOUND)
		return pen_fail(why, rc, 0, "there is no flag '%s'", name);
	return pen_fail(why, rc, 0, "flag %s cannot be removed: %s", name, pen_error_text(rc));
}
