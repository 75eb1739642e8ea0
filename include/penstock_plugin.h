/* SPDX-License-Identifier: MIT */
/*
 * penstock_plugin.h - a processor of your own, loaded by `penstock run --processor so:FILE[:SYMBOL]`
 *
 * A plugin is a shared object with one symbol (penstock_plugin unless another is named): a struct pen_plugin. It needs
 * this header and nothing else, in C or C++:
 *
 *	#include <penstock_plugin.h>
 *
 *	static int item(void *self, const struct pen_plugin_item *in, struct pen_plugin_sink *out) { ... }
 *
 *	const struct pen_plugin penstock_plugin = {
 *		PEN_PLUGIN_ABI, PEN_PLUGIN_PURE, sizeof(struct pen_plugin), "upper", "1", 0, NULL, item, NULL,
 *	};
 *
 *	cc -shared -fPIC -o upper.so upper.c
 *	penstock run lines.txt --processor so:./upper.so
 *
 * What is promised
 *   Once      An item is processed once a run; only an item whose commit was lost (the process died) is processed
 *             again, by the run that goes on. A commit that fails does not run it again.
 *   Order     Results are committed in the order of the items, however many threads process them.
 *   Threads   There is one instance a processor thread. Its calls never overlap; open, item and close may come from
 *             different threads. Different instances run at the same time: what they share is the plugin's to guard.
 *   Memory    What an item points to lives until the call returns. The sink's room is the engine's.
 *   Bounds    The engine checks what comes back. A verdict or a length that cannot be is a reject of that item
 *             (PEN1303) and of no other. What it cannot check is a plugin that writes where it may not: it runs in
 *             the engine's process, and its crash is the engine's. Nothing committed is lost by that.
 *   Growth    Structs only grow at their end, and carry their size. A field is there if size says so.
 */
#ifndef PENSTOCK_PLUGIN_H
#define PENSTOCK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a plugin built against another number could not work. */
#define PEN_PLUGIN_ABI 1u
#define PEN_PLUGIN_SYMBOL "penstock_plugin"
#define PEN_PLUGIN_EXPORT __attribute__((visibility("default")))

/* What became of an item: the value that pen_plugin.item returns. */
enum pen_plugin_verdict {
	PEN_PLUGIN_KEEP = 0, /* the value stays as it is */
	PEN_PLUGIN_EMIT,     /* sink->value[0 .. value_len) is the value */
	PEN_PLUGIN_REJECT,   /* the item is bad; sink->code and sink->message say why */
	PEN_PLUGIN_DROP,     /* the item is left out, and counted as skipped */
};

#define PEN_PLUGIN_KEY_MAX 511u	    /* bytes of a key; at least 1 */
#define PEN_PLUGIN_MESSAGE_MAX 255u /* bytes of a message, without the NUL; the rest is cut off */
#define PEN_PLUGIN_EXTRA_MAX 65536u /* the largest emit_extra */

struct pen_plugin_config {
	size_t size;	  /* sizeof(struct pen_plugin_config) of the engine */
	const char *text; /* --processor-config; "" when not given */
	unsigned thread;  /* number of the instance, from 0 */
	unsigned threads; /* how many there are */
	/* A line for the log: level 1 error, 2 warn, 3 info, 4 verbose, 5 debug. Any thread; never waits. */
	void (*log)(int level, const char *message);
};

struct pen_plugin_item {
	size_t size;	   /* sizeof(struct pen_plugin_item) of the engine */
	const void *value; /* the record's bytes; a row of a table is its JSON object */
	size_t value_len;
	const void *key; /* as it would be stored; NULL with --key @content, which is made from the result */
	size_t key_len;
	uint64_t seq;	  /* number of the item in its batch, from 0 */
	uint32_t attempt; /* from 1 */
	const char *path; /* of its source; of its file in a directory: below that */
	uint64_t offset;  /* of its first byte in the source; 0 for files */
	uint64_t line;	  /* from 1; 0: lines mean nothing */
	/* On whose behalf: the batch's correlation id (UUID text), its owner, and when it was made (ms since 1970). */
	const char *correlation_id, *user;
	uint64_t started_ms;
};

struct pen_plugin_sink {
	size_t size; /* sizeof(struct pen_plugin_sink) of the engine */
	/* EMIT: room for the value, and how many bytes were put there. */
	char *value;
	size_t value_cap; /* the item's value_len + the plugin's emit_extra, at least */
	size_t value_len;
	/* KEEP and EMIT: room for another key (PEN_PLUGIN_KEY_MAX bytes), and its length; 0: the key stays. Room is
	 * there (not NULL) with the flag PEN_PLUGIN_KEYS, where keys come from the data (pointer, column, @path). */
	char *key;
	size_t key_len;
	/* REJECT */
	int code;	     /* the plugin's own number; 0: none */
	const char *message; /* one sentence in UTF-8, copied when the call returns; NULL: none */
	/* Not 0: nobody waits for the answer any more, because the batch has been cancelled or stopped. Return at once,
	 * with anything. To be asked in long work. (Ctrl-C is no such case: what was read is finished.) */
	int (*cancelled)(const struct pen_plugin_sink *sink);
	const void *engine; /* the engine's own */
};

/* pen_plugin.flags */
#define PEN_PLUGIN_PURE 0u /* nothing below */
#define PEN_PLUGIN_KEYS 1u /* it may change keys */
#define PEN_PLUGIN_JSON 2u /* items must be JSON: what is not is rejected before it sees it */

struct pen_plugin {
	uint32_t abi;	     /* PEN_PLUGIN_ABI; first for ever */
	uint32_t flags;	     /* PEN_PLUGIN_... */
	size_t size;	     /* sizeof(struct pen_plugin) */
	const char *name;    /* for people */
	const char *version; /* changes with what it computes: part of what a batch is */
	size_t emit_extra;   /* a value it emits is at most so many bytes longer than the item's; up to
				PEN_PLUGIN_EXTRA_MAX. Chunks are cut so that this fits: ask for what is needed */
	/*
	 * Makes an instance; NULL: there is nothing to make, and instances are NULL. 0, or anything else with a
	 * sentence in message: then nothing runs (status 3).
	 */
	int (*open)(const struct pen_plugin_config *config, void **ret_instance, char *message,
		    size_t message_cap);
	/* One item: enum pen_plugin_verdict. */
	int (*item)(void *instance, const struct pen_plugin_item *item, struct pen_plugin_sink *sink);
	/* Ends an instance that open made; may be NULL. */
	void (*close)(void *instance);
};

/* The default symbol, declared so that its definition is visible and has C linkage. */
extern PEN_PLUGIN_EXPORT const struct pen_plugin penstock_plugin;

#ifdef __cplusplus
}
#endif
#endif
