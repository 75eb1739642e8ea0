/* SPDX-License-Identifier: MIT */
/*
 * Frames: each record stands behind its length.
 *
 * A length is a claim. It moves the reader on only through bytes that are there, and no memory is taken on its
 * word: a frame larger than a record may be is passed over, and one that the source does not hold is a reject
 * of what is there. A length that cannot be read (LEB128 of more than 64 bits) leaves no place where the next
 * one could begin: the rest of the source is one reject.
 */
#include "engine/split.h"

#include "include/penstock_error.h"

#define LEB128_MAX 10u

enum progress { CUT, READ, BROKEN };

/* A length field, byte by byte. */
struct field {
	unsigned bytes;
	uint64_t value;
};

static enum progress read_leb128(struct field *field, uint8_t byte)
{
	unsigned shift = 7 * field->bytes++;

	field->value |= (uint64_t)(byte & 0x7f) << shift;
	if (field->bytes == LEB128_MAX && byte > 1)
		return BROKEN;
	return byte & 0x80 ? CUT : READ;
}

/* Reads on in at most len bytes. CUT: all of them belong to the field, and more. */
static enum progress read_field(enum pen_frame frame, struct field *field, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)text[i];
		enum progress now = CUT;

		switch (frame) {
		case PEN_FRAME_U32BE:
		case PEN_FRAME_U16BE:
			field->value = field->value << 8 | byte;
			now = ++field->bytes == (frame == PEN_FRAME_U16BE ? 2 : 4) ? READ : CUT;
			break;
		case PEN_FRAME_U32LE:
			field->value |= (uint64_t)byte << 8 * field->bytes;
			now = ++field->bytes == 4 ? READ : CUT;
			break;
		case PEN_FRAME_LEB128:
			now = read_leb128(field, byte);
			break;
		}
		if (now != CUT)
			return now;
	}
	return CUT;
}

/* The frame that begins here, or as much of it as is there. False: it is not whole. Always goes on. */
static bool take_frame(struct pen_split *split, struct pen_record *ret)
{
	size_t len = (size_t)(split->end - split->at), behind;
	struct field field = { 0 };
	enum progress now = read_field(split->rules->frame, &field, split->at, len);

	*ret = (struct pen_record){ .at = split->at, .len = len };
	if (now != READ) {
		split->at = split->end;
		ret->code = -PEN_FRAME_CUT;
		return false;
	}
	behind = len - field.bytes;
	ret->at = split->at + field.bytes;
	ret->len = field.value < behind ? (size_t)field.value : behind;
	split->at = ret->at + ret->len;
	if (field.value > behind)
		ret->code = -PEN_FRAME_CUT;
	else if (field.value > split->rules->max_record)
		ret->code = -PEN_RECORD_LARGE;
	return field.value <= behind;
}

static bool next_frame(struct pen_split *split, struct pen_record *ret)
{
	if (split->at == split->end)
		return false;
	(void)take_frame(split, ret); /* what is not whole ends with its source, and its code says so */
	return true;
}

static void cut_frames(const struct pen_rules *rules, uint32_t context, const char *text, size_t len,
		       bool whole, const struct pen_limits *limits, struct pen_cut *ret)
{
	bool all = whole && len <= limits->room;
	struct pen_split split = {
		.rules = rules,
		.at = text,
		.end = text + (len < limits->room ? len : limits->room),
	};
	struct pen_record record;

	*ret = (struct pen_cut){ .context = context };
	while (split.at < split.end && ret->items < limits->items) {
		if (!take_frame(&split, &record) && !all)
			break;
		ret->items++;
		ret->len = (size_t)(split.at - text);
	}
}

static bool seek_frame(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len)
{
	enum { BYTES, VALUE, PROGRESS, LEFT };
	uint64_t *state = seek->state;
	size_t n = 0;

	if (state[PROGRESS] == CUT) {
		struct field field = { (unsigned)state[BYTES], state[VALUE] };

		state[PROGRESS] = read_field(seek->rules->frame, &field, text, len);
		n = field.bytes - state[BYTES];
		state[BYTES] = field.bytes;
		state[VALUE] = state[LEFT] = field.value;
		seek->lead = state[PROGRESS] == READ ? field.bytes : 0; /* a cut field is all there is */
	}
	if (state[PROGRESS] != READ || len - n < state[LEFT]) {
		state[LEFT] -= len - n;
		seek->seen += len;
		seek->code = -PEN_FRAME_CUT; /* unless its end is still found */
		return false;
	}
	*ret_len = n + (size_t)state[LEFT];
	seek->seen += *ret_len;
	seek->bare = state[VALUE];
	seek->code = 0;
	return true;
}

const struct pen_splitter pen_split_frames = { .next = next_frame, .cut = cut_frames, .seek = seek_frame };
