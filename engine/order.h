/* SPDX-License-Identifier: MIT */
/*
 * order - a request as bytes, so that another process can carry it out later
 *
 * Lines NAME=VALUE, each ended by NUL; a list is a line an element. What a request leaves at its default is left out,
 * and names that a later version adds are refused by an earlier one (-PEN_STORE_NEWER): half an order is none.
 * Relative paths are made absolute: the worker may stand elsewhere.
 *
 *   Threads    any.
 *   Memory     one block for the bytes; one for a request that was unpacked, with all its strings.
 */
#ifndef PEN_ENGINE_ORDER_H
#define PEN_ENGINE_ORDER_H

#include "include/penstock.h"

/* 0 and malloc'ed bytes; -PEN_MEMORY. */
int pen_order_pack(const struct pen_run *run, char **ret, size_t *ret_len);
/* 0 and a request in one malloc'ed block, which the caller frees; -PEN_STORE_DAMAGED, -PEN_STORE_NEWER, -PEN_MEMORY. */
int pen_order_unpack(const char *bytes, size_t len, struct pen_run **ret);

#endif
