/* SPDX-License-Identifier: MIT */
/* Plugins are compiled here, against include/ alone; tests/cli/processors.py runs them in the command. */
#include "engine/plugin.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64], path[96];

static void begin(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/pen-plugin-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void end(void)
{
	char command[128];

	(void)snprintf(command, sizeof command, "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(plugin, .init = begin, .fini = end, .timeout = 120);

static const char *build(const char *item, const char *descriptor)
{
	char command[512];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/p.c", dir);
	f = fopen(path, "w");
	cr_assert(f);
	fprintf(f,
		"#include <penstock_plugin.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
		"static int opened;\n"
		"static int start(const struct pen_plugin_config *c, void **self, char *m, size_t cap)\n"
		"{ if (*c->text) { snprintf(m, cap, \"no %%s\", c->text); return 1; } opened++; *self = malloc(1); return 0; }\n"
		"static void stop(void *self) { free(self); }\n"
		"static int item(void *self, const struct pen_plugin_item *in, struct pen_plugin_sink *out)\n"
		"{ (void)self; (void)in; (void)out; (void)start; (void)stop; %s }\n%s\n",
		item, descriptor);
	cr_assert_eq(fclose(f), 0);
	(void)snprintf(command, sizeof command, "cc -shared -fPIC -Iinclude -o %s/p.so %s", dir, path);
	cr_assert_eq(system(command), 0);
	(void)snprintf(path, sizeof path, "%s/p.so", dir);
	return path;
}

#define GOOD                                                                                                      \
	"const struct pen_plugin penstock_plugin = { PEN_PLUGIN_ABI, PEN_PLUGIN_KEYS, sizeof(struct pen_plugin)," \
	" \"p\", \"1\", 8, start, item, stop };"

static struct pen_plugin_answer call(struct pen_plugin_host *host, const char *value,
				     const _Atomic bool *stop)
{
	static char out[1024], key[PEN_PLUGIN_KEY_MAX];
	struct pen_plugin_item item = {
		.size = sizeof item, .value = value, .value_len = strlen(value), .path = ""
	};
	struct pen_plugin_answer answer;

	pen_plugin_call(host, 0, &item, out, strlen(value) + 8, key, stop, &answer);
	return answer;
}

Test(plugin, answers_are_checked)
{
	static const struct {
		const char *value;
		enum pen_plugin_verdict verdict;
		int code;
		const char *message;
	} cases[] = {
		{ "keep", PEN_PLUGIN_KEEP, 0, "" },
		{ "emit", PEN_PLUGIN_EMIT, 0, "" },
		{ "drop", PEN_PLUGIN_DROP, 0, "" },
		{ "reject", PEN_PLUGIN_REJECT, -PEN_PLUGIN_REJECTED, "5: so it is" },
		{ "value", PEN_PLUGIN_REJECT, -PEN_PLUGIN_BAD, "a value of 14 bytes, with room for 13" },
		{ "key", PEN_PLUGIN_REJECT, -PEN_PLUGIN_BAD, "a key of 512 bytes; 511 is the longest" },
		{ "none", PEN_PLUGIN_REJECT, -PEN_PLUGIN_BAD, "the verdict 99, which is none" },
	};
	struct pen_plugin_host *host;
	struct pen_failure why = { 0 };

	build("switch (*(const char *)in->value) {"
	      "case 'k': if (in->value_len == 3) { out->key_len = 512; } return PEN_PLUGIN_KEEP;"
	      "case 'e': out->value_len = out->value_cap; memset(out->value, 'x', out->value_cap); return PEN_PLUGIN_EMIT;"
	      "case 'd': return PEN_PLUGIN_DROP;"
	      "case 'r': out->code = 5; out->message = \"so it is\"; return PEN_PLUGIN_REJECT;"
	      "case 'v': out->value_len = out->value_cap + 1; return PEN_PLUGIN_EMIT;"
	      "case 'c': return out->cancelled(out) ? PEN_PLUGIN_DROP : PEN_PLUGIN_KEEP;"
	      "default: return 99; }",
	      GOOD);
	cr_assert_eq(pen_plugin_open(path, &host, &why), 0, "%s", why.text);
	cr_assert_eq(pen_plugin_start(host, "", 3, &why), 0, "%s", why.text);
	cr_expect_str_eq(pen_plugin_about(host)->name, "p");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pen_plugin_answer answer = call(host, cases[i].value, NULL);

		cr_expect_eq(answer.verdict, cases[i].verdict, "%s", cases[i].value);
		cr_expect_eq(answer.code, cases[i].code, "%s", cases[i].value);
		cr_expect_str_eq(answer.message, cases[i].message);
	}
	{
		_Atomic bool stop = false;

		cr_expect_eq(call(host, "cancel", &stop).verdict, PEN_PLUGIN_KEEP);
		atomic_store_explicit(&stop, true, memory_order_relaxed); /* one thread */
		cr_expect_eq(call(host, "cancel", &stop).verdict, PEN_PLUGIN_DROP);
	}
	pen_plugin_close(host);
	pen_plugin_close(NULL);
}

Test(plugin, what_cannot_be_loaded_is_said)
{
	static const struct {
		const char *descriptor, *suffix, *said;
		int code;
	} cases[] = {
		{ GOOD, ":other", "no symbol 'other'", -PEN_PLUGIN_UNFIT },
		{ GOOD, "x", "cannot be opened", -PEN_PLUGIN_OPEN },
		{ "const struct pen_plugin penstock_plugin = { 9, 0, sizeof(struct pen_plugin), \"p\", \"1\", 0, 0, item, 0 };",
		  "", "interface 9", -PEN_PLUGIN_UNFIT },
		{ "const struct pen_plugin penstock_plugin = { 1, 0, 8, \"p\", \"1\", 0, 0, item, 0 };", "",
		  "has 8 bytes", -PEN_PLUGIN_UNFIT },
		{ "const struct pen_plugin penstock_plugin = { 1, 0, sizeof(struct pen_plugin), 0, \"1\", 0, 0, item, 0 };",
		  "", "lacks a name", -PEN_PLUGIN_UNFIT },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pen_plugin_host *host;
		struct pen_failure why = { 0 };
		char spec[128];

		build("return 0;", cases[i].descriptor);
		(void)snprintf(spec, sizeof spec, "%s%s", path, cases[i].suffix);
		cr_expect_eq(pen_plugin_open(spec, &host, &why), cases[i].code, "case %zu: %s", i, why.text);
		cr_expect(strstr(why.text, cases[i].said), "case %zu: %s", i, why.text);
	}
}

Test(plugin, one_that_does_not_start_says_why)
{
	struct pen_plugin_host *host;
	struct pen_failure why = { 0 };

	build("return 0;", GOOD);
	cr_assert_eq(pen_plugin_open(path, &host, &why), 0, "%s", why.text);
	cr_expect_eq(pen_plugin_start(host, "way", 2, &why), -PEN_PLUGIN_OPEN);
	cr_expect(strstr(why.text, "no way"), "%s", why.text);
	pen_plugin_close(host);
}
