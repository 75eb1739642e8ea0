/* SPDX-License-Identifier: MIT */
#include "engine/recall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"

#define READ (64u << 10)

struct pen_recall {
	struct pen_sha256 *hasher;
	uint8_t identity[PEN_SHA256_BYTES];
};

/* Adds a regular file's content, behind its length. Anything else adds nothing. */
static void add_file(struct pen_sha256 *hasher, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint64_t left;
	struct stat st;
	char *buffer;
	ssize_t n;

	if (fd < 0)
		return;
	buffer = malloc(READ);
	if (buffer && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		left = pen_min((uint64_t)st.st_size, PEN_RECALL_FILE_MAX);
		pen_sha256_add(hasher, &st.st_size, sizeof st.st_size);
		while (left && (n = read(fd, buffer, (size_t)pen_min(left, READ))) > 0) {
			pen_sha256_add(hasher, buffer, (size_t)n);
			left -= (uint64_t)n;
		}
	}
	free(buffer);
	(void)close(fd);
}

/* A program's name as the shell finds it. */
static void add_program(struct pen_sha256 *hasher, const char *word)
{
	const char *path = getenv("PATH");
	char full[PATH_MAX];

	if (strchr(word, '/')) {
		add_file(hasher, word);
		return;
	}
	while (path && *path) {
		size_t len = strcspn(path, ":");

		if ((size_t)snprintf(full, sizeof full, "%.*s/%s", (int)len, path, word) < sizeof full &&
		    !access(full, X_OK)) {
			add_file(hasher, full);
			return;
		}
		path += len + (path[len] == ':');
	}
}

int pen_recall_open(struct pen_recall **ret, char kind, const char *command)
{
	struct pen_recall *r = calloc(1, sizeof *r);
	char *words = strdup(command), *word, *rest = words;
	bool first = true;
	int rc = r && words ? pen_sha256_open(&r->hasher) : -ENOMEM;

	if (rc) {
		free(words);
		pen_recall_close(r);
		return rc;
	}
	pen_sha256_begin(r->hasher);
	pen_sha256_add(r->hasher, &kind, 1);
	pen_sha256_add(r->hasher, command, strlen(command) + 1);
	while ((word = strsep(&rest, " \t\n'\"|&;<>()"))) {
		if (!*word)
			continue;
		if (first)
			add_program(r->hasher, word);
		else
			add_file(r->hasher, word);
		first = false;
	}
	pen_sha256_end(r->hasher, r->identity);
	free(words);
	*ret = r;
	return 0;
}

void pen_recall_close(struct pen_recall *r)
{
	if (!r)
		return;
	pen_sha256_close(r->hasher);
	free(r);
}

struct pen_cache_key pen_recall_key(struct pen_recall *r, const void *item, size_t len)
{
	return pen_cache_key(r->hasher, r->identity, sizeof r->identity, item, len);
}
