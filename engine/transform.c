/* SPDX-License-Identifier: MIT */
#include "engine/transform.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plugin.h"
#include "engine/project.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"
#include "ring/hash.h"
#include "ring/sha256.h"

#define ROOM_SHARE 2u /* a chunk's text has at least one part of so many */

/* ---- parsing ------------------------------------------------------------------------------- */

static int parse_where(struct pen_transform *t, const struct pen_run *run, struct pen_failure *why)
{
	if (run->where_count > PEN_CONDITION_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu conditions; at most %u can be given",
				run->where_count, PEN_CONDITION_MAX);
	for (size_t i = 0; i < run->where_count; i++) {
		int rc = pen_condition_parse(&t->where[i], run->where[i], why);

		if (rc)
			return rc;
		t->where_text[t->where_count++] = strdup(run->where[i]);
		if (!t->where_text[i])
			return -ENOMEM;
	}
	if (t->where_count)
		t->json = t->drops = true;
	return 0;
}

static int parse_kind(struct pen_transform *t, const char *text, struct pen_failure *why)
{
	if (!strcmp(text, "copy"))
		return 0;
	if (!strcmp(text, "json")) {
		t->kind = PEN_TRANSFORM_JSON;
		t->json = t->strict = true;
		return 0;
	}
	if (!strcmp(text, "digest") || !strcmp(text, "digest:xxh3")) {
		t->kind = PEN_TRANSFORM_XXH3;
		t->each = 32;
		return 0;
	}
	if (!strcmp(text, "digest:sha256")) {
		t->kind = PEN_TRANSFORM_SHA256;
		t->each = 2 * PEN_SHA256_BYTES;
		return 0;
	}
	if (!strncmp(text, "project:", 8)) {
		int rc = pen_project_parse(text + 8, &t->project, why);

		if (rc)
			return rc;
		t->kind = PEN_TRANSFORM_PROJECT;
		t->json = true;
		t->factor = 1;
		t->each = (uint32_t)pen_project_extra(t->project);
		return 0;
	}
	if (!strncmp(text, "so:", 3) && text[3]) {
		t->kind = PEN_TRANSFORM_PLUGIN;
		t->factor = 1;
		t->drops = true;
		return 0;
	}
	return pen_fail(
		why, -PEN_USAGE, 0,
		"there is no processor '%s': copy, json, digest, digest:sha256, project:FIELDS, so:FILE[:SYMBOL]",
		text);
}

int pen_transform_parse(struct pen_transform *t, const struct pen_run *run, struct pen_failure *why)
{
	int rc = parse_where(t, run, why);

	if (!rc && run->processor)
		rc = parse_kind(t, run->processor, why);
	if (!rc && run->processor_config && t->kind != PEN_TRANSFORM_PLUGIN)
		return pen_fail(why, -PEN_USAGE, 0, "only a plugin (so:FILE) takes a configuration");
	if (rc)
		return rc;
	t->text = t->kind && run->processor ? strdup(run->processor) : NULL;
	t->config = strdup(run->processor_config ? run->processor_config : "");
	return t->config && (t->text || !t->kind) ? 0 : -ENOMEM;
}

/* ---- what the processors need ---------------------------------------------------------------- */

static int open_hashers(struct pen_transform *t, uint32_t processors, struct pen_failure *why)
{
	t->hashers = calloc(processors, sizeof *t->hashers);
	if (!t->hashers)
		return -ENOMEM;
	for (; t->hasher_count < processors; t->hasher_count++) {
		int rc = pen_sha256_open(&t->hashers[t->hasher_count]);

		if (rc)
			return pen_fail(why, rc == -ENOMEM ? rc : -PEN_UNSUPPORTED, -rc,
					"libcrypto does not give out SHA-256");
	}
	return 0;
}

static int load_plugin(struct pen_transform *t, uint32_t processors, struct pen_failure *why)
{
	const struct pen_plugin *about;
	int rc = pen_plugin_open(t->text + 3, &t->plugin, why);

	if (rc)
		return rc;
	about = pen_plugin_about(t->plugin);
	t->each = (uint32_t)pen_max(about->emit_extra, PEN_PLUGIN_MESSAGE_MAX + 1);
	if (about->flags & PEN_PLUGIN_KEYS)
		t->each += PEN_PLUGIN_KEY_MAX;
	t->json |= (about->flags & PEN_PLUGIN_JSON) != 0;
	return pen_plugin_start(t->plugin, t->config, processors, why);
}

int pen_transform_load(struct pen_transform *t, uint32_t processors, size_t room, struct pen_failure *why)
{
	int rc = 0;

	if (t->kind == PEN_TRANSFORM_SHA256)
		rc = open_hashers(t, processors, why);
	else if (t->kind == PEN_TRANSFORM_PLUGIN)
		rc = load_plugin(t, processors, why);
	if (!rc && t->each > room / ROOM_SHARE)
		rc = pen_fail(
			why, -PEN_USAGE, 0,
			"the processor may need %u bytes an item, and a chunk has %zu: raise --chunk-bytes",
			t->each, room);
	return rc;
}

void pen_transform_fini(struct pen_transform *t)
{
	for (uint32_t i = 0; i < t->where_count; i++)
		free(t->where_text[i]);
	for (uint32_t i = 0; i < PEN_CONDITION_MAX; i++)
		pen_condition_fini(&t->where[i]);
	for (uint32_t i = 0; i < t->hasher_count; i++)
		pen_sha256_close(t->hashers[i]);
	free(t->hashers);
	pen_project_close(t->project);
	pen_plugin_close(t->plugin);
	free(t->text);
	free(t->config);
	*t = (struct pen_transform){ 0 };
}

static bool put_text(FILE *f, const char *text)
{
	uint64_t n = strlen(text);

	return fwrite(&n, sizeof n, 1, f) == 1 && fwrite(text, 1, n, f) == n;
}

bool pen_transform_sign(const struct pen_transform *t, FILE *f)
{
	bool ok = true;

	if (!t->kind && !t->where_count)
		return true;
	if (t->plugin) {
		struct pen_sum hash = pen_plugin_hash(t->plugin);

		ok = put_text(f, "so") && put_text(f, pen_plugin_path(t->plugin)) &&
		     put_text(f, pen_plugin_about(t->plugin)->version) && put_text(f, t->config) &&
		     fwrite(&hash, sizeof hash, 1, f) == 1 && put_text(f, t->text);
	} else {
		ok = put_text(f, t->text ? t->text : "copy");
	}
	for (uint32_t i = 0; i < t->where_count && ok; i++)
		ok = put_text(f, t->where_text[i]);
	return ok;
}

/* ---- one item ------------------------------------------------------------------------------ */

static void put_hex(char *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static void digest(struct pen_transform *t, uint32_t processor, const struct pen_transform_item *item,
		   struct pen_transform_result *ret)
{
	uint8_t bytes[PEN_SHA256_BYTES];
	size_t n = 16;

	if (t->kind == PEN_TRANSFORM_SHA256) {
		pen_sha256_begin(t->hashers[processor]);
		pen_sha256_add(t->hashers[processor], item->value, item->value_len);
		pen_sha256_end(t->hashers[processor], bytes);
		n = PEN_SHA256_BYTES;
	} else {
		struct pen_sum sum = pen_hash128(item->value, item->value_len);

		pen_put_be64(bytes, sum.hi);
		pen_put_be64(bytes + 8, sum.lo);
	}
	put_hex(item->out, bytes, n);
	ret->verdict = PEN_TRANSFORM_MADE;
	ret->value_len = 2 * n;
}

static void plugin(struct pen_transform *t, uint32_t processor, const struct pen_transform_item *item,
		   struct pen_transform_result *ret)
{
	const struct pen_plugin *about = pen_plugin_about(t->plugin);
	const struct pen_plugin_item in = {
		.size = sizeof in,
		.value = item->value,
		.value_len = item->value_len,
		.key = item->key,
		.key_len = item->key_len,
		.seq = item->seq,
		.attempt = 1,
		.path = item->path,
		.offset = item->offset,
		.line = item->line,
		.correlation_id = item->context ? item->context->correlation_id : "",
		.user = item->context ? item->context->user : "",
		.started_ms = item->context ? item->context->started_ms : 0,
	};
	size_t cap = item->value_len + about->emit_extra;
	bool keys = item->may_key && (about->flags & PEN_PLUGIN_KEYS);
	struct pen_plugin_answer answer;

	pen_plugin_call(t->plugin, processor, &in, item->out, cap, keys ? item->out + cap : NULL, item->stop,
			&answer);
	switch (answer.verdict) {
	case PEN_PLUGIN_EMIT:
		ret->verdict = PEN_TRANSFORM_MADE;
		ret->value_len = answer.value_len;
		break;
	case PEN_PLUGIN_KEEP:
		break;
	default:
		ret->verdict = PEN_TRANSFORM_FLAW;
		ret->code = answer.verdict == PEN_PLUGIN_DROP ? -PEN_PLUGIN_DROPPED : answer.code;
		ret->message_len = strlen(answer.message);
		memcpy(item->out, answer.message, ret->message_len + 1);
		return;
	}
	if (answer.key_len) {
		/* Right behind the value, so that the room of what was not used is there for the next item. */
		ret->key_at = ret->value_len;
		ret->key_len = answer.key_len;
		memmove(item->out + ret->key_at, item->out + cap, answer.key_len);
	}
}

void pen_transform_apply(struct pen_transform *t, uint32_t processor, const struct pen_transform_item *item,
			 struct pen_transform_result *ret)
{
	int rc;

	*ret = (struct pen_transform_result){ .verdict = PEN_TRANSFORM_KEPT };
	for (uint32_t i = 0; i < t->where_count; i++) {
		if (pen_condition_fits(&t->where[i], item->value, item->value_len))
			continue;
		ret->verdict = PEN_TRANSFORM_FLAW;
		ret->code = -PEN_WHERE_FALSE;
		return;
	}
	switch (t->kind) {
	case PEN_TRANSFORM_COPY:
	case PEN_TRANSFORM_JSON:
		return;
	case PEN_TRANSFORM_XXH3:
	case PEN_TRANSFORM_SHA256:
		digest(t, processor, item, ret);
		return;
	case PEN_TRANSFORM_PROJECT:
		rc = pen_project_take(t->project, item->value, item->value_len, item->out, &ret->value_len);
		ret->verdict = rc ? PEN_TRANSFORM_FLAW : PEN_TRANSFORM_MADE;
		ret->code = rc;
		return;
	case PEN_TRANSFORM_PLUGIN:
		plugin(t, processor, item, ret);
		return;
	}
}
