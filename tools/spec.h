/* SPDX-License-Identifier: MIT */
/*
 * spec - what was typed, as a request
 *
 * Turns the options and sources of `run` (and of `plan`, which takes the same) into a struct pen_run and checks what
 * can be checked without a store. Strings stay the command line's.
 */
#ifndef PEN_TOOLS_SPEC_H
#define PEN_TOOLS_SPEC_H

#include <stdbool.h>

#include "include/penstock.h"
#include "tools/cmd.h"

/* 0, or the exit status with the error said. *ret_stream: stdin is among the sources. */
int pen_spec_make(const struct pen_cmd *cmd, struct pen_run *ret, bool *ret_stream);

#endif
