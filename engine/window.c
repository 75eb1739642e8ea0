/* SPDX-License-Identifier: MIT */
#include "engine/window.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/chunk.h"
#include "ring/assert.h"

int pen_window_open(struct pen_window *window, uint32_t places)
{
	uint32_t n = pen_pow2_from(places);

	window->places = calloc(n, sizeof *window->places);
	if (!window->places)
		return -ENOMEM;
	window->mask = n - 1;
	window->next = 0;
	return 0;
}

void pen_window_close(struct pen_window *window)
{
	free(window->places);
	window->places = NULL;
}

void pen_window_put(struct pen_window *window, struct pen_chunk *chunk)
{
	struct pen_chunk **place = &window->places[chunk->seq & window->mask];

	pen_assert(chunk->seq - window->next <= window->mask);
	pen_assert(!*place);
	*place = chunk;
}

struct pen_chunk *pen_window_peek(const struct pen_window *window)
{
	return window->places[window->next & window->mask];
}

void pen_window_pop(struct pen_window *window)
{
	struct pen_chunk **place = &window->places[window->next & window->mask];

	pen_assert(*place);
	*place = NULL;
	window->next++;
}
