/* SPDX-License-Identifier: MIT */
#include "store/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "ring/base.h"
#include "ring/hash.h"
#include "ring/murmur.h"

/* A set of names: open addressing, at most half full. A slot is a place in the text plus one; 0: free. */
struct names {
	uint32_t mask;
	const uint32_t *slots;
	const char *text;
};

struct draw {
	uint32_t below; /* of all: where this variant ends */
	const char *name;
};

struct pen_rules {
	uint64_t version;
	uint32_t rollout, salt_len, draws, weights;
	bool enabled, unleash;
	struct names white, black;
	const struct draw *draw;
	char salt[PEN_FLAG_TEXT_MAX + 2]; /* with the colon */
};

const char *pen_verdict_bare(const char *key)
{
	return strncmp(key, "user:", 5) == 0 && key[5] ? key + 5 : key;
}

static uint32_t slots_for(size_t count)
{
	uint32_t n = 4;

	while (n < 2 * count)
		n *= 2;
	return n;
}

static bool holds(const struct names *names, const char *key, size_t len)
{
	uint32_t i;

	if (!names->mask)
		return false;
	for (i = (uint32_t)pen_hash64(key, len);; i++) {
		uint32_t at = names->slots[i & names->mask];

		if (!at)
			return false;
		if (memcmp(names->text + at - 1, key, len + 1) == 0)
			return true;
	}
}

/* ---- compiling ------------------------------------------------------------------------------- */

struct room {
	uint32_t *slots;
	char *text;
};

static void fill_names(struct names *ret, struct room *room, const char *const *list, size_t count)
{
	uint32_t n = count ? slots_for(count) : 0, used = 0;

	ret->mask = n ? n - 1 : 0;
	ret->slots = room->slots;
	ret->text = room->text;
	for (size_t i = 0; i < count; i++) {
		const char *name = pen_verdict_bare(list[i]);
		size_t len = strlen(name);
		uint32_t at = (uint32_t)pen_hash64(name, len);

		while (room->slots[at & ret->mask])
			at++;
		room->slots[at & ret->mask] = used + 1;
		memcpy(room->text + used, name, len + 1);
		used += (uint32_t)len + 1;
	}
	room->slots += n;
	room->text += used;
}

static size_t text_bytes(const char *const *list, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += strlen(list[i]) + 1;
	return n;
}

static void fill_draws(struct pen_rules *r, struct draw *draw, struct room *room, const struct pen_flag *flag)
{
	uint32_t sum = 0;

	r->draw = draw;
	r->draws = (uint32_t)flag->variant_count;
	for (uint32_t i = 0; i < r->draws; i++) {
		size_t len = strlen(flag->variants[i].name);

		sum += flag->variants[i].weight;
		draw[i] = (struct draw){ sum, memcpy(room->text, flag->variants[i].name, len + 1) };
		room->text += len + 1;
	}
	r->weights = sum;
}

int pen_rules_make(const struct pen_flag *flag, struct pen_rules **ret)
{
	size_t slots = (flag->whitelist_count ? slots_for(flag->whitelist_count) : 0) +
		       (flag->blacklist_count ? slots_for(flag->blacklist_count) : 0);
	size_t text = text_bytes(flag->whitelist, flag->whitelist_count) +
		      text_bytes(flag->blacklist, flag->blacklist_count) +
		      flag->variant_count * (PEN_FLAG_VARIANT_MAX + 1);
	const char *salt = *flag->salt ? flag->salt : flag->name;
	/* A search that goes wrong compares up to PEN_FLAG_KEY_MAX bytes behind the last name. */
	struct pen_rules *r = calloc(1, sizeof(*r) + flag->variant_count * sizeof(struct draw) +
						slots * sizeof(uint32_t) + text + PEN_FLAG_KEY_MAX + 1);
	struct draw *draw;
	struct room room;

	if (!r)
		return -PEN_MEMORY;
	draw = (struct draw *)(r + 1);
	room.slots = (uint32_t *)(draw + flag->variant_count);
	room.text = (char *)(room.slots + slots);
	r->version = flag->version;
	r->rollout = flag->rollout;
	r->enabled = flag->enabled;
	r->unleash = flag->bucketing == PEN_FLAG_UNLEASH;
	r->salt_len = (uint32_t)strlen(salt);
	memcpy(r->salt, salt, r->salt_len);
	r->salt[r->salt_len++] = ':';
	fill_names(&r->white, &room, flag->whitelist, flag->whitelist_count);
	fill_names(&r->black, &room, flag->blacklist, flag->blacklist_count);
	fill_draws(r, draw, &room, flag);
	*ret = r;
	return 0;
}

/* ---- judging --------------------------------------------------------------------------------- */

static void name_variant(struct pen_flag_verdict *ret, const char *name)
{
	size_t len = strlen(name);

	memcpy(ret->variant, name, len + 1);
}

void pen_verdict_error(struct pen_flag_verdict *ret, bool fallback, enum pen_flag_error error)
{
	ret->on = fallback;
	ret->reason = PEN_FLAG_ERROR;
	ret->error = error;
	ret->bucket = 0;
	ret->version = 0;
	name_variant(ret, fallback ? "on" : "off");
}

/* SALT:KEY, hashed. */
static uint32_t place(const struct pen_rules *r, uint32_t seed, const char *key, size_t len)
{
	char text[sizeof(r->salt) + PEN_FLAG_KEY_MAX];

	memcpy(text, r->salt, r->salt_len);
	memcpy(text + r->salt_len, key, len);
	return pen_murmur32(seed, text, r->salt_len + len);
}

static void draw_variant(const struct pen_rules *r, const char *key, size_t len, struct pen_flag_verdict *ret)
{
	uint32_t b, i = 0;

	if (!ret->on || !r->draws || !len) {
		name_variant(ret, ret->on ? "on" : "off");
		return;
	}
	b = (uint32_t)((uint64_t)place(r, PEN_VERDICT_VARIANT_SEED, key, len) * r->weights >> 32);
	while (b >= r->draw[i].below)
		i++;
	name_variant(ret, r->draw[i].name);
}

static bool split(const struct pen_rules *r, const char *key, size_t len, uint32_t *ret_bucket)
{
	uint32_t h = place(r, 0, key, len);

	/* Unleash has whole percents: its place 1 .. 100 is below the rollout exactly when 0 .. 99 is here. */
	*ret_bucket = r->unleash ? h % 100 * (PEN_FLAG_WHOLE / 100)
				 : (uint32_t)((uint64_t)h * PEN_FLAG_WHOLE >> 32);
	return *ret_bucket + (r->unleash ? PEN_FLAG_WHOLE / 100 - 1 : 0) < r->rollout;
}

void pen_rules_judge(const struct pen_rules *r, const char *key, bool fallback, struct pen_flag_verdict *ret)
{
	size_t len = key ? strnlen(key, PEN_FLAG_KEY_MAX + 1) : 0, bare_len;
	const char *name;

	if (!r || len > PEN_FLAG_KEY_MAX) {
		pen_verdict_error(ret, fallback, r ? PEN_FLAG_INVALID_CONTEXT : PEN_FLAG_NOT_FOUND);
		ret->version = r ? r->version : 0;
		return;
	}
	ret->version = r->version;
	ret->error = PEN_FLAG_NO_ERROR;
	ret->bucket = 0;
	name = len ? pen_verdict_bare(key) : "";
	bare_len = len - (size_t)(len ? name - key : 0);
	if (!r->enabled) {
		ret->on = false;
		ret->reason = PEN_FLAG_DISABLED;
	} else if (len && holds(&r->black, name, bare_len)) {
		ret->on = false;
		ret->reason = PEN_FLAG_TARGETING_MATCH;
	} else if (len && holds(&r->white, name, bare_len)) {
		ret->on = true;
		ret->reason = PEN_FLAG_TARGETING_MATCH;
	} else if (!r->rollout || r->rollout == PEN_FLAG_WHOLE) {
		ret->on = r->rollout != 0;
		ret->reason = PEN_FLAG_STATIC;
	} else if (!len) {
		ret->on = false;
		ret->reason = PEN_FLAG_DEFAULT;
	} else {
		ret->on = split(r, key, len, &ret->bucket);
		ret->reason = PEN_FLAG_SPLIT;
	}
	draw_variant(r, key, len, ret);
}
