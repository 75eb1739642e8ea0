/* SPDX-License-Identifier: MIT */
/*
 * recode - text in another encoding becomes UTF-8, piece by piece
 *
 *   UTF-16        surrogate pairs are joined. A surrogate without its partner, or half a unit at the end, is
 *                 -PEN_ENCODING_BAD: what stood before it was converted, nothing is guessed.
 *   Latin-1       byte n is U+00n.
 *   Windows-1252  as browsers read it (WHATWG): its five undefined bytes are the C1 controls of that number.
 *   UTF-8         passes through as it is: whether it is valid is for whoever reads the text to say.
 *   AUTO          by a byte order mark (FF FE, FE FF), else UTF-8. UTF-32 is not told apart.
 *
 * A byte order mark stays in the text, as EF BB BF.
 *
 *   Threads    pure but for the struct, which belongs to one thread.
 *   Memory     none; at most 3 bytes are carried from one piece to the next.
 *   Limits     a room of fewer than PEN_RECODE_ROOM bytes may be left as it is: give a larger one.
 */
#ifndef PEN_ENGINE_RECODE_H
#define PEN_ENGINE_RECODE_H

#include <stdbool.h>

#include "engine/span.h"
#include "include/penstock.h"

#define PEN_RECODE_ROOM 4u

struct pen_recode {
	enum pen_encoding encoding; /* AUTO until the first bytes decided */
	uint8_t carry_len;
	uint8_t carry[4];
};

void pen_recode_init(struct pen_recode *recode, enum pen_encoding encoding);
/*
 * Converts until the input is used up or the room is. last: nothing follows `in`. 0; -PEN_ENCODING_BAD, and
 * then it is not to be called again.
 */
int pen_recode_step(struct pen_recode *recode, struct pen_span *in, struct pen_room *out, bool last);
/* From here on text comes out as it goes in, and need not go through recode any more. */
bool pen_recode_plain(const struct pen_recode *recode);

#endif
