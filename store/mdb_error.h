/* SPDX-License-Identifier: MIT */
/*
 * mdb_error - LMDB's codes and errno as ours (private to this room)
 *
 * What a code means depends on where it came from: ENOSPC while data pages are written is a full disk and
 * harmless, any error of a sync or of the meta page is a failed disk. This table is for every place but
 * those; commit and sync decide for themselves (txn.c).
 */
#ifndef PEN_STORE_MDB_ERROR_H
#define PEN_STORE_MDB_ERROR_H

#include <errno.h>
#include <lmdb.h>

#include "include/penstock_error.h"

/* 0 or a negative code for what an mdb_ function returned. MDB_NOTFOUND is -PEN_NOT_FOUND. */
static inline int pen_mdb_code(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -PEN_NOT_FOUND;
	case MDB_KEYEXIST:
		return -EEXIST;
	case MDB_MAP_FULL:
	case MDB_MAP_RESIZED: /* another process grew it and there is no address space to follow */
		return -PEN_MAP_FULL;
	case MDB_READERS_FULL:
		return -PEN_READERS_FULL;
	case MDB_DBS_FULL:
		return -PEN_DATASETS_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
		return -PEN_STORE_DAMAGED;
	case MDB_PANIC:
		return -PEN_DISK_FAILED;
	case MDB_VERSION_MISMATCH:
		return -PEN_STORE_NEWER;
	case MDB_TXN_FULL: /* more dirty pages than LMDB can list: the caller's group was far too large */
		return -E2BIG;
	case ENOSPC:
	case EDQUOT:
		return -PEN_DISK_FULL;
	case EROFS:
	case EACCES:
	case EPERM:
		return -PEN_STORE_READONLY;
	case ENOMEM:
		return -PEN_MEMORY;
	default:
		return rc > 0 ? -rc : -EINVAL; /* the rest of LMDB's own codes are misuse */
	}
}

#endif
