/* SPDX-License-Identifier: MIT */
/*
 * view - a whole terminal to draw on, and its keys: the one door to ncurses
 *
 * A picture is begun, put together and shown; only what changed since the last one is sent. Text is clipped at the
 * right edge and must be safe (pen_text_escape). However the process ends, the terminal gets back what it
 * had: pen_say_restore() does it from signal handlers.
 *
 * One view a process, one thread.
 */
#ifndef PEN_TOOLS_VIEW_H
#define PEN_TOOLS_VIEW_H

#include <stdbool.h>

enum pen_view_look {
	PEN_LOOK_PLAIN = 0,
	PEN_LOOK_BOLD,
	PEN_LOOK_DIM,
	PEN_LOOK_GOOD,
	PEN_LOOK_WARN,
	PEN_LOOK_BAD,
	PEN_LOOK_HEAD,	 /* a line that stands out */
	PEN_LOOK_CHOSEN, /* the row that keys are about */
};

/* Keys other than characters. */
enum {
	PEN_KEY_NONE = 0, /* the time is over, or the window has another size */
	PEN_KEY_UP = 0x110000,
	PEN_KEY_DOWN,
	PEN_KEY_PAGE_UP,
	PEN_KEY_PAGE_DOWN,
	PEN_KEY_HOME,
	PEN_KEY_END,
	PEN_KEY_ENTER,
	PEN_KEY_ESCAPE,
	PEN_KEY_BACK,
	PEN_KEY_GONE, /* nobody is at the keyboard any more */
};

/* false, with nothing changed: stdout is no terminal, or one that cannot move its cursor, or there is no keyboard. */
bool pen_view_open(bool color);
/* Gives the terminal back. */
void pen_view_close(void);
void pen_view_size(unsigned *ret_rows, unsigned *ret_columns);
/* May text be more than ASCII? */
bool pen_view_utf8(void);
void pen_view_begin(void);
void pen_view_put(unsigned row, unsigned column, enum pen_view_look look, const char *text);
/* The look of a whole row, whatever is put there later. */
void pen_view_row(unsigned row, enum pen_view_look look);
void pen_view_show(void);
/* A character (Unicode), a PEN_KEY_, or PEN_KEY_NONE after timeout_ms. */
int pen_view_key(int timeout_ms);

#endif
