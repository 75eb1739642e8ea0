/* SPDX-License-Identifier: MIT */
/*
 * span - bytes that are being taken, and room that is being filled
 *
 * What the steps of decoding hand to each other: a step moves `at` of both towards `end`.
 */
#ifndef PEN_ENGINE_SPAN_H
#define PEN_ENGINE_SPAN_H

#include <stddef.h>
#include <stdint.h>

struct pen_span {
	const uint8_t *at, *end;
};

struct pen_room {
	uint8_t *at, *end;
};

static inline size_t pen_span_left(const struct pen_span *span)
{
	return (size_t)(span->end - span->at);
}

static inline size_t pen_room_left(const struct pen_room *room)
{
	return (size_t)(room->end - room->at);
}

#endif
