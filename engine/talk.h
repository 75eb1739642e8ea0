/* SPDX-License-Identifier: MIT */
/*
 * talk - what a crew and a worker say to each other: one JSON object a line (docs/WORKERS.md)
 *
 *   request   {"id":1,"seq":0,"attempt":1,"correlation_id":"...","key":"k","item":{...}}      item_text, item_base64, path, path_base64
 *   reply     {"id":1,"ok":true}   {"id":1,"value":...}   {"id":1,"error":"reject",...}      {"ready":true}
 *
 * A request is written piece by piece, so that an item of any size needs no buffer of its size. A reply is taken
 * apart where it lies: strings and base64 are decoded in place, and what comes out points into the line.
 *
 *   Threads    one for each request and each line; a pen_json belongs to one.
 *   Strict     a reply is valid JSON; it has an id, and says exactly one of ok, value and error; what it says twice, or
 *              with a value of the wrong kind, is refused with a sentence. Members with other names are ignored.
 */
#ifndef PEN_ENGINE_TALK_H
#define PEN_ENGINE_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/crew.h"
#include "engine/json.h"

#define PEN_TALK_PARTS 8u

enum pen_talk_form {
	PEN_TALK_PLAIN,	   /* as it is */
	PEN_TALK_ONE_LINE, /* JSON: line breaks become blanks */
	PEN_TALK_STRING,   /* the inside of a JSON string */
	PEN_TALK_BASE64,
};

struct pen_talk_part {
	enum pen_talk_form form;
	const char *data;
	size_t len;
};

/* A request on its way. */
struct pen_talk_request {
	uint32_t part;
	uint32_t count;
	size_t at; /* in the part */
	struct pen_talk_part parts[PEN_TALK_PARTS];
	char head[160];
};

/* Points into task; not copied again, not moved. correlation: up to 36 bytes that JSON need not escape; NULL: none. */
void pen_talk_begin(struct pen_talk_request *request, uint64_t id, const char *correlation,
		    const struct pen_task *task);
/* Writes the next bytes, at most cap (8 at least), and says how many; 0: all was written. */
size_t pen_talk_write(struct pen_talk_request *request, char *to, size_t cap);

enum pen_talk_word {
	PEN_TALK_READY, /* no answer: the worker has started */
	PEN_TALK_OK,
	PEN_TALK_REJECT,
	PEN_TALK_RETRY,
	PEN_TALK_FATAL,
	PEN_TALK_DROP,
};

struct pen_talk_reply {
	enum pen_talk_word word;
	uint64_t id;
	const char *value; /* NULL: none */
	size_t value_len;
	bool value_json;
	const char *code;    /* NUL-terminated, "" for none */
	const char *message; /* likewise */
	uint64_t retry_after_ns;
	uint32_t deed_count;
};

/*
 * Takes a line apart (len without its line feed; writable; readable for PEN_JSON_PADDING bytes behind len; the line
 * feed is overwritten). deeds has room for PEN_CREW_DEEDS_MAX. NULL, or a sentence about what is wrong.
 */
const char *pen_talk_read(struct pen_json *json, char *line, size_t len, struct pen_talk_reply *ret,
			  struct pen_deed *deeds);

#endif
