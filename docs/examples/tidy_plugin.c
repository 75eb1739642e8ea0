/* SPDX-License-Identifier: MIT */
/*
 * tidy - a plugin that tidies lines of text
 *
 * The value loses the blanks around it and gets lower-case letters (ASCII). Empty lines are left out; a line with a NUL
 * byte is rejected. With --processor-config shout letters become upper-case instead, and the value gets a "!".
 * Where keys come from the data (a JSON pointer, a column, @path), they lose their blanks too.
 *
 *	cc -shared -fPIC -o tidy.so tidy_plugin.c $(pkg-config --cflags penstock)
 *	penstock run lines.txt --format lines --processor so:./tidy.so
 */
#include <penstock_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tidy {
	int shout;
	unsigned long items; /* this instance is one thread's: no lock */
};

static int start(const struct pen_plugin_config *config, void **ret_instance, char *message,
		 size_t message_cap)
{
	struct tidy *self = calloc(1, sizeof *self);

	if (!self) {
		snprintf(message, message_cap, "no memory");
		return 1;
	}
	if (*config->text && strcmp(config->text, "shout") != 0) {
		snprintf(message, message_cap, "the configuration is shout or nothing, not '%s'",
			 config->text);
		free(self);
		return 1;
	}
	self->shout = *config->text != 0;
	*ret_instance = self;
	return 0;
}

static int blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Narrows text to what stands between blanks. */
static void trim(const char **text, size_t *len)
{
	while (*len && blank((*text)[*len - 1]))
		--*len;
	while (*len && blank(**text)) {
		++*text;
		--*len;
	}
}

static int tidy(void *instance, const struct pen_plugin_item *item, struct pen_plugin_sink *sink)
{
	struct tidy *self = instance;
	const char *text = item->value, *key = item->key;
	size_t len = item->value_len, key_len = item->key_len;

	self->items++;
	if (memchr(text, 0, len)) {
		sink->code = 7;
		sink->message = "there is a NUL byte in the text";
		return PEN_PLUGIN_REJECT;
	}
	trim(&text, &len);
	if (!len)
		return PEN_PLUGIN_DROP;
	for (size_t i = 0; i < len; i++) {
		int from = self->shout ? 'a' : 'A', to = self->shout ? 'A' : 'a';
		char c = text[i];

		/* Long items are no reason to keep a cancelled batch waiting. */
		if (i % 1048576 == 1048575 && sink->cancelled(sink))
			return PEN_PLUGIN_DROP;
		sink->value[i] = (char)(c >= from && c < from + 26 ? c - from + to : c);
	}
	sink->value_len = len;
	if (self->shout)
		sink->value[sink->value_len++] = '!'; /* one byte more than the item may have: emit_extra */
	if (sink->key) {
		trim(&key, &key_len);
		memcpy(sink->key, key, key_len);
		sink->key_len = key_len; /* 0: the key stays as it is */
	}
	return PEN_PLUGIN_EMIT;
}

static void stop(void *instance)
{
	free(instance);
}

const struct pen_plugin penstock_plugin = {
	.abi = PEN_PLUGIN_ABI,
	.flags = PEN_PLUGIN_KEYS,
	.size = sizeof(struct pen_plugin),
	.name = "tidy",
	.version = "1",
	.emit_extra = 1,
	.open = start,
	.item = tidy,
	.close = stop,
};
