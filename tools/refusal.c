/* SPDX-License-Identifier: MIT */
#include "tools/refusal.h"

#include <stdio.h>
#include <unistd.h>

#include "tools/json.h"
#include "tools/out.h"

#define TYPE "https://iana.org/assignments/http-problem-types#quota-exceeded"

static uint64_t seconds(uint64_t ns)
{
	return ns / 1000000000 + (ns % 1000000000 != 0);
}

static void policy(struct pen_jw *jw, const struct pen_limit_result *r)
{
	pen_jw_object(jw, NULL);
	pen_jw_text(jw, "policy", r->policy);
	pen_jw_bool(jw, "refused", r->refused);
	pen_jw_u64(jw, "cost", r->cost);
	pen_jw_u64(jw, "limit", r->limit);
	pen_jw_u64(jw, "remaining", r->remaining);
	pen_jw_milli(jw, "window", r->window_ns / 1000000);
	pen_jw_u64(jw, "reset", seconds(r->reset_ns));
	if (!r->refused || r->retry_ns == PEN_LIMIT_NEVER)
		pen_jw_null(jw, "retry_after");
	else
		pen_jw_u64(jw, "retry_after", pen_limit_retry_after(r, 1));
	pen_jw_text(jw, "algorithm", pen_limit_algorithm_name(r->algorithm));
	pen_jw_text(jw, "unit", pen_limit_unit_name(r->unit));
	pen_jw_object_end(jw);
}

void pen_refusal_json(struct pen_out *out, const char *identity, const struct pen_limit_result *results,
		      size_t count)
{
	uint64_t retry = pen_limit_retry_after(results, count);
	struct pen_jw jw;

	pen_jw_init(&jw, out);
	pen_jw_object(&jw, NULL);
	if (retry) {
		pen_jw_text(&jw, "type", TYPE);
		pen_jw_text(&jw, "title", "Request cannot be satisfied as assigned quota has been exceeded");
		pen_jw_u64(&jw, "status", 429);
		pen_jw_text(&jw, "code", pen_error_name(-PEN_LIMIT_REFUSED));
		pen_jw_array(&jw, "violated-policies");
		for (size_t i = 0; i < count; i++)
			if (results[i].refused)
				pen_jw_text(&jw, NULL, results[i].policy);
		pen_jw_array_end(&jw);
		pen_jw_u64(&jw, "retry_after", retry);
	}
	pen_jw_bool(&jw, "allowed", !retry);
	pen_jw_text(&jw, "identity", identity);
	pen_jw_array(&jw, "policies");
	for (size_t i = 0; i < count; i++)
		policy(&jw, &results[i]);
	pen_jw_array_end(&jw);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
}

void pen_refusal_batch(const struct pen_cmd *cmd, struct pen_store *store)
{
	const struct pen_limit_ask ask = { "BATCH_OPERATIONS", 1 };
	const char *owner = pen_cmd_value(cmd, PEN_O_OWNER)->text;
	char name[256], identity[PEN_LIMIT_IDENTITY + 1];
	struct pen_limit_result result;
	struct pen_limits *limits;
	struct pen_out out;
	int rc;

	if (!pen_cmd_set(cmd, PEN_O_JSON) || pen_limit_open(store, NULL, &limits, NULL))
		return;
	pen_cmd_own_name(name, sizeof name);
	(void)snprintf(identity, sizeof identity, "user:%.250s", owner ? owner : name);
	rc = pen_limit_peek(limits, identity, &ask, 1, &result, NULL);
	pen_limit_close(limits);
	/* It may have let go meanwhile: then there is nothing to tell but what stderr said. */
	if (rc != -PEN_LIMIT_REFUSED)
		return;
	pen_out_init(&out, STDOUT_FILENO);
	pen_refusal_json(&out, identity, &result, 1);
	(void)pen_out_end(&out, 0);
}
