/* SPDX-License-Identifier: MIT */
/*
 * refusal - what is printed of decisions about limits: header fields for people, a document for programs
 *
 * The document of a refusal is a problem (RFC 9457) of type quota-exceeded that names every policy that refuses.
 */
#ifndef PEN_TOOLS_REFUSAL_H
#define PEN_TOOLS_REFUSAL_H

#include "include/penstock.h"
#include "tools/cmd.h"

struct pen_out;

/* One JSON document: the problem when one refuses, else the numbers. */
void pen_refusal_json(struct pen_out *out, const char *identity, const struct pen_limit_result *results,
		      size_t count);
/* Of a batch of the command's owner that was refused: prints the document with --json. */
void pen_refusal_batch(const struct pen_cmd *cmd, struct pen_store *store);

#endif
