/* SPDX-License-Identifier: MIT */
#include "engine/gate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/base.h"
#include "ring/error.h"
#include "store/flag.h"
#include "store/flagset.h"
#include "store/ledger.h"
#include "store/pin.h"

#define ID "%016" PRIx64
#define OWNER_BYTES (PEN_FLAG_KEY_MAX + 2) /* one that is too long is seen to be */

static void key_of(char ret[OWNER_BYTES], const char *owner)
{
	(void)snprintf(ret, OWNER_BYTES, "user:%s", owner);
}

int pen_gate_check(const char *const *flags, size_t count, struct pen_failure *why)
{
	if (count >= PEN_FLAG_GATES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "a batch has at most %u flags", PEN_FLAG_GATES_MAX - 1);
	for (size_t i = 0; i < count; i++)
		if (!pen_flag_name_len(flags[i]))
			return pen_fail(why, -PEN_USAGE, 0, "there can be no flag '%.*s'",
					(int)PEN_FLAG_NAME_MAX, flags[i]);
	return 0;
}

static const struct pen_flag_pin *find(const struct pen_gates *gates, const char *name)
{
	for (uint32_t i = 0; i < gates->count; i++)
		if (strcmp(gates->pins[i].name, name) == 0)
			return &gates->pins[i];
	return NULL;
}

static bool is_own(const char *name)
{
	return strcmp(name, PEN_FLAG_BATCHES) == 0;
}

static void ask(struct pen_store *store, const char *name, const char *owner, struct pen_flag_pin *ret)
{
	char key[OWNER_BYTES];

	key_of(key, owner);
	*ret = (struct pen_flag_pin){ .name = "" };
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	pen_flag_eval(store, name, key, is_own(name), &ret->verdict);
}

static int refuse(const struct pen_flag_pin *pin, const char *owner, struct pen_failure *why)
{
	const struct pen_flag_verdict *v = &pin->verdict;

	return pen_fail(why, -PEN_FLAG_REFUSED, 0, "flag %s is off for user:%.255s (%s%s%s)", pin->name,
			owner, pen_flag_reason_name(v->reason), v->error ? ", " : "",
			pen_flag_error_name(v->error));
}

static int enter(struct pen_store *store, const char *name, const char *owner, struct pen_gates *gates,
		 struct pen_flag_pin *ret, struct pen_failure *why)
{
	struct pen_flag_pin pin;

	if (find(gates, name))
		return 0;
	ask(store, name, owner, &pin);
	if (is_own(name) && pin.verdict.error == PEN_FLAG_NOT_FOUND)
		return 0; /* nobody uses it */
	if (!pin.verdict.on) {
		if (ret)
			*ret = pin;
		return refuse(&pin, owner, why);
	}
	if (gates->count == PEN_FLAG_GATES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "the batch has %u flags already", PEN_FLAG_GATES_MAX);
	gates->pins[gates->count++] = pin;
	return 0;
}

int pen_gate_make(struct pen_store *store, const char *owner, const char *const *flags, size_t count,
		  struct pen_gates *gates, struct pen_flag_pin *ret, struct pen_failure *why)
{
	int rc = enter(store, PEN_FLAG_BATCHES, owner, gates, ret, why);

	for (size_t i = 0; i < count && !rc; i++)
		rc = enter(store, flags[i], owner, gates, ret, why);
	return rc;
}

int pen_gate_create(struct pen_txn *txn, uint64_t batch, const char *owner, const char *const *flags,
		    size_t count, struct pen_gates *ret, struct pen_failure *why)
{
	struct pen_store *store = pen_txn_store(txn);
	int rc = pen_flagset_sync(store);

	ret->count = 0;
	if (!rc)
		rc = pen_gate_make(store, owner, flags, count, ret, NULL, why);
	return rc || !ret->count ? rc : pen_pin_put(txn, batch, ret->pins, ret->count);
}

/* What holds although the batch was let in: people say so outright. */
static bool outright(const struct pen_flag_verdict *v)
{
	return v->reason == PEN_FLAG_DISABLED || v->reason == PEN_FLAG_TARGETING_MATCH;
}

bool pen_gate_holds(struct pen_store *store, const char *owner, const struct pen_gates *gates,
		    struct pen_flag_pin *ret)
{
	struct pen_flag_pin now;

	for (uint32_t i = 0; i < gates->count; i++) {
		ask(store, gates->pins[i].name, owner, &now);
		if (now.verdict.on || !outright(&now.verdict))
			continue;
		if (ret)
			*ret = now;
		return true;
	}
	if (find(gates, PEN_FLAG_BATCHES))
		return false;
	ask(store, PEN_FLAG_BATCHES, owner, &now);
	if (!now.verdict.on && ret)
		*ret = now;
	return !now.verdict.on;
}

bool pen_gate_held(struct pen_store *store, uint64_t batch, const char *owner, struct pen_flag_pin *ret)
{
	struct pen_gates gates;
	int n = pen_flagset_seen(store) ? pen_pin_read(store, batch, gates.pins) : 0;

	gates.count = n > 0 ? (uint32_t)n : 0;
	return pen_gate_holds(store, owner, &gates, ret);
}

int pen_gate_pass(struct pen_txn *txn, uint64_t batch, const char *owner, const char *const *flags,
		  size_t count, struct pen_gates *ret, struct pen_failure *why)
{
	struct pen_store *store = pen_txn_store(txn);
	struct pen_flag_pin held;
	uint32_t before;
	int rc = pen_flagset_sync(store);

	ret->count = 0;
	if (!rc)
		rc = pen_pin_load(txn, batch, ret->pins);
	if (rc < 0)
		return rc;
	ret->count = before = (uint32_t)rc;
	if (pen_gate_holds(store, owner, ret, &held))
		return refuse(&held, owner, why);
	for (size_t i = 0; i < count; i++) {
		rc = enter(store, flags[i], owner, ret, NULL, why);
		if (rc)
			return rc;
	}
	return ret->count > before ? pen_pin_put(txn, batch, ret->pins, ret->count) : 0;
}

/* ---- for programs ---------------------------------------------------------------------------- */

int pen_batch_may(struct pen_store *store, const char *owner, const char *const *flags, size_t count,
		  struct pen_flag_pin *ret, struct pen_failure *why)
{
	struct pen_gates gates = { .count = 0 };
	int rc = pen_gate_check(flags, count, why);

	return rc ? rc : pen_gate_make(store, owner, flags, count, &gates, ret, why);
}

int pen_batch_flags(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret, size_t cap)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX];
	int n = pen_pin_read(store, batch, pins);

	for (int i = 0; i < n && (size_t)i < cap; i++)
		ret[i] = pins[i];
	return n;
}

int pen_batch_held(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret)
{
	struct pen_standing *st = malloc(sizeof(*st));
	struct pen_facts *facts = NULL;
	int rc = st ? pen_ledger_read(store, batch, &facts, st) : -PEN_MEMORY;

	if (!rc && !pen_ledger_over(st->fixed.state))
		rc = pen_gate_held(store, batch, facts->owner, ret);
	free(facts);
	free(st);
	return rc;
}

bool pen_gate_say(struct pen_store *store, uint64_t batch, char *ret, size_t cap)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX], held = { .name = "" };
	bool holds = pen_batch_held(store, batch, &held) == 1;
	int n = pen_batch_flags(store, batch, pins, PEN_COUNT(pins));
	size_t len = 0;

	*ret = 0;
	if (holds)
		len = (size_t)snprintf(ret, cap,
				       "flag %s is off for its owner (%s, version %" PRIu64
				       "): it goes on when that is on again\n",
				       held.name, pen_flag_reason_name(held.verdict.reason),
				       held.verdict.version);
	for (int i = 0; i < n && len < cap; i++)
		len += (size_t)snprintf(ret + len, cap - len,
					"it was made under flag %s, version %" PRIu64
					": on, %s, variant %s\n",
					pins[i].name, pins[i].verdict.version,
					pen_flag_reason_name(pins[i].verdict.reason),
					pins[i].verdict.variant);
	return holds;
}

int pen_batch_ask(struct pen_store *store, uint64_t id, enum pen_wish wish, const char *by,
		  const char *reason, bool *ret_runs, struct pen_failure *why)
{
	struct pen_flag_pin held = { .name = "" };

	if (wish == PEN_WISH_CANCEL && pen_batch_held(store, id, &held) == 1)
		return pen_fail(why, -PEN_FLAG_REFUSED, 0,
				"batch " ID " cannot be cancelled: flag %s is off for its owner (%s)", id,
				held.name, pen_flag_reason_name(held.verdict.reason));
	return pen_batch_wish(store, id, wish, by, reason, ret_runs, why);
}
