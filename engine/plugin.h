/* SPDX-License-Identifier: MIT */
/*
 * plugin - a shared object with a processor in it (include/penstock_plugin.h)
 *
 * open finds FILE[:SYMBOL], hashes the file, loads it and believes nothing of its descriptor before its number and size
 * fit; start makes an instance for each processor. call hands over one item and checks what comes back. The door to
 * dlopen.
 *
 *   Threads    open, start, close: one. call: instance i by processor i alone.
 *   Memory     the object's, and a pointer an instance.
 *   Limits     PEN_PLUGIN_EXTRA_MAX, PEN_PLUGIN_KEY_MAX, PEN_PLUGIN_MESSAGE_MAX; what exceeds them is a reject.
 *   Errors     -PEN_PLUGIN_OPEN: the file is not there, cannot be loaded, or an instance cannot be made.
 *              -PEN_PLUGIN_UNFIT: it has no such symbol, or one of another version.
 */
#ifndef PEN_ENGINE_PLUGIN_H
#define PEN_ENGINE_PLUGIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "include/penstock_plugin.h"
#include "ring/hash.h"

struct pen_plugin_host;

/* spec: FILE or FILE:SYMBOL. */
int pen_plugin_open(const char *spec, struct pen_plugin_host **ret, struct pen_failure *why);
/* Instances for `threads` processors. */
int pen_plugin_start(struct pen_plugin_host *host, const char *config, uint32_t threads,
		     struct pen_failure *why);
void pen_plugin_close(struct pen_plugin_host *host); /* NULL is allowed */

/* What it says of itself, checked. */
const struct pen_plugin *pen_plugin_about(const struct pen_plugin_host *host);
/* Where it lies (absolute), and the hash of the file. */
const char *pen_plugin_path(const struct pen_plugin_host *host);
struct pen_sum pen_plugin_hash(const struct pen_plugin_host *host);

/* What came back from an item. */
struct pen_plugin_answer {
	enum pen_plugin_verdict verdict;
	int code;				  /* REJECT: -PEN_PLUGIN_REJECTED or -PEN_PLUGIN_BAD */
	size_t value_len;			  /* EMIT */
	size_t key_len;				  /* 0: as it was */
	char message[PEN_PLUGIN_MESSAGE_MAX + 1]; /* REJECT; "" */
};
/*
 * One item. value, value_cap and key (NULL: it stays) are room for what it makes. stop: read when it asks whether
 * anybody waits.
 */
void pen_plugin_call(struct pen_plugin_host *host, uint32_t thread, const struct pen_plugin_item *item,
		     char *value, size_t value_cap, char *key, const _Atomic bool *stop,
		     struct pen_plugin_answer *ret);

#endif
