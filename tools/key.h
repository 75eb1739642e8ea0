/* SPDX-License-Identifier: MIT */
/*
 * key - keys as people type and read them
 *
 * A key is typed and printed as its dataset's kind asks: text, decimal (@seq, @offset), hex digits (@content,
 * --hex). Every function that fails says why on stderr and returns the exit status. Pure besides that; any thread.
 */
#ifndef PEN_TOOLS_KEY_H
#define PEN_TOOLS_KEY_H

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/json.h"

struct pen_key_typed {
	unsigned char data[PEN_KEY_MAX + 1];
	size_t len;
};

/* --prefix, --from and --to, as the scan takes them. The scan points into the struct. */
struct pen_key_range {
	struct pen_scan scan;
	struct pen_key_typed ends[3];
};

/* The dataset a person named: 0, or the exit status. */
int pen_key_dataset(struct pen_store *store, const char *name, struct pen_dataset_info *ret);
int pen_key_read(const struct pen_cmd *cmd, const struct pen_dataset_info *ds, const char *text,
		 struct pen_key_typed *ret);
int pen_key_range_read(const struct pen_cmd *cmd, const struct pen_dataset_info *ds,
		       struct pen_key_range *ret);

enum pen_key_look { PEN_KEY_BYTES, PEN_KEY_NUMBER, PEN_KEY_WORD };

#define PEN_KEY_WORD_BYTES (2 * PEN_KEY_MAX + 1)

/* How a key is shown: a word of its own (hex, SOURCE:OFFSET), a number (in the word too), or its bytes. */
enum pen_key_look pen_key_look(const struct pen_cmd *cmd, const struct pen_dataset_info *ds,
			       struct pen_view key, char ret_word[PEN_KEY_WORD_BYTES]);
/* The member "key" (or "key_base64"). */
void pen_key_put(const struct pen_cmd *cmd, struct pen_jw *jw, const struct pen_dataset_info *ds,
		 struct pen_view key);

#endif
