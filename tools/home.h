/* SPDX-License-Identifier: MIT */
/*
 * home - which directory is the store, and how a command opens it
 *
 * --store, else $PENSTOCK_STORE, else `store = "..."` in ./penstock.toml, else $XDG_DATA_HOME/penstock, else
 * ~/.local/share/penstock. Every function says what is wrong on stderr and returns 0 or an exit status.
 */
#ifndef PEN_TOOLS_HOME_H
#define PEN_TOOLS_HOME_H

#include <stdbool.h>
#include <stddef.h>

#include "include/penstock.h"

struct pen_args;

#define PEN_HOME_PATH 4096

struct pen_home {
	char path[PEN_HOME_PATH];
	const char *origin; /* where the choice came from, for people */
	bool standard;	    /* the data directory: its parents may be made */
};

int pen_home_find(const struct pen_args *args, struct pen_home *ret);
/* Reads the text of a penstock.toml: 0 with the store's path in ret (empty when it names none), 2 after a message. */
int pen_home_settings(const char *text, char ret[PEN_HOME_PATH], bool *ret_limits);
/* Whether ./penstock.toml says `limits = true`. */
int pen_home_limits(bool *ret);
/* For reading commands: never makes a store. */
int pen_home_open(const struct pen_args *args, bool writing, struct pen_store **ret);
/* For run: makes the store when there is none, and says so. */
int pen_home_create(const struct pen_args *args, struct pen_home *ret_home, struct pen_store **ret);
/* For commands with a moment left: retention by the rules, where it is due. What cannot be done now waits, unsaid. */
void pen_home_tidy(struct pen_store *store);

#endif
