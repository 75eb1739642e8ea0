/* SPDX-License-Identifier: MIT */
/*
 * version - what this build is made of
 */
#include "engine/json.h"
#include "include/penstock.h"
#include "ring/io.h"
#include "store/store.h"

#ifndef PEN_GIT
#define PEN_GIT "unknown"
#endif

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

void pen_version(struct pen_version *ret)
{
	*ret = (struct pen_version){
		.version = PEN_VERSION,
		.git = PEN_GIT,
		.compiler = COMPILER,
		.lmdb = pen_store_lmdb(),
		.liburing = pen_io_version(),
		.simdjson = pen_json_version(),
		.simd = pen_json_simd(),
		.allocator = "malloc",
	};
}
