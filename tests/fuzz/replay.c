/* SPDX-License-Identifier: MIT */
/*
 * replay - runs a fuzz target over files instead of a fuzzer
 *
 *	fuzz_NAME FILE|DIR...
 *
 * Linked with each target where libFuzzer is not. Every regular file of a directory is one input; the
 * number of inputs is printed, and none at all is a failure: a corpus that is not found tests nothing.
 * Each input lies in a heap block of exactly its size, so that the sanitizer sees a read past its end.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t size, got;

	if (!f || fstat(fileno(f), &st)) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		if (f)
			fclose(f);
		return -1;
	}
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	got = data ? fread(data, 1, size, f) : 0;
	fclose(f);
	if (!data || got != size) {
		fprintf(stderr, "replay: %s: read %zu of %zu bytes\n", path, got, size);
		free(data);
		return -1;
	}
	fprintf(stderr, "%s\n", path);		  /* the last line before a crash names the input */
	(void)LLVMFuzzerTestOneInput(data, size); /* the result is the fuzzer's, always 0 */
	free(data);
	return 1;
}

static int replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int count = 0;

	if (!dir) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return -1;
	}
	while (count >= 0 && (entry = readdir(dir))) {
		char name[4096];
		struct stat st;
		int len = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);

		if (len < 0 || (size_t)len >= sizeof(name) || stat(name, &st) || !S_ISREG(st.st_mode))
			continue;
		count = replay_file(name) < 0 ? -1 : count + 1;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int n = stat(argv[i], &st)    ? -1
			: S_ISDIR(st.st_mode) ? replay_dir(argv[i])
					      : replay_file(argv[i]);

		if (n < 0)
			return 1;
		total += n;
	}
	printf("%d inputs replayed\n", total);
	return total ? 0 : 1;
}
