/* SPDX-License-Identifier: MIT */
/*
 * What the keys do. What is wanted of a batch is written into the store; whoever runs it does it at its next group.
 */
#include "tools/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tools/text.h"
#include "tools/view.h"

static bool contains(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}

bool pen_screen_fits(const struct pen_screen *screen, const struct pen_board_row *row)
{
	char id[PEN_TEXT_NUMBER];
	const char *f = screen->filter;

	return !*f || contains(pen_text_id(id, row->batch), f) || contains(pen_state_name(row->state), f) ||
	       contains(row->owner, f) || contains(row->source, f) || contains(row->label, f);
}

void pen_screen_choose(struct pen_screen *screen, const struct pen_board *board, int step)
{
	int at = -1;

	screen->shown_count = 0;
	for (unsigned i = 0; i < board->row_count; i++) {
		if (!pen_screen_fits(screen, &board->rows[i]))
			continue;
		if (board->rows[i].batch == screen->chosen)
			at = (int)screen->shown_count;
		screen->shown[screen->shown_count++] = i;
	}
	if (!screen->shown_count) {
		screen->chosen = 0;
		screen->top = 0;
		return;
	}
	int last = (int)screen->shown_count - 1;

	/* Who chose nothing looks at the first one, whichever it is. */
	at = (at < 0 || (!screen->touched && !step) ? 0 : at) + step;
	at = at < 0 ? 0 : at > last ? last : at;
	screen->touched |= step != 0;
	screen->chosen = board->rows[screen->shown[at]].batch;
	if (screen->page && (unsigned)at >= screen->top + screen->page)
		screen->top = (unsigned)at - screen->page + 1;
	if ((unsigned)at < screen->top)
		screen->top = (unsigned)at;
	/* No empty rows while there are batches above. */
	if (screen->page && screen->top + screen->page > screen->shown_count)
		screen->top = screen->shown_count > screen->page ? screen->shown_count - screen->page : 0;
}

__attribute__((format(printf, 2, 3))) static void tell(struct pen_screen *screen, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(screen->message, sizeof screen->message, format, args);
	va_end(args);
}

static bool final(const struct pen_board_row *row)
{
	return row->state == PEN_COMPLETED || row->state == PEN_FAILED || row->state == PEN_CANCELLED;
}

/* Writing needs a store that is open for it: for this one moment. */
static void want(struct pen_screen *screen, struct pen_board *board, uint64_t batch, enum pen_wish wish)
{
	static const char *const done[] = {
		[PEN_WISH_PAUSE] = "is paused; p lets it go on",
		[PEN_WISH_RESUME] = "may go on",
		[PEN_WISH_CANCEL] = "is cancelled; what it committed stays",
	};
	static const char *const asked[] = {
		[PEN_WISH_PAUSE] = "is asked to pause; p lets it go on",
		[PEN_WISH_RESUME] = "goes on",
		[PEN_WISH_CANCEL] = "is asked to end; what it committed stays",
	};
	struct pen_failure why = { 0 };
	char id[PEN_TEXT_NUMBER];
	bool runs = false;
	int rc = pen_board_wish(board, batch, wish, &runs, &why);

	if (rc)
		tell(screen, "%s", why.text[0] ? why.text : pen_error_text(rc));
	else
		tell(screen, "batch %s %s", pen_text_id(id, batch), (runs ? asked : done)[wish]);
}

/* Pauses it, or takes back that somebody did. */
static void pause_key(struct pen_screen *screen, struct pen_board *board, const struct pen_board_row *row)
{
	struct pen_wish_info wish;

	if (final(row))
		tell(screen, "it is %s", pen_state_name(row->state));
	else if (!pen_batch_wished(board->store, row->batch, &wish) && wish.wish == PEN_WISH_PAUSE)
		want(screen, board, row->batch, PEN_WISH_RESUME);
	else
		want(screen, board, row->batch, PEN_WISH_PAUSE);
}

static void cancel_key(struct pen_screen *screen, const struct pen_board_row *row)
{
	char id[PEN_TEXT_NUMBER];

	if (final(row)) {
		tell(screen, "it is %s", pen_state_name(row->state));
		return;
	}
	screen->prompt = PEN_PROMPT_CANCEL;
	screen->asked = row->batch;
	tell(screen, "cancel batch %s for good? its records stay [y/N]", pen_text_id(id, row->batch));
}

/* One character more, or one less. */
static void edit_filter(struct pen_screen *screen, int key)
{
	size_t len = strlen(screen->filter);

	if (key == PEN_KEY_BACK) {
		while (len > 0 && ((unsigned char)screen->filter[--len] & 0xc0) == 0x80)
			continue;
		screen->filter[len] = '\0';
	} else if (key >= 32 && key < 127 && len + 1 < sizeof screen->filter) {
		screen->filter[len] = (char)key;
		screen->filter[len + 1] = '\0';
	} else if (key >= 0xa0 && key < 0x10000 && !pen_text_control((uint32_t)key) &&
		   len + 4 < sizeof screen->filter) {
		unsigned char *p = (unsigned char *)screen->filter + len;

		if (key < 0x800) {
			*p++ = (unsigned char)(0xc0 | key >> 6);
		} else {
			*p++ = (unsigned char)(0xe0 | key >> 12);
			*p++ = (unsigned char)(0x80 | (key >> 6 & 0x3f));
		}
		*p++ = (unsigned char)(0x80 | (key & 0x3f));
		*p = '\0';
	}
}

static void prompt_key(struct pen_screen *screen, struct pen_board *board, int key)
{
	if (screen->prompt == PEN_PROMPT_CANCEL) {
		screen->prompt = PEN_PROMPT_NONE;
		screen->message[0] = '\0';
		if (key == 'y' || key == 'Y')
			want(screen, board, screen->asked, PEN_WISH_CANCEL);
		return;
	}
	if (key == PEN_KEY_ESCAPE)
		screen->filter[0] = '\0';
	if (key == PEN_KEY_ESCAPE || key == PEN_KEY_ENTER)
		screen->prompt = PEN_PROMPT_NONE;
	else
		edit_filter(screen, key);
}

static bool items_key(struct pen_screen *screen, int key)
{
	switch (key) {
	case 'q':
		return false;
	case PEN_KEY_ESCAPE:
	case PEN_KEY_ENTER:
	case PEN_KEY_BACK:
		screen->mode = PEN_SCREEN_BATCHES;
		break;
	case PEN_KEY_PAGE_DOWN:
	case PEN_KEY_DOWN:
	case 'j':
	case ' ':
		if (screen->page_full && screen->page_at + 1 < PEN_SCREEN_PAGES)
			screen->pages[++screen->page_at] = screen->page_end;
		break;
	case PEN_KEY_PAGE_UP:
	case PEN_KEY_UP:
	case 'k':
		screen->page_at -= screen->page_at > 0;
		break;
	case PEN_KEY_HOME:
		screen->page_at = 0;
		break;
	default:
		break;
	}
	return true;
}

static void batches_key(struct pen_screen *screen, struct pen_board *board, int key)
{
	const struct pen_board_row *row = pen_board_find(board, screen->chosen);
	int page = screen->page ? (int)screen->page : 1;

	switch (key) {
	case PEN_KEY_UP:
	case 'k':
		pen_screen_choose(screen, board, -1);
		break;
	case PEN_KEY_DOWN:
	case 'j':
		pen_screen_choose(screen, board, 1);
		break;
	case PEN_KEY_PAGE_UP:
		pen_screen_choose(screen, board, -page);
		break;
	case PEN_KEY_PAGE_DOWN:
		pen_screen_choose(screen, board, page);
		break;
	case PEN_KEY_HOME:
		pen_screen_choose(screen, board, -PEN_BOARD_ROWS);
		break;
	case PEN_KEY_END:
		pen_screen_choose(screen, board, PEN_BOARD_ROWS);
		break;
	case PEN_KEY_ENTER:
		screen->mode = row ? PEN_SCREEN_ITEMS : PEN_SCREEN_BATCHES;
		screen->page_at = 0;
		screen->pages[0] = -1;
		break;
	case 't':
		screen->average = !screen->average;
		break;
	case '/':
		screen->prompt = PEN_PROMPT_FILTER;
		break;
	case '?':
	case 'h':
		screen->mode = PEN_SCREEN_HELP;
		break;
	case PEN_KEY_ESCAPE:
		screen->filter[0] = '\0';
		break;
	case 'p':
		if (row)
			pause_key(screen, board, row);
		break;
	case 'c':
		if (row)
			cancel_key(screen, row);
		break;
	default:
		break;
	}
}

bool pen_screen_key(struct pen_screen *screen, struct pen_board *board, int key)
{
	if (key == PEN_KEY_NONE)
		return true;
	if (key == PEN_KEY_GONE)
		return false;
	if (screen->prompt) {
		prompt_key(screen, board, key);
		return true;
	}
	screen->message[0] = '\0';
	if (screen->mode == PEN_SCREEN_HELP) {
		screen->mode = PEN_SCREEN_BATCHES;
		return key != 'q';
	}
	if (screen->mode == PEN_SCREEN_ITEMS)
		return items_key(screen, key);
	if (key == 'q')
		return false;
	batches_key(screen, board, key);
	return true;
}
