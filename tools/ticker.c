/* SPDX-License-Identifier: MIT */
#include "tools/ticker.h"

#include <stdio.h>
#include <time.h>

#include "tools/say.h"

#define MS 1000000ull
#define FIRST_NS (500 * MS)
#define BAR_NS (100 * MS)
#define PLAIN_NS (10000 * MS)
#define JSON_NS (250 * MS)

uint64_t pen_ticker_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pen_ticker_init(struct pen_ticker *ticker, enum pen_ticker_mode mode, const char *name, uint64_t now_ns)
{
	if (mode == PEN_TICKER_AUTO && pen_say_quiet())
		mode = PEN_TICKER_NONE;
	else if (mode == PEN_TICKER_AUTO)
		mode = pen_say_live() ? PEN_TICKER_BAR : PEN_TICKER_PLAIN;
	if (mode == PEN_TICKER_BAR && pen_say_dumb())
		mode = PEN_TICKER_PLAIN;
	ticker->mode = mode;
	ticker->next_ns = now_ns + (mode == PEN_TICKER_BAR     ? FIRST_NS
				    : mode == PEN_TICKER_PLAIN ? PLAIN_NS
							       : JSON_NS);
	pen_bar_init(&ticker->bar, name);
}

static void show_json(const struct pen_bar *bar)
{
	struct pen_out out;

	pen_out_init(&out, -1);
	pen_bar_json(bar, &out);
	pen_say_raw(out.buf, out.len);
	pen_out_fini(&out);
}

static void show(struct pen_ticker *ticker)
{
	char line[PEN_BAR_BYTES];
	size_t len;

	switch (ticker->mode) {
	case PEN_TICKER_BAR:
		len = pen_bar_line(&ticker->bar, pen_say_width(), pen_say_utf8(), line);
		pen_say_progress(line, len);
		break;
	case PEN_TICKER_PLAIN:
		len = pen_bar_line(&ticker->bar, 160, false, line);
		snprintf(line + len, sizeof line - len, "\n");
		pen_say_raw(line, len + 1);
		break;
	case PEN_TICKER_JSON:
		show_json(&ticker->bar);
		break;
	default:
		break;
	}
}

void pen_ticker_tick(struct pen_ticker *ticker, const struct pen_progress *progress, uint64_t now_ns)
{
	pen_bar_feed(&ticker->bar, progress, now_ns);
	if (now_ns < ticker->next_ns)
		return;
	ticker->next_ns = now_ns + (ticker->mode == PEN_TICKER_BAR     ? BAR_NS
				    : ticker->mode == PEN_TICKER_PLAIN ? PLAIN_NS
								       : JSON_NS);
	show(ticker);
}

uint64_t pen_ticker_wait_ns(const struct pen_ticker *ticker, uint64_t now_ns)
{
	uint64_t due = ticker->next_ns > now_ns ? ticker->next_ns - now_ns : MS;

	return due < BAR_NS ? due : BAR_NS;
}

void pen_ticker_end(struct pen_ticker *ticker)
{
	pen_say_progress_end();
	if (ticker->mode == PEN_TICKER_JSON && ticker->bar.last_ns)
		show_json(&ticker->bar);
}
