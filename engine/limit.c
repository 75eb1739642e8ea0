/* SPDX-License-Identifier: MIT */
#include "engine/limit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/policy.h"

#define MS PEN_NS_PER_MS
#define SECOND PEN_NS_PER_S
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define COPY_NS SECOND

struct preset {
	const char *name;
	uint64_t window_ns, limit;
	int layer;
	enum pen_limit_unit unit;
};

/* The first layer is the whole system's, the second an operation's. Names that say the same are counted apart: whoever
 * asks both layers is held to both. */
static const struct preset presets[] = {
	{ "auth", 15 * MINUTE, 5, 1, PEN_LIMIT_REQUESTS },
	{ "default", MINUTE, 100, 1, PEN_LIMIT_REQUESTS },
	{ "upload", HOUR, 10, 1, PEN_LIMIT_REQUESTS },
	{ "AUTH", 15 * MINUTE, 5, 2, PEN_LIMIT_REQUESTS },
	{ "BATCH_ITEM_PROCESSING", MINUTE, 100000, 2, PEN_LIMIT_ITEMS },
	{ "BATCH_OPERATIONS", HOUR, 10, 2, PEN_LIMIT_REQUESTS },
	{ "EXPORT", HOUR, 20, 2, PEN_LIMIT_REQUESTS },
	{ "FILE_UPLOAD", HOUR, 10, 2, PEN_LIMIT_REQUESTS },
	{ "GENERAL", MINUTE, 100, 2, PEN_LIMIT_REQUESTS },
	{ "PARTICIPANT_SESSION", 5 * MINUTE, 1, 2, PEN_LIMIT_REQUESTS },
	{ "PDF", MINUTE, 10, 2, PEN_LIMIT_REQUESTS },
	{ "REALTIME", MINUTE, 30, 2, PEN_LIMIT_REQUESTS },
	{ "SEARCH", MINUTE, 200, 2, PEN_LIMIT_REQUESTS },
	{ "SURVEY_CREATION", 24 * HOUR, 50, 2, PEN_LIMIT_REQUESTS },
};

#define POLICIES (PEN_POLICIES_MAX + PEN_COUNT(presets))
#define INDEX 1024u /* a power of two, above twice the policies */
_Static_assert(INDEX > 2 * POLICIES, "an index that finds its end");

struct entry {
	struct pen_limit_policy policy;
	struct pen_quota_rule rule;
	struct pen_sum hash;
};

struct pen_limits {
	struct pen_store *store;
	struct pen_turnstile *turnstile;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t cond;
	uint64_t generation;
	bool loaded, ending;
	uint32_t count;
	struct entry entries[POLICIES];
	uint16_t index[INDEX]; /* entry + 1, by the hash of the name */
	bool has_copier;
	pthread_t copier;
};

const char *pen_limit_algorithm_name(enum pen_limit_algorithm algorithm)
{
	static const char *const names[] = { "sliding", "gcra", "fixed", "concurrent" };

	return (unsigned)algorithm < PEN_COUNT(names) ? names[algorithm] : "unknown";
}

const char *pen_limit_unit_name(enum pen_limit_unit unit)
{
	static const char *const names[] = { "requests", "items", "bytes", "concurrent" };

	return (unsigned)unit < PEN_COUNT(names) ? names[unit] : "unknown";
}

_Static_assert((int)PEN_LIMIT_SLIDING == PEN_QUOTA_SLIDING && (int)PEN_LIMIT_GCRA == PEN_QUOTA_GCRA &&
		       (int)PEN_LIMIT_FIXED == PEN_QUOTA_FIXED &&
		       (int)PEN_LIMIT_CONCURRENT == PEN_QUOTA_CONCURRENT,
	       "one list");
_Static_assert(PEN_LIMIT_NAME == PEN_POLICY_NAME_MAX + 1 && PEN_LIMIT_ASKS == PEN_TURNSTILE_ASKS, "one size");

/* ---- policies -------------------------------------------------------------------------------- */

static struct entry *find(struct pen_limits *l, const char *name)
{
	size_t len = strlen(name);

	for (uint64_t at = pen_hash64(name, len);; at++) {
		uint16_t i = l->index[at % INDEX];

		if (!i)
			return NULL;
		if (!strcmp(l->entries[i - 1].policy.name, name))
			return &l->entries[i - 1];
	}
}

static struct entry *add(struct pen_limits *l, const char *name)
{
	size_t len = strlen(name);
	uint64_t at = pen_hash64(name, len);
	struct entry *e;

	if (l->count == POLICIES)
		return NULL;
	while (l->index[at % INDEX])
		at++;
	e = &l->entries[l->count++];
	l->index[at % INDEX] = (uint16_t)l->count;
	*e = (struct entry){ .policy = { .size = sizeof e->policy, .layer = 2 },
			     .hash = pen_hash128(name, len) };
	memcpy(e->policy.name, name, len + 1);
	return e;
}

/* A row that another version wrote may have values that mean nothing here: it then is as if it were not there. */
static void apply(struct pen_limits *l, const struct pen_policy *p)
{
	struct pen_quota_rule rule;
	struct entry *e;

	if (p->row.unit > PEN_LIMIT_UNIT_CONCURRENT ||
	    !pen_quota_rule(&rule, (enum pen_quota_kind)p->row.algorithm, p->row.window_ns, p->row.limit,
			    p->row.burst))
		return;
	e = find(l, p->name);
	if (!e)
		e = add(l, p->name);
	if (!e)
		return;
	e->rule = rule;
	e->policy.window_ns = p->row.window_ns;
	e->policy.limit = p->row.limit;
	e->policy.burst = rule.burst;
	e->policy.algorithm = (enum pen_limit_algorithm)p->row.algorithm;
	e->policy.unit = (enum pen_limit_unit)p->row.unit;
	e->policy.changed = true;
	e->policy.changed_ms = p->row.changed_ms;
	e->policy.changed_uid = p->row.uid;
}

static int by_name(const void *a, const void *b)
{
	const struct pen_policy *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int load(struct pen_limits *l)
{
	struct pen_policy *rows = malloc(PEN_POLICIES_MAX * sizeof *rows);
	int n = rows ? pen_policy_read(l->store, rows, PEN_POLICIES_MAX) : -PEN_MEMORY;

	if (n >= 0) {
		l->count = 0;
		memset(l->index, 0, sizeof l->index);
		for (size_t i = 0; i < PEN_COUNT(presets); i++) {
			const struct preset *p = &presets[i];
			struct entry *e = add(l, p->name);
			bool ok;

			ok = pen_quota_rule(&e->rule, PEN_QUOTA_SLIDING, p->window_ns, p->limit, UINT64_MAX);
			pen_assert(ok);
			e->policy.window_ns = p->window_ns;
			e->policy.limit = p->limit;
			e->policy.burst = e->rule.burst;
			e->policy.unit = p->unit;
			e->policy.layer = p->layer;
			e->policy.preset = true;
		}
		qsort(rows, (size_t)n, sizeof *rows, by_name);
		for (int i = 0; i < n; i++)
			apply(l, &rows[i]);
		l->loaded = true;
	}
	free(rows);
	return n < 0 ? n : 0;
}

/* Under the mutex: the policies as they are now. */
static int fresh(struct pen_limits *l)
{
	uint64_t generation = pen_turnstile_generation(l->turnstile);
	int rc;

	if (l->loaded && generation == l->generation)
		return 0;
	/* The number is read first: a change that comes while the rows are read is seen next time. */
	rc = load(l);
	if (!rc)
		l->generation = generation;
	/* What held until now holds on when the rows cannot be read just now. */
	return l->loaded ? 0 : rc;
}

int pen_limit_ask(struct pen_limits *limits, const char *name, struct pen_turnstile_ask *ret,
		  struct pen_limit_policy *ret_policy)
{
	struct entry *e = NULL;
	int rc;

	pthread_mutex_lock(&limits->mutex);
	rc = fresh(limits);
	if (!rc)
		e = find(limits, name);
	if (e) {
		*ret = (struct pen_turnstile_ask){ .policy = e->hash, .rule = e->rule };
		if (ret_policy)
			*ret_policy = e->policy;
	}
	pthread_mutex_unlock(&limits->mutex);
	return rc ? rc : e ? 0 : -PEN_LIMIT_UNKNOWN;
}

int pen_limit_at(struct pen_limits *limits, size_t i, struct pen_limit_policy *ret)
{
	int rc;

	pthread_mutex_lock(&limits->mutex);
	rc = fresh(limits);
	if (!rc && i >= limits->count)
		rc = -PEN_LIMIT_UNKNOWN;
	if (!rc)
		*ret = limits->entries[i].policy;
	pthread_mutex_unlock(&limits->mutex);
	return rc;
}

int pen_limit_get(struct pen_limits *limits, const char *name, struct pen_limit_policy *ret)
{
	struct pen_turnstile_ask ask;

	return pen_limit_ask(limits, name, &ask, ret);
}

int pen_limit_set(struct pen_limits *limits, const struct pen_limit_policy *policy, struct pen_failure *why)
{
	struct pen_fmt_policy row = { .window_ns = policy->window_ns,
				      .limit = policy->limit,
				      .burst = policy->burst,
				      .uid = getuid(),
				      .algorithm = (uint8_t)policy->algorithm,
				      .unit = (uint8_t)policy->unit };
	struct pen_quota_rule rule;
	int rc;

	if (policy->size < sizeof *policy)
		return pen_fail(why, -EINVAL, EINVAL, "the policy is of another version");
	if (!pen_policy_name_ok(policy->name))
		return pen_fail(why, -PEN_USAGE, 0,
				"a policy's name has 1 to 64 letters, digits, '.', '_' and '-'");
	if (!pen_quota_rule(&rule, (enum pen_quota_kind)policy->algorithm, policy->window_ns, policy->limit,
			    policy->burst))
		return pen_fail(why, -PEN_USAGE, 0,
				policy->algorithm == PEN_LIMIT_CONCURRENT
					? "a limit of concurrent ones is 1 to 1000"
					: "a window is 1 ms to 400 days, a limit 1 to 10^15");
	if ((policy->unit == PEN_LIMIT_UNIT_CONCURRENT) != (policy->algorithm == PEN_LIMIT_CONCURRENT) ||
	    policy->unit > PEN_LIMIT_UNIT_CONCURRENT)
		return pen_fail(why, -PEN_USAGE, 0,
				"concurrent is a unit by itself: other units are counted in a window");
	rc = pen_policy_put(limits->store, policy->name, &row, why);
	if (!rc)
		pen_turnstile_changed(limits->turnstile);
	return rc;
}

int pen_limit_rm(struct pen_limits *limits, const char *name, struct pen_failure *why)
{
	int rc;

	if (!pen_policy_name_ok(name))
		return pen_fail(why, -PEN_LIMIT_UNKNOWN, 0, "there is no policy `%s`", name);
	rc = pen_policy_remove(limits->store, name, why);
	if (!rc)
		pen_turnstile_changed(limits->turnstile);
	return rc;
}

/* ---- decisions ------------------------------------------------------------------------------- */

struct pen_turnstile *pen_limit_turnstile(struct pen_limits *limits)
{
	return limits->turnstile;
}

struct pen_sum pen_limit_identity(const char *text)
{
	return pen_hash128(text, strlen(text));
}

static int make_asks(struct pen_limits *l, const char *identity, const struct pen_limit_ask *asks,
		     size_t count, struct pen_turnstile_ask *ret, struct pen_limit_result *results,
		     bool leases, struct pen_failure *why)
{
	size_t len = identity ? strlen(identity) : 0;

	if (!len || len > PEN_LIMIT_IDENTITY)
		return pen_fail(why, -PEN_USAGE, 0, "an identity has 1 to %u bytes", PEN_LIMIT_IDENTITY);
	if (!count || count > PEN_LIMIT_ASKS)
		return pen_fail(why, -PEN_USAGE, 0, "1 to %u policies are asked at once", PEN_LIMIT_ASKS);
	for (size_t i = 0; i < count; i++) {
		struct pen_limit_policy p;
		int rc = pen_limit_ask(l, asks[i].policy, &ret[i], &p);

		if (rc)
			return pen_fail(why, rc, 0,
					rc == -PEN_LIMIT_UNKNOWN ? "there is no policy `%s`" : "policy `%s`",
					asks[i].policy);
		if (asks[i].cost > PEN_QUOTA_LIMIT_MAX)
			return pen_fail(why, -PEN_USAGE, 0, "a cost is at most 10^15");
		if (asks[i].cost && p.algorithm == PEN_LIMIT_CONCURRENT && !leases)
			return pen_fail(why, -PEN_USAGE, 0,
					"`%s` limits how many there are at once: it is reserved and released",
					p.name);
		ret[i].cost = asks[i].cost;
		results[i] = (struct pen_limit_result){ .algorithm = p.algorithm,
							.unit = p.unit,
							.cost = asks[i].cost,
							.window_ns = p.window_ns };
		memcpy(results[i].policy, p.name, sizeof p.name);
	}
	return 0;
}

static int decide(struct pen_limits *l, const char *identity, const struct pen_limit_ask *asks, size_t count,
		  enum pen_turnstile_mode mode, struct pen_limit_result *results, struct pen_limit_hold *hold,
		  struct pen_failure *why)
{
	struct pen_turnstile_ask ask[PEN_TURNSTILE_ASKS];
	struct pen_sum who = { 0 };
	uint64_t now;
	int rc = make_asks(l, identity, asks, count, ask, results, hold || mode == PEN_TURNSTILE_LOOK, why);

	if (rc)
		return rc;
	who = pen_limit_identity(identity);
	rc = pen_turnstile_pass(l->turnstile, who, ask, (uint32_t)count, mode,
				pen_turnstile_self(l->turnstile), &now);
	for (size_t i = 0; i < count; i++) {
		results[i].refused = ask[i].verdict.refused;
		results[i].limit = ask[i].verdict.limit;
		results[i].remaining = ask[i].verdict.remaining;
		results[i].reset_ns = ask[i].verdict.reset_ns;
		results[i].retry_ns = ask[i].verdict.retry_ns;
	}
	if (rc)
		return pen_fail(why, rc, 0, "%s", identity);
	if (hold) {
		*hold = (struct pen_limit_hold){ .words = { who.lo, who.hi, now }, .count = (uint32_t)count };
		for (size_t i = 0; i < count; i++) {
			memcpy(hold->part[i].policy, results[i].policy, sizeof results[i].policy);
			hold->part[i].cost = asks[i].cost;
		}
	}
	return 0;
}

int pen_limit_check(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		    size_t count, struct pen_limit_result *results, struct pen_failure *why)
{
	return decide(limits, identity, asks, count, PEN_TURNSTILE_TAKE, results, NULL, why);
}

int pen_limit_peek(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		   size_t count, struct pen_limit_result *results, struct pen_failure *why)
{
	return decide(limits, identity, asks, count, PEN_TURNSTILE_LOOK, results, NULL, why);
}

int pen_limit_reserve(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		      size_t count, struct pen_limit_result *results, struct pen_limit_hold *ret_hold,
		      struct pen_failure *why)
{
	return decide(limits, identity, asks, count, PEN_TURNSTILE_TAKE, results, ret_hold, why);
}

int pen_limit_settle(struct pen_limits *limits, const struct pen_limit_hold *hold, const uint64_t *used)
{
	struct pen_turnstile_ask ask[PEN_TURNSTILE_ASKS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < hold->count && i < PEN_LIMIT_ASKS; i++) {
		uint64_t cost = hold->part[i].cost, spent = used ? used[i] : cost;
		int rc = pen_limit_ask(limits, hold->part[i].policy, &ask[n], NULL);

		if (rc == -PEN_LIMIT_UNKNOWN)
			continue; /* removed meanwhile, and what was counted with it */
		if (rc)
			return rc;
		ask[n].cost = ask[n].rule.kind == PEN_QUOTA_CONCURRENT ? cost : cost - pen_min(cost, spent);
		n += ask[n].cost != 0;
	}
	if (n)
		pen_turnstile_back(limits->turnstile, (struct pen_sum){ hold->words[0], hold->words[1] }, ask,
				   n, hold->words[2], pen_turnstile_self(limits->turnstile));
	return 0;
}

int pen_limit_release(struct pen_limits *limits, const struct pen_limit_hold *hold)
{
	static const uint64_t none[PEN_LIMIT_ASKS];

	return pen_limit_settle(limits, hold, none);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *copier_main(void *arg)
{
	struct pen_limits *l = arg;
	struct timespec until;

	(void)pthread_setname_np(pthread_self(), "pen-limits");
	pthread_mutex_lock(&l->mutex);
	while (!l->ending) {
		/* Waits by the real clock whatever clock decisions go by. */
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += (time_t)(COPY_NS / PEN_NS_PER_S);
		(void)pthread_cond_timedwait(&l->cond, &l->mutex, &until);
		if (l->ending)
			break;
		pthread_mutex_unlock(&l->mutex);
		/* A full disk: it is tried again in a second. */
		(void)pen_turnstile_copy(l->turnstile);
		pthread_mutex_lock(&l->mutex);
	}
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

static int start_copier(struct pen_limits *l)
{
	int rc = pthread_create(&l->copier, NULL, copier_main, l);

	l->has_copier = !rc;
	return -rc;
}

int pen_limit_open(struct pen_store *store, const struct pen_limits_options *opt, struct pen_limits **ret,
		   struct pen_failure *why)
{
	struct pen_limits *l = calloc(1, sizeof *l);
	pthread_condattr_t attr;
	int rc;

	if (!l)
		return pen_fail(why, -PEN_MEMORY, 0, "no memory for limits");
	l->store = store;
	(void)pthread_mutex_init(&l->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&l->cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	rc = pen_turnstile_open(store, &l->turnstile);
	if (!rc && opt && opt->size >= sizeof *opt && opt->copier)
		rc = start_copier(l);
	if (rc) {
		(void)pen_fail(why, rc == -PEN_STORE_READONLY || rc == -PEN_MEMORY ? rc : -PEN_LIMIT_TABLE,
			       rc > -200 ? -rc : 0, "%s/run/limits", pen_store_path(store));
		pen_limit_close(l);
		return rc == -PEN_STORE_READONLY || rc == -PEN_MEMORY ? rc : -PEN_LIMIT_TABLE;
	}
	*ret = l;
	return 0;
}

void pen_limit_close(struct pen_limits *limits)
{
	if (!limits)
		return;
	if (limits->has_copier) {
		pthread_mutex_lock(&limits->mutex);
		limits->ending = true;
		pthread_cond_signal(&limits->cond);
		pthread_mutex_unlock(&limits->mutex);
		(void)pthread_join(limits->copier, NULL);
	}
	/* Somebody else at it keeps what changed until now as well, or the next one does. */
	if (limits->turnstile)
		(void)pen_turnstile_copy(limits->turnstile);
	pen_turnstile_close(limits->turnstile);
	(void)pthread_mutex_destroy(&limits->mutex);
	(void)pthread_cond_destroy(&limits->cond);
	free(limits);
}
