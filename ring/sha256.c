/* SPDX-License-Identifier: MIT */
/*
 * The algorithm is fetched once and the context used again: asking libcrypto for it by name costs more than hashing a
 * small record.
 */
#include "ring/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "ring/assert.h"

struct pen_sha256 {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

int pen_sha256_open(struct pen_sha256 **ret)
{
	struct pen_sha256 *hasher = calloc(1, sizeof *hasher);

	if (!hasher)
		return -ENOMEM;
	hasher->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->ctx = EVP_MD_CTX_new();
	if (!hasher->md || !hasher->ctx || EVP_DigestInit_ex(hasher->ctx, hasher->md, NULL) != 1) {
		int rc = hasher->md ? -ENOMEM : -ENOTSUP;

		pen_sha256_close(hasher);
		return rc;
	}
	*ret = hasher;
	return 0;
}

void pen_sha256_close(struct pen_sha256 *hasher)
{
	if (!hasher)
		return;
	EVP_MD_CTX_free(hasher->ctx);
	EVP_MD_free(hasher->md);
	free(hasher);
}

void pen_sha256_begin(struct pen_sha256 *hasher)
{
	int ok = EVP_DigestInit_ex(hasher->ctx, NULL, NULL); /* as it was opened */

	pen_assert(ok == 1);
}

void pen_sha256_add(struct pen_sha256 *hasher, const void *data, size_t len)
{
	int ok = EVP_DigestUpdate(hasher->ctx, data, len);

	pen_assert(ok == 1);
}

void pen_sha256_end(struct pen_sha256 *hasher, uint8_t ret[PEN_SHA256_BYTES])
{
	unsigned n = 0;
	int ok = EVP_DigestFinal_ex(hasher->ctx, ret, &n);

	pen_assert(ok == 1);
	pen_assert(n == PEN_SHA256_BYTES);
}
